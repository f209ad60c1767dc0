"""The command `photogram agent`: runs an agent job, tells what it does, asks its questions, and saves what it made."""

import argparse
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from photogram import Event, Job, Noted, Photogram, Progressed, Queued, StatusChanged
from photogram._flows import check_succeeded

from .drawing import print_estimate, save_files, save_named
from .files import check_folder, text_of
from .flags import options_of, params_of
from .output import escaped, job_lines, labelled, place_text, print_lines, to_json

_TEXT_CHARS = 120


def run_agent(options: argparse.Namespace, client: Photogram) -> None:
    """Run the job, with its events as lines on standard error; its questions are asked where somebody is there."""
    check_folder(options.save_to)
    params = params_of(options)
    if "brief" in params:
        params["brief"] = text_of(params["brief"])
    if options.dry_run:
        print_estimate(options, client, "agent", params)
        return
    job = client.submit_kind("agent", params, options=options_of(options) or None)  # type: ignore[arg-type]
    try:
        for event in client.jobs.watch(job):
            _show(client, job.id, event)
    except KeyboardInterrupt:
        client.jobs.cancel(job)
        raise
    job = client.jobs.get(job)
    check_succeeded(job)
    saved = [*_save_images(options, client, job), *save_files(options, client, job)]
    if options.json:
        print(to_json({**asdict(job), "saved": [str(path) for path in saved]}))
    else:
        print_lines([*job_lines(job), *(labelled("file", path) for path in saved), *_outcome(job)])


def _show(client: Photogram, job_id: str, event: Event) -> None:
    match event:
        case StatusChanged(job):
            _line(f"{job.status} {job.id}")
        case Queued(place):
            _line(place_text(place))
        case Progressed(step, steps):
            _line(f"{step} of at most {steps} steps")
        case Noted(document):
            if document.get("event") == "question":
                _ask(client, job_id, document)
            else:
                _line(_told(document))


def _told(document: Mapping[str, object]) -> str:
    match document:
        case {"event": "template", "template": template}:
            return f"template: {template}"
        case {"event": "change", "change": {"kind": kind, "id": subtask}, "refused": refused}:
            return f"change of the plan: {kind} {subtask}" + (f", refused: {refused}" if refused else "")
        case {"event": "input", "text": text}:
            return f"told: {text}"
        case {"event": "warning", "message": message}:
            return f"warning: {message}"
        case {"event": "budget", "message": message}:
            return f"ends early: {message}"
        case {"event": "plan", "plan": list(plan)}:
            return "plan: " + "; ".join(str(each.get("name")) for each in plan)
        case _:
            return _told_of_work(document)


def _told_of_work(document: Mapping[str, object]) -> str:
    match document:
        case {"event": "subtask", "subtask": subtask, "status": status}:
            return f"subtask {subtask}: {status}"
        case {"event": "call", "tool": tool, "arguments": arguments}:
            return f"call {tool} {arguments}"
        case {"event": "result", "tool": tool, "error": error, "files": list(files)}:
            return f"{tool} failed: {error}" if error else f"{tool}: {', '.join(map(str, files)) or 'done'}"
        case {"event": "check", "passed": passed, "verdicts": list(verdicts), "error": error}:
            sentences = "; ".join(str(each.get("sentence")) for each in verdicts)
            return f"check {'passed' if passed else 'not passed'}: {error or sentences or 'nothing to check'}"
        case _:
            return " ".join(f"{name}={value}" for name, value in document.items())


def _ask(client: Photogram, job_id: str, document: Mapping[str, object]) -> None:
    """Show a question, and answer it with what is typed: a text, or the number of a choice; nothing is no answer."""
    found = document.get("choices")
    choices = [str(each) for each in found] if isinstance(found, list) else []
    numbered = [f"  {number}  {escaped(choice)}" for number, choice in enumerate(choices, 1)]
    print_lines([f"question: {escaped(document.get('question'))}", *numbered], sys.stderr)
    if not sys.stdin.isatty():
        print_lines([f'answer it with: photogram jobs tell {job_id} "..."'], sys.stderr)
        return
    try:
        text = input("answer: ").strip()
    except EOFError:
        return
    if text.isascii() and text.isdigit() and 1 <= int(text) <= len(choices):
        text = choices[int(text) - 1]
    if text:
        client.jobs.tell(job_id, text, str(document["id"]))


def _outcome(job: Job) -> list[str]:
    """Whether all of the plan was done and passed its checks, why not, and what was used."""
    document = job.result.document if job.result else None
    if not isinstance(document, dict):
        return []
    failed = [f"{name} did not pass its checks" for name in document.get("failed", ())]
    reasons = [str(document["ended_early"])] if document.get("ended_early") else []
    complete = "yes" if document.get("complete") else "; ".join(["no", *reasons, *failed])
    used = ", ".join(f"{value:g} {name.replace('_', ' ')}" for name, value in document.get("used", {}).items())
    return [labelled("complete", complete), labelled("used", used)]


def _line(text: str) -> None:
    shown = escaped(text)
    shown = shown if len(shown) <= _TEXT_CHARS else shown[: _TEXT_CHARS - 1] + "…"
    print(f"{time.strftime('%H:%M:%S')} {shown}", file=sys.stderr, flush=True)


def _save_images(options: argparse.Namespace, client: Photogram, job: Job) -> list[Path]:
    """Save the images under the names that they have in the workspace of the agent; raises OSError."""
    document = job.result.document if job.result else None
    names = document.get("images", ()) if isinstance(document, dict) else ()
    count = len(job.result.images) if job.result else 0
    return [
        save_named(
            options,
            str(names[index]) if index < len(names) else f"image-{index + 1}.png",
            client.download(job, index).data,
        )
        for index in range(count)
    ]
