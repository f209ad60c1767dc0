"""The commands `photogram status` (how the server is) and `photogram doctor` (what is wrong, and what to do)."""

import argparse
import importlib.util
import itertools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass

from photogram import (
    AuthenticationError,
    Check,
    ConnectionFailed,
    Job,
    Model,
    NotFound,
    PermissionDenied,
    Photogram,
    PhotogramError,
    QueueCount,
    Readiness,
    UnexpectedResponse,
    __version__,
)

from .output import job_row, labelled, place_text, print_lines, to_json
from .user_config import noted_url, user_config_path

_WAITING_SHOWN = 5


class NotHealthy(PhotogramError):
    """A finding that keeps jobs from being processed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor found of one thing; `advice` says what to do."""

    name: str
    is_ok: bool
    text: str
    advice: str | None = None


_ADVICE = {
    "storage": "free disk space in the server's data folder, or set PHOTOGRAM_MIN_FREE_BYTES",
    "redis": "start Redis, or check REDIS_URL on the server; photogram up brings its own",
    "workers": "start a worker on the server: photogram up, or photogram worker",
    "models": "photogram models list on the server says what is missing; photogram models check NAME looks closer",
    "language": "prompts are used as written; photogram llm install and photogram up start the language model",
}


def status(options: argparse.Namespace, client: Photogram) -> None:
    """The gateway, its workers, models and language model, the queues, and what waits of the API key."""
    readiness, models, usage, info = client.readiness(), client.models(), client.usage(), client.server_info()
    waiting = _waiting(client) if usage.queued else []
    if options.json:
        document: dict[str, object] = {"url": client.base_url, "client": __version__, "server": asdict(info)}
        document |= {"readiness": asdict(readiness), "models": [asdict(model) for model in models]}
        document |= {"queued": usage.queued, "running": usage.running, "waiting": [asdict(job) for job in waiting]}
        print(to_json(document))
    else:
        print_lines([
            labelled("server", f"{client.base_url}, {readiness.problem or 'ready'}"),
            labelled("version", info.version),
            labelled("client", __version__),
            *(labelled(check.name, _check_text(check)) for check in readiness.checks),
            *(labelled("warning", warning) for warning in readiness.warnings),
            *(labelled("queue", _queue_text(queue)) for queue in info.queues),
            labelled("own", f"{usage.queued} waiting, {usage.running} running, of this API key"),
            *(labelled("waiting", _waiting_text(job)) for job in waiting),
            labelled("catalog", _models_text(models)),
        ])  # fmt: skip
    if readiness.problem is not None:
        raise NotHealthy(f"the server cannot process jobs: {readiness.problem}")


def _waiting(client: Photogram) -> list[Job]:
    """The newest jobs of the API key that wait, each with its place in the queue."""
    found: list[Job] = []
    for job in itertools.islice(client.jobs.list(status="queued"), _WAITING_SHOWN):
        with suppress(NotFound):  # it was deleted this moment
            found.append(client.jobs.get(job.id))
    return [job for job in found if job.status == "queued"]


def doctor(options: argparse.Namespace, client: Photogram) -> None:
    """Look for what is wrong from the client to the models, and say what to do about each finding."""
    findings = []
    for finding in _findings(client):
        findings.append(finding)
        if not options.json:
            mark = "ok  " if finding.is_ok else "FAIL"
            print_lines([f"{mark} {finding.name}: {finding.text}"] + [f"     {finding.advice}"] * bool(finding.advice))
    if options.json:
        print(to_json([asdict(finding) for finding in findings]))
    if broken := [finding.name for finding in findings if not finding.is_ok]:
        raise NotHealthy(f"{len(broken)} of {len(findings)} checks failed: {', '.join(broken)}")


