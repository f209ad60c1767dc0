"""The output of the command line: plain lines, or JSON."""

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import TextIO

from photogram import (
    ApiKey,
    DownloadedImage,
    Duplicates,
    Estimate,
    FoundImage,
    Job,
    Manifest,
    Model,
    OwnImage,
    PeriodUsage,
    Proposal,
    Provenance,
    Question,
    QueuePlace,
    Rewrite,
    RewrittenPrompt,
    Timings,
    Usage,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
)

from .files import Output

_LABEL_WIDTH = 9
_PROMPT_CHARS = 60

# Text from a language model or another user may contain terminal control codes, line ends and surrogates.
_ESCAPED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def print_lines(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print each line, by default on standard output."""
    for line in lines:
        print(line, file=file or sys.stdout)


def image_lines(image: DownloadedImage, output: Output, total_s: float) -> list[str]:
    """The output of `photogram generate`."""
    params = image.job.params
    prompts = _known({"prompt": params.get("prompt"), **_revisions(image.job.rewrite)}) if image.job.rewrite else []
    return [
        labelled("file", output),
        *prompts,
        labelled("seed", image.seed),
        *(labelled("score", each) for each in _scores(image)),
        labelled("model", params.get("model")),
        labelled("sampler", params.get("sampler")),
        labelled("steps", params.get("num_inference_steps")),
        labelled("size", f"{image.width}x{image.height}"),
        *_backends(image.job),
        labelled("timings", _timings_text(_seconds_of(image.job, total_s))),
        *_warnings(image.job),
    ]


def image_document(
    image: DownloadedImage, output: Output, total_s: float, proposal: Proposal | None
) -> dict[str, object]:
    """What `--json` prints of an image: the file, the timings, the job, and its proposal if it had one."""
    document: dict[str, object] = {
        "file": str(output),
        "timings": _seconds_of(image.job, total_s),
        "job": asdict(image.job),
    }
    return document if proposal is None else {**document, "proposal": asdict(proposal)}


def estimate_lines(estimate: Estimate) -> list[str]:
    """The output of `--dry-run`."""
    params = {name: value for name, value in estimate.params.items() if value not in (None, "", [], ())}
    refusal = estimate.refusal
    return _known({
        "kind": estimate.kind,
        "units": f"{estimate.units:g}",
        "refusal": None if refusal is None else f"{refusal.detail} ({refusal.code})",
        "params": ", ".join(_param_text(name, value) for name, value in params.items()),
    })  # fmt: skip


def own_image_row(image: OwnImage) -> str:
    """One line of `photogram images`."""
    return f"{image.source}  {image.width}x{image.height}  {_time_text(image.created_at)}  {image.url}"


def model_row(model: Model) -> str:
    """One line of `photogram models list` without the server's own command."""
    notes = (["default"] if model.is_default else []) + ([] if model.is_available else [f"unusable: {model.problem}"])
    names = ", ".join((model.name, *model.aliases))
    return f"{names}  {model.family}" + (f"  ({'; '.join(map(escaped, notes))})" if notes else "")


def key_row(key: ApiKey) -> str:
    """One line of `photogram keys list`."""
    state = "revoked" if key.revoked_at else f"expires {_time_text(key.expires_at)}" if key.expires_at else "valid"
    return f"{key.id}  {escaped(key.name)}  {','.join(key.scopes)}  {state}"


def usage_lines(usage: Usage) -> list[str]:
    """The output of `photogram usage`."""
    limits = ", ".join(f"{name} {value}" for name, value in usage.limits.items())
    periods: Iterable[PeriodUsage] = (usage.month, *(day for day in usage.days if day.jobs))
    return _known({"queued": usage.queued, "running": usage.running, "limits": limits or None}) + [
        f"{each.period}  {each.jobs} jobs, {each.units:g} units, {each.succeeded} succeeded, {each.failed} failed, "
        f"{each.canceled} canceled"
        for each in periods
    ]


def job_lines(job: Job) -> list[str]:
    """The output of `photogram jobs`: a line for each known value."""
    known: dict[str, object] = {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "progress": f"{job.progress.step}/{job.progress.steps}" if job.progress else None,
        "queue": None if job.queue is None or job.waiting_for_input is not None else place_text(job.queue),
        "prompt": job.params.get("prompt"),
        "brief": job.params.get("brief"),
        **_revisions(job.rewrite),
        "model": job.params.get("model"),
        "seed": job.params.get("seed"),
        "tags": ", ".join(job.tags) or None,
        "metadata": ", ".join(f"{key}={value}" for key, value in job.metadata.items()) or None,
        "asks": None if job.waiting_for_input is None else question_text(job.waiting_for_input),
        "error": f"{job.error.message} ({job.error.code})" if job.error else None,
        "created": _time_text(job.created_at),
        "started": _time_text(job.started_at),
        "finished": _time_text(job.finished_at),
    }
    has_candidates = job.params.get("best_of") is not None  # then each image has a seed of its own
    images = [
        labelled("image", f"{image.url}  seed {image.seed}" if has_candidates else image.url)
        for image in (job.result.images if job.result else ())
    ]
    return _known(known) + images + _warnings(job)


def _scores(image: DownloadedImage) -> list[float]:
    """How well the image fits the prompt, if it is one of several candidates."""
    document = image.job.result.document if image.job.result else None
    candidates = document.get("best_of", ()) if isinstance(document, dict) else ()
    return [each["score"] for each in candidates if each["image_id"] and each["seed"] == image.seed]


def job_row(job: Job) -> str:
    """The line of one job in a list."""
    shown = _prompt_text(job.params.get("prompt") or job.params.get("brief"))
    return f"{job.id}  {job.status:9}  {_time_text(job.created_at) or '-'}  {job.kind}  {shown}".rstrip()


def found_image_row(image: FoundImage) -> str:
    """One line of `photogram search`."""
    return f"{image.similarity:6.3f}  {image.id}  {image.job_id}  {_prompt_text(image.prompt)}".rstrip()


def duplicates_lines(found: Duplicates) -> list[str]:
    """The output of `photogram duplicates`: each group with its images."""
    lines = []
    for group in found.groups:
        left = group.count - len(group.images)
        lines.append(f"{group.count} images")
        lines += [f"  {own_image_row(image)}" for image in group.images]
        lines += [f"  and {left} more"] if left > 0 else []
    hidden = found.total - len(found.groups)
    lines += [f"and {hidden} more groups: --limit shows more"] if hidden > 0 else []
    return lines if found.is_complete else [*lines, "there were too many images to compare all of them"]


def _prompt_text(prompt: object) -> str:
    """A prompt in one line, the beginning of a long one."""
    text = _ESCAPED.sub(" ", str(prompt or ""))
    return text if len(text) <= _PROMPT_CHARS else text[: _PROMPT_CHARS - 1] + "…"


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
    calls = [labelled("call", f"{call.name}: {call.outcome}") for call in proposal.calls]
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
    lines.append(labelled("mark", text))
    return lines + [labelled("params", line) for line in found.parameters.splitlines() or ("none",)]


def _manifest_lines(manifest: Manifest) -> list[str]:
    signer = ", ".join(name for name in (manifest.common_name, manifest.issuer) if name)
    actions = [
        " ".join(part for part in (each.action, each.digital_source_type, each.description) if part)
        for each in manifest.actions
    ]
    lines = _known({"signer": signer or None, "program": manifest.claim_generator})
    lines += [labelled("action", action) for action in actions]
    lines += [labelled("from", str(name)) for name in manifest.ingredients]
    return lines + [labelled("problem", str(problem)) for problem in manifest.problems]


def webhook_endpoint_lines(endpoint: WebhookEndpoint) -> list[str]:
    """The output of `photogram webhooks list` and `add`: a line, and one for the secret if it was just made."""
    state = "on" if endpoint.is_on else f"off: {endpoint.off_reason}"
    lines = [f"{endpoint.id}  {escaped(endpoint.url)}  {','.join(endpoint.events)}  {escaped(state)}"]
    return lines if endpoint.secret is None else [*lines, f"signing secret, shown this once: {endpoint.secret}"]


def webhook_attempt_line(attempt: WebhookAttempt) -> str:
    """One line of `photogram webhooks log`."""
    outcome = attempt.error or f"answered {attempt.status}"
    return f"{_time_text(attempt.at)}  {attempt.event}  {escaped(outcome)}  {attempt.took_s:.2f} s"


def webhook_delivery_line(delivery: WebhookDelivery) -> str:
    """One line of `photogram webhooks dead`."""
    target = delivery.url or delivery.endpoint_id
    return f"{delivery.id}  {delivery.event}  {escaped(target)}  {delivery.status} after {delivery.attempts} attempts"


def to_json(document: object) -> str:
    """Indented JSON with ISO 8601 times."""
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_time_text)
    return text.encode(errors="backslashreplace").decode()


