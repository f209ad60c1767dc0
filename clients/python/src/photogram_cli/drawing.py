"""The commands that run a job and save what it makes: generate, edit, inpaint, upscale and every further kind."""

import argparse
import os
import subprocess
import sys
import time
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from photogram import DownloadedImage, GeneratedImage, Job, Photogram, Proposal
from photogram._images import kind_of
from photogram.progress import display_for

from .documents import document_lines
from .files import Output, check_folder, check_one_standard_input, output_of, text_of
from .flags import images_given, kind_named, options_of, params_of
from .output import estimate_lines, image_document, image_lines, job_lines, labelled, print_lines, to_json
from .terminal import show


def run_kind(options: argparse.Namespace, client: Photogram) -> None:
    """Run the job that the arguments describe, and save its images or print its result."""
    kind = kind_named(options.kind)
    check_one_standard_input(getattr(options, "params.prompt", None), *images_given(options))
    output = output_of(options.output, options.json, overwrite=options.overwrite)
    if kind.result != "images":
        check_folder(options.save_to)
    params = params_of(options)
    if "prompt" in params:
        params["prompt"] = text_of(params["prompt"])
    if options.dry_run:
        name = kind_of(params) if kind.name == "txt2img" else kind.name
        print_estimate(options, client, name, params)
    elif kind.result == "images":
        draw(options, client, options.method, params, output)
    else:
        _finish(options, client, params)


def print_estimate(options: argparse.Namespace, client: Photogram, kind: str, params: Mapping[str, Any]) -> None:
    """Print what a job would be and cost."""
    estimate = client.dry_run_kind(kind, params, options=options_of(options) or None)  # type: ignore[arg-type]
    print_lines([to_json(asdict(estimate))] if options.json else estimate_lines(estimate))


def draw(
    options: argparse.Namespace,
    client: Photogram,
    method: str,
    arguments: Mapping[str, Any],
    output: Output,
    proposal: Proposal | None = None,
) -> None:
    """Call a method of the client that draws, save the images, and tell of them.

    Raises ValueError, before anything is sent, for several images where only one can be written.
    """
    params = proposal.params if proposal else arguments
    began, count = time.monotonic(), _count(options, params)
    if output.takes_one and max(count or 1, _kept(params)) > 1:
        place = "standard output" if output.path is None else str(output.path)
        raise ValueError(f"{place} takes one image, and there would be several: write them to files")
    given = {**arguments, "options": options_of(options) or None} | ({} if count is None else {"n": count})
    with display_for(Console(stderr=True)) as display:
        drawn = getattr(client, method)(**given, on_event=display)
    images: Sequence[GeneratedImage] = [drawn] if count is None else drawn
    documents = []
    for number, image in enumerate(images, 1):
        saved = _saved(client, image, output, number)
        total_s = time.monotonic() - began
        documents.append(image_document(image, saved, total_s, proposal))
        if not options.json:
            _tell(options, image, saved, total_s)
    if options.json:
        print(to_json(documents[0] if count is None else documents))


def _count(options: argparse.Namespace, params: Mapping[str, Any]) -> int | None:
    """How many jobs to run for a list of all their images; None for one job and its only image."""
    n: int | None = getattr(options, "n", None)
    return 1 if n is None and _kept(params) > 1 else n


def _kept(params: Mapping[str, Any]) -> int:
    """How many images of a job are kept; the server refuses what is no number."""
    keep = params.get("keep")
    return keep if isinstance(keep, int) else 1


def _tell(options: argparse.Namespace, image: DownloadedImage, saved: Output, total_s: float) -> None:
    if options.show and saved.path:
        show(image.data, Console())
    print_lines(image_lines(image, saved, total_s), sys.stdout if saved.path else sys.stderr)
    if options.open and saved.path:
        open_file(saved.path)


def _saved(client: Photogram, image: GeneratedImage, output: Output, number: int) -> Output:
    params = image.job.params
    names = {"seed": image.seed, "job": image.job.id, "model": params.get("model"), "number": number}
    wanted = output.file_format
    data = image.data if wanted == "png" else client.download(image.job, image.index, file_format=wanted).data
    return output.named(names).write(data)


def _finish(options: argparse.Namespace, client: Photogram, params: Mapping[str, Any]) -> None:
    with display_for(Console(stderr=True)) as display:
        job: Job = getattr(client, options.method)(**params, options=options_of(options) or None, on_event=display)
    saved = save_files(options, client, job)
    if options.json:
        print(to_json({**asdict(job), "saved": [str(path) for path in saved]} if saved else asdict(job)))
        return
    print_lines([*job_lines(job), *(labelled("file", path) for path in saved)])
    print_lines(document_lines(job.result.document if job.result else None))


def save_files(options: argparse.Namespace, client: Photogram, job: Job) -> list[Path]:
    """Write the files that a job made into the folder for them; raises OSError."""
    files = job.result.files if job.result else ()
    return [save_named(options, each.name, client.download_file(job, index)) for index, each in enumerate(files)]


def save_named(options: argparse.Namespace, name: str, data: bytes) -> Path:
    """Write a file of that name into the folder for what the job made; folders in the name are dropped."""
    path = Path(options.save_to) / Path(name).name
    return Output(path, replaces=options.overwrite).write(data).path or path


def open_file(path: Path) -> None:
    """Open a file with the program that the desktop has for it."""
    if sys.platform == "win32":
        os.startfile(path)
    elif sys.platform == "darwin":
        subprocess.run(["open", path], check=False)
    else:
        webbrowser.open(path.resolve().as_uri())
