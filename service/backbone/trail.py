"""The trail: one INFO line for each job that ended, whoever ended it, and for each request that was refused.

The lines name ids, sizes, codes and times, never what a caller wrote, unless ``PHOTOGRAM_LOG_PROMPTS`` is 1.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from service.backbone import metrics
from service.backbone.logs import shows_prompts, with_fields
from service.backbone.tracing import TRACEPARENT, spans

log = logging.getLogger(__name__)

JOB_FIELDS = (
    "job_id", "owner", "kind", "status", "params", "images", "steps", "error_code", "created_at", "started_at",
    "finished_at", "timings", "step_px", TRACEPARENT,
)  # fmt: skip
"""The fields of a record that the line needs; the others may be large."""
_STAGES = ("prepare_s", "denoise_s", "run_s", "finish_s")


def job_ended(values: Sequence[bytes | None]) -> None:
    """Count the job, write its line and its spans; ``values`` are those of :data:`JOB_FIELDS` in the job's record.

    A record that another version wrote is no error here: what cannot be read is left out.
    """
    found = {name: value.decode() for name, value in zip(JOB_FIELDS, values, strict=True) if value is not None}
    params, timings = _object(found.get("params")), _object(found.get("timings"))
    created_s, started_s, finished_s = (_number(found.get(f"{name}_at")) for name in ("created", "started", "finished"))
    fields = {
        "id": found.get("job_id"),
        "key": found.get("owner"),
        "kind": found.get("kind"),
        "model": params.get("model"),
        "size": _size(params, found.get("images")),
        "steps": found.get("steps"),
        "outcome": found.get("status"),
        "code": found.get("error_code"),
        "queue_s": _between(created_s, started_s),
        **{stage: timings.get(stage) for stage in _STAGES},
        "total_s": _between(created_s, finished_s),
    }
    run_s, step_px = _between(started_s, finished_s), _number(found.get("step_px"))
    metrics.count_end({**fields, "run_s": run_s, "step_px": step_px})
    if (tracing := spans()) is not None:
        tracing.job(found, timings)
    if shows_prompts():
        fields |= {"prompt": params.get("prompt"), "negative_prompt": params.get("negative_prompt")}
    log.info("job", extra=with_fields(fields))


def refused(*, method: str, route: str, status: int, code: str | None, key: str | None, address: str) -> None:
    """Write the line of a request that was answered with ``status``, 400 or above.

    Args:
        route: the pattern of the path, because the path itself may hold anything.
        key: the id of the API key; the client's address is written only without one.
    """
    who = {"key": key} if key else {"address": address or None}
    fields = {"method": method, "route": route, "status": status, "code": code, **who}
    log.info("refused", extra=with_fields(fields))


def _size(params: Mapping[str, Any], images: str | None) -> str | None:
    if "width" in params and "height" in params:
        return f"{params['width']}x{params['height']}"
    try:
        first = json.loads(images or "[]")[0]
        return f"{first['width']}x{first['height']}"
    except (ValueError, LookupError, TypeError):
        return None


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round(max(0.0, end - start), 3)
