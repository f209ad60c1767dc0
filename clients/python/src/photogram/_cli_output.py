"""The output of the command line: progress of a running job on stderr, plain lines about jobs on stdout."""

import json
import re
from dataclasses import asdict
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from ._cli_files import Output
from ._events import Event, Loading, Progressed, Rewritten, StatusChanged
from ._language import Proposal, RewrittenPrompt
from ._models import GeneratedImage, Job, Rewrite, Timings
from ._provenance import Manifest, Provenance
from ._webhooks import WebhookAttempt, WebhookDelivery, WebhookEndpoint

_LABEL_WIDTH = 9
_PROMPT_CHARS = 60

# Text from a language model or another user may contain terminal control codes, line ends and surrogates.
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Display(Protocol):
    """A context manager that shows the events of one job."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def show(self, event: Event) -> None: ...


class _StepsColumn(MofNCompleteColumn):
    """Steps done and in all; nothing while a model is downloaded, whose bytes the description tells."""

    def render(self, task: Task) -> Text:
        return Text() if task.fields.get("is_download") else super().render(task)


class BarDisplay:
    """A progress bar, removed when the job is finished."""

    def __init__(self, console: Console) -> None:
        columns = (TextColumn("{task.description:<8}"), BarColumn(), _StepsColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("sending", total=None)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, event: Event) -> None:
        match event:
            case StatusChanged(job):
                self._progress.update(self._task, description=job.status)
            case Loading():
                done, total = event.done_bytes or 0, event.total_bytes
                is_download = event.done_bytes is not None
                self._progress.update(
                    self._task, description=_loading_text(event), completed=done, total=total, is_download=is_download
                )
            case Progressed(step, steps):
                self._progress.update(self._task, description="running", completed=step, total=steps, is_download=False)


class LineDisplay:
    """A line for each status and each tenth of the steps, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = ""
        self._tenth = 0
        self._loaded_tenth = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None

    def show(self, event: Event) -> None:
        match event:
            case StatusChanged(job) if job.status != self._shown:
                self._shown = job.status
                self._line(job.status)
            case Loading() if (tenth := _tenth_of(event)) > self._loaded_tenth:
                self._loaded_tenth = tenth
                self._line(_loading_text(event))
            case Progressed(step, steps) if step * 10 // max(steps, 1) > self._tenth:
                self._tenth = step * 10 // max(steps, 1)
                self._line(f"step {step}/{steps}")
            case Rewritten(rewrite):
                self._line(f"rewrite {rewrite.status}")

    def _line(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _tenth_of(loading: Loading) -> int:
    """How many tenths are downloaded; 0 if that is unknown, and 10 if nothing is left to download."""
    if loading.done_bytes is None:
        return 10
    return loading.done_bytes * 10 // loading.total_bytes if loading.total_bytes else 0


def _loading_text(loading: Loading) -> str:
    """As in `downloading model sdxl: 1.20 of 6.94 GB`."""
    if loading.done_bytes is None:
        return f"loading {loading.name}"
    total = "" if loading.total_bytes is None else f" of {loading.total_bytes / 1e9:.2f}"
    return f"downloading {loading.name}: {loading.done_bytes / 1e9:.2f}{total} GB"


def display_for(console: Console) -> Display:
    """A bar on a terminal, else lines."""
    return BarDisplay(console) if console.is_terminal else LineDisplay(console)


def image_lines(image: GeneratedImage, output: Output, total_s: float) -> list[str]:
    """The output of `photogram generate`."""
    params = image.job.params
    prompts = _known({"prompt": params.get("prompt"), **_revisions(image.job.rewrite)}) if image.job.rewrite else []
    return [
        _line("file", output),
        *prompts,
        _line("seed", image.seed),
        _line("model", params.get("model")),
        _line("sampler", params.get("sampler")),
        _line("steps", params.get("num_inference_steps")),
        _line("size", f"{image.width}x{image.height}"),
        _line("timings", _timings_text(_seconds_of(image.job, total_s))),
    ]


def image_json(image: GeneratedImage, output: Output, total_s: float, proposal: Proposal | None = None) -> str:
    """The output of `photogram generate --json`: the file, the timings, the job, and its proposal if it had one."""
    document = {"file": str(output), "timings": _seconds_of(image.job, total_s), "job": asdict(image.job)}
    return to_json(document if proposal is None else {**document, "proposal": asdict(proposal)})


def job_lines(job: Job) -> list[str]:
    """The output of `photogram jobs`: a line for each known value."""
    known: dict[str, object] = {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "progress": f"{job.progress.step}/{job.progress.steps}" if job.progress else None,
        "prompt": job.params.get("prompt"),
        **_revisions(job.rewrite),
        "model": job.params.get("model"),
        "seed": job.params.get("seed"),
        "tags": ", ".join(job.tags) or None,
        "metadata": ", ".join(f"{key}={value}" for key, value in job.metadata.items()) or None,
        "error": f"{job.error.message} ({job.error.code})" if job.error else None,
        "created": _time_text(job.created_at),
        "started": _time_text(job.started_at),
        "finished": _time_text(job.finished_at),
    }
    images = [_line("image", image.url) for image in (job.result.images if job.result else ())]
    return _known(known) + images


def job_row(job: Job) -> str:
    """The line of one job in a list."""
    prompt = _ESCAPED.sub(" ", str(job.params.get("prompt") or ""))
    shown = prompt if len(prompt) <= _PROMPT_CHARS else prompt[: _PROMPT_CHARS - 1] + "…"
    return f"{job.id}  {job.status:9}  {_time_text(job.created_at) or '-'}  {job.kind}  {shown}".rstrip()


def rewritten_lines(rewritten: RewrittenPrompt) -> list[str]:
    """The output of `photogram rewrite`."""
    tokens, rewrite = rewritten.tokens, rewritten.rewrite
    counted = "" if tokens.counted == "tokenizer" else f" ({tokens.counted})"
    return _known(
        {
            "prompt": rewritten.prompt,
            **_revisions(rewrite),
            "tokens": f"{tokens.count} of {tokens.limit}{counted}",
            "profile": rewritten.profile,
            "engine": rewrite.engine,
            "timings": None if rewrite.elapsed_s is None else f"rewrite {rewrite.elapsed_s:.2f} s",
        }
    )


def proposal_lines(proposal: Proposal) -> list[str]:
    """The output of `photogram assist`: the tool calls, the model's message, and the job."""
    calls = [_line("call", f"{call.name}: {call.outcome}") for call in proposal.calls]
    given = {name: value for name, value in proposal.params.items() if value is not None and name != "prompt"}
    params = ", ".join(_param_text(name, value) for name, value in given.items())
    job = {"kind": proposal.kind, "prompt": proposal.params.get("prompt"), "params": params or None}
    return calls + _known({"says": proposal.message or None, **job})


def provenance_lines(found: Provenance) -> list[str]:
    """The output of `photogram provenance verify`: each mark, or that it is missing."""
    mark = found.watermark
    lines = _known({
        "iptc": found.digital_source_type or "none",
        "c2pa": "none" if found.c2pa is None else found.c2pa.state + (", by this server" if found.c2pa.is_ours else ""),
    })  # fmt: skip
    lines += [] if found.c2pa is None else _manifest_lines(found.c2pa)
    text = "none" if mark is None else f"{mark.id} (confidence {mark.confidence:.2f})"
    lines.append(_line("mark", text))
    return lines + [_line("params", line) for line in found.parameters.splitlines() or ("none",)]


def _manifest_lines(manifest: Manifest) -> list[str]:
    signer = ", ".join(name for name in (manifest.common_name, manifest.issuer) if name)
    actions = [
        " ".join(part for part in (each.action, each.digital_source_type, each.description) if part)
        for each in manifest.actions
    ]
    lines = _known({"signer": signer or None, "program": manifest.claim_generator})
    lines += [_line("action", action) for action in actions]
    lines += [_line("from", str(name)) for name in manifest.ingredients]
    return lines + [_line("problem", str(problem)) for problem in manifest.problems]


def webhook_endpoint_lines(endpoint: WebhookEndpoint) -> list[str]:
    """The output of `photogram webhooks list` and `add`: a line, and one for the secret if it was just made."""
    state = "on" if endpoint.is_on else f"off: {endpoint.off_reason}"
    lines = [f"{endpoint.id}  {_escaped(endpoint.url)}  {','.join(endpoint.events)}  {_escaped(state)}"]
    return lines if endpoint.secret is None else [*lines, f"signing secret, shown this once: {endpoint.secret}"]


def webhook_attempt_line(attempt: WebhookAttempt) -> str:
    """One line of `photogram webhooks log`."""
    outcome = attempt.error or f"answered {attempt.status}"
    return f"{_time_text(attempt.at)}  {attempt.event}  {_escaped(outcome)}  {attempt.took_s:.2f} s"


def webhook_delivery_line(delivery: WebhookDelivery) -> str:
    """One line of `photogram webhooks dead`."""
    target = delivery.url or delivery.endpoint_id
    return f"{delivery.id}  {delivery.event}  {_escaped(target)}  {delivery.status} after {delivery.attempts} attempts"


def to_json(document: object) -> str:
    """Indented JSON with ISO 8601 times."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_time_text)
    return text.encode(errors="backslashreplace").decode()


def _revisions(rewrite: Rewrite | None) -> dict[str, object]:
    if rewrite is None:
        return {}
    if not rewrite.is_applied:
        return {"rewrite": f"{rewrite.status}: {rewrite.reason}" if rewrite.reason else rewrite.status}
    return {"revised": rewrite.revised_prompt, "negative": rewrite.revised_negative_prompt}


def _param_text(name: str, value: object) -> str:
    return f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _known(values: dict[str, object]) -> list[str]:
    return [_line(label, value) for label, value in values.items() if value is not None]


def _escaped(value: object) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))


def _line(label: str, value: object) -> str:
    text = _escaped(value)
    return f"{label:<{_LABEL_WIDTH}}{'-' if value is None else text}"


def _seconds_of(job: Job, total_s: float) -> dict[str, float | None]:
    timings = job.result.timings if job.result else Timings()
    return {
        "queued_s": job.queued_s,
        "prepare_s": timings.prepare_s,
        "denoise_s": timings.denoise_s,
        "finish_s": timings.finish_s,
        "total_s": round(total_s, 3),
    }


def _timings_text(seconds: dict[str, float | None]) -> str:
    return ", ".join(f"{name[:-2]} {value:.2f} s" for name, value in seconds.items() if value is not None)


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
