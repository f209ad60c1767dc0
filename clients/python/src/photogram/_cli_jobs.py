"""The command `photogram jobs`: list, show, watch, cancel and delete jobs of the API key."""

import argparse
import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.console import Console

from ._cli_output import display_for, job_lines, job_row, to_json
from ._client import Photogram
from ._models import Job
from ._params import JobFilters

Run = Callable[[argparse.Namespace, Photogram], Iterator[str]]
"""Runs a verb; gives the lines of its output."""


def list_jobs(options: argparse.Namespace, client: Photogram) -> Iterator[str]:
    """The newest jobs that pass the filters, a line for each; with --json, a list."""
    filters: JobFilters = {"status": options.status, "tag": options.tag, "search": options.search}
    if options.metadata:
        filters["metadata"] = dict(options.metadata)
    found = itertools.islice(client.jobs(**filters), options.limit)
    if options.json:
        yield to_json([asdict(job) for job in found])
    else:
        yield from map(job_row, found)


def get_job(options: argparse.Namespace, client: Photogram) -> Iterator[str]:
    """What is known of a job."""
    return _shown(client.get(options.id), options.json)


def watch_job(options: argparse.Namespace, client: Photogram) -> Iterator[str]:
    """Show the progress of a job until it ends, then what is known of it."""
    with display_for(Console(stderr=True)) as display:
        for event in client.stream(options.id):
            display.show(event)
    return _shown(client.get(options.id), options.json)


def cancel_job(options: argparse.Namespace, client: Photogram) -> Iterator[str]:
    """Cancel a job."""
    return _shown(client.cancel(options.id), options.json)


def delete_job(options: argparse.Namespace, client: Photogram) -> Iterator[str]:
    """Delete jobs by their ids, or all jobs of the API key."""
    if bool(options.ids) == options.all:
        raise ValueError("name the jobs to delete, or --all")
    if options.all:
        found = client.delete_all()
        yield to_json(asdict(found)) if options.json else f"deleted {found.deleted} jobs; {found.running} end now"
    for job_id in options.ids:
        client.delete(job_id)
        yield to_json({"deleted": job_id}) if options.json else f"deleted {job_id}"


def _shown(job: Job, as_json: bool) -> Iterator[str]:
    return iter([to_json(asdict(job))] if as_json else job_lines(job))


def entry(text: str) -> tuple[str, str]:
    """An argument `KEY=VALUE`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE")
    return key, value


def add_verbs(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """Add the verbs to the parser of `photogram jobs`; each sets `lines`, a `Run`."""
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser("list", parents=[common], help="list the newest jobs")
    listing.add_argument("--status", action="append", metavar="STATUS", help="only these; may be repeated")
    listing.add_argument("--tag", action="append", metavar="TAG", help="only jobs with all of these tags")
    listing.add_argument("--metadata", action="append", type=entry, metavar="KEY=VALUE", help="only jobs with these")
    listing.add_argument("--search", metavar="WORDS", help="only jobs with all of these words in the prompt")
    listing.add_argument("--limit", metavar="N", type=int, default=20, help="how many at most (default: 20)")
    listing.set_defaults(lines=list_jobs)
    made = [listing]
    plain: tuple[tuple[str, Run, str], ...] = (
        ("get", get_job, "show a job"), ("watch", watch_job, "show the progress of a job until it ends"),
        ("cancel", cancel_job, "cancel a job"),
    )  # fmt: skip
    for verb, run, text in plain:
        made.append(verbs.add_parser(verb, parents=[common], help=text))
        made[-1].add_argument("id", metavar="ID", help="the job's id")
        made[-1].set_defaults(lines=run)
    deleting = verbs.add_parser("delete", parents=[common], help="delete jobs with their images")
    deleting.add_argument("ids", metavar="ID", nargs="*", help="the jobs' ids")
    deleting.add_argument("--all", action="store_true", help="all jobs of the API key")
    deleting.set_defaults(lines=delete_job)
    return [*made, deleting]