def _findings(client: Photogram) -> Iterator[Finding]:
    yield Finding("address", True, f"{client.base_url}, from {_origin(client.base_url)}")
    readiness: Readiness | None = None
    for check in (_connection, _key):
        finding, found = check(client)
        yield finding
        if not finding.is_ok:
            return
        readiness = readiness or found
    for each in readiness.checks if readiness else ():
        is_ok = each.status != "failed"
        yield Finding(each.name, is_ok, _check_text(each), None if each.status in ("ok", "off") else _ADVICE[each.name])
    yield from _server(client)
    yield _default_model(client)
    yield _pillow()


def _connection(client: Photogram) -> tuple[Finding, Readiness | None]:
    name = "connection"
    try:
        return Finding(name, True, "a Photogram server answers"), client.readiness()
    except ConnectionFailed as error:
        return Finding(
            name, False, error.reason, "start a server with: photogram up; or set --url, PHOTOGRAM_URL"
        ), None
    except UnexpectedResponse:
        return Finding(
            name, False, "something else than Photogram answers", "check the port and the path of --url"
        ), None
    except PhotogramError as error:
        return Finding(name, False, str(error), "check the proxy in front of the server"), None


def _key(client: Photogram) -> tuple[Finding, None]:
    try:
        client.usage()
    except AuthenticationError:
        advice = "set PHOTOGRAM_API_KEY to a key; photogram keys create NAME makes one on the server's machine"
        return Finding("API key", False, "missing, or unknown to the server", advice), None
    except PermissionDenied as error:
        return Finding("API key", True, f"valid, with fewer scopes: {error.detail}"), None
    except PhotogramError as error:
        return Finding("API key", False, str(error)), None
    return Finding("API key", True, "valid"), None


def _server(client: Photogram) -> Iterator[Finding]:
    """The versions, and queues in which jobs wait that no worker takes."""
    try:
        info = client.server_info()
    except PhotogramError as error:
        yield Finding("version", False, str(error))
        return
    text = f"server {info.version or 'unknown'}, client {__version__}"
    is_same = _minor(info.version) == _minor(__version__)
    yield Finding("version", True, text, None if is_same else "use a client of the version of the server")
    for queue in info.queues:
        if queue.waiting:
            is_stuck = not queue.workers
            advice = _ADVICE["workers"] if is_stuck else None
            yield Finding(f"queue {queue.queue}", not is_stuck, _queue_text(queue), advice)


def _minor(version: str | None) -> list[str]:
    return (version or "").split(".")[:2]


def _default_model(client: Photogram) -> Finding:
    try:
        default = next((model for model in client.models() if model.is_default), None)
    except PhotogramError as error:
        return Finding("default model", False, str(error))
    if default is None:
        return Finding("default model", False, "none", "photogram models add SOURCE --default, on the server")
    if not default.is_available:
        return Finding("default model", False, f"{default.name}: {default.problem}", _ADVICE["models"])
    return Finding("default model", True, default.name)


def _pillow() -> Finding:
    if importlib.util.find_spec("PIL") is None:
        return Finding("Pillow", True, "not installed", 'for images in any terminal: pip install "photogram[show]"')
    return Finding("Pillow", True, "installed")


def _origin(url: str) -> str:
    if url == os.environ.get("PHOTOGRAM_URL", "").rstrip("/"):
        return "PHOTOGRAM_URL"
    if url == noted_url():
        return str(user_config_path())
    return "--url, or the default"


def _check_text(check: Check) -> str:
    workers = ", ".join(f"{count} of {queue}" for queue, count in (check.queues or {}).items())
    return ", ".join(part for part in (check.status, check.detail, workers) if part)


def _queue_text(queue: QueueCount) -> str:
    return f"{queue.waiting} waiting, {queue.running} running, {queue.workers} workers, of {queue.queue}"


def _waiting_text(job: Job) -> str:
    return job_row(job) if job.queue is None else f"{job_row(job)} ({place_text(job.queue)})"


def _models_text(models: list[Model]) -> str:
    names = [f"{model.name} (default)" if model.is_default else model.name for model in models if model.is_available]
    unusable = [f"{model.name} (unusable: {model.problem})" for model in models if not model.is_available]
    return ", ".join(names + unusable) or "empty"