def _warnings(job: Job) -> list[str]:
    return [labelled("warning", warning) for warning in job.warnings]


def _backends(job: Job) -> list[str]:
    names = job.result.backends if job.result else ()
    return [labelled("backend", ", ".join(names))] if names else []


def _revisions(rewrite: Rewrite | None) -> dict[str, object]:
    if rewrite is None:
        return {}
    if not rewrite.is_applied:
        return {"rewrite": f"{rewrite.status}: {rewrite.reason}" if rewrite.reason else rewrite.status}
    return {"revised": rewrite.revised_prompt, "negative": rewrite.revised_negative_prompt}


def _param_text(name: str, value: object) -> str:
    return f"{name}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _known(values: dict[str, object]) -> list[str]:
    return [labelled(label, value) for label, value in values.items() if value is not None]


def escaped(value: object) -> str:
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))


def labelled(label: str, value: object) -> str:
    text = escaped(value)
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


def question_text(asked: Question) -> str:
    """The question with its choices and its images, in one line."""
    choices = f" ({' / '.join(asked.choices)})" if asked.choices else ""
    return " ".join((f"{asked.question}{choices}", *asked.images))


def place_text(place: QueuePlace) -> str:
    return f"{place.ahead} ahead" + ("" if place.eta_s is None else f", done in {place.eta_s:.0f} s")


def _time_text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
