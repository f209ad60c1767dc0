"""The command `photogram jobs`: list, show, watch, cancel, tell and delete jobs of the API key."""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console

from photogram import Job, Photogram
from photogram.progress import display_for

from .flags import filters_of
from .output import job_lines, job_row, print_lines, to_json


def list_jobs(options: argparse.Namespace, client: Photogram) -> None:
    """The newest jobs that pass the filters, a line for each; with --json, a list."""
    found = itertools.islice(client.jobs.list(status=options.status, **filters_of(options)), options.limit)
    print_lines([to_json([asdict(job) for job in found])] if options.json else map(job_row, found))


def get_job(options: argparse.Namespace, client: Photogram) -> None:
    """What is known of a job."""
    print_lines(_shown(client.jobs.get(options.id), options.json))


def watch_job(options: argparse.Namespace, client: Photogram) -> None:
    """Show the progress of a job until it ends, then what is known of it."""
    with display_for(Console(stderr=True)) as display:
        for event in client.jobs.watch(options.id):
            display(event)
    print_lines(_shown(client.jobs.get(options.id), options.json))


def cancel_job(options: argparse.Namespace, client: Photogram) -> None:
    """Cancel a job."""
    print_lines(_shown(client.jobs.cancel(options.id), options.json))


def tell_job(options: argparse.Namespace, client: Photogram) -> None:
    """Answer an agent job's question, or tell it what to change."""
    print_lines(_shown(client.jobs.tell(options.id, options.text, options.question), options.json))


def delete_jobs(options: argparse.Namespace, client: Photogram) -> None:
    """Delete jobs by their ids, or all jobs of the API key."""
    if bool(options.ids) == options.all:
        raise ValueError("name the jobs to delete, or --all")
    if options.all:
        found = client.jobs.delete_all()
        text = f"deleted {found.deleted} jobs; {found.running} end now"
        print_lines([to_json(asdict(found)) if options.json else text])
    for job_id in options.ids:
        client.jobs.delete(job_id)
        print_lines([to_json({"deleted": job_id}) if options.json else f"deleted {job_id}"])


def _shown(job: Job, as_json: bool) -> Sequence[str]:
    return [to_json(asdict(job))] if as_json else job_lines(job)
