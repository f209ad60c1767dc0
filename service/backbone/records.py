"""A job's record in Redis: the names of its keys, and the hash it is kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from models.jobs.kinds import find_kind
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import Image, StoredFile
from models.jobs.rewrite import Rewrite
from models.jobs.tickets import Ticket

WAKE_CHANNEL = "photogram:wake"
"""Every change of a job is announced here by the job's id, for whoever waits for it."""
CANCEL_CHANNEL = "photogram:cancel"
"""The ids of running jobs that are to stop."""
WORKERS_KEY = "photogram:workers"
"""A sorted set: each worker's name by the time of its last sign of life."""
MODEL_PROBLEMS_KEY = "photogram:model-problems"
"""A hash: why a worker last failed to load a model, by the model's name."""
MODEL_BACKENDS_KEY = "photogram:model-backends"
"""A hash: what computes a model, as JSON with ``backend`` and ``relative_error``, by the model's name."""


def record_key(job_id: str) -> str:
    """The hash of the job's record."""
    return f"photogram:job:{job_id}"


def events_key(job_id: str) -> str:
    """The stream of the job's events."""
    return f"photogram:job:{job_id}:events"


def new_hash(ticket: Ticket, requested: Mapping[str, Any], now: float) -> dict[str, str]:
    """The hash of a job that was just accepted."""
    return {
        "job_id": ticket.job_id,
        "kind": ticket.kind,
        "owner": ticket.owner,
        "status": JobStatus.QUEUED,
        "params": json.dumps(ticket.params.to_payload()),
        "requested": json.dumps(requested, sort_keys=True),
        "image_id": ticket.image_id,
        "step": "0",
        "steps": str(ticket.params.expected_steps),
        "created_at": repr(now),
    }


def read_hash(fields: Mapping[bytes, bytes]) -> JobRecord:
    """The record in a hash that Redis answered with."""
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return JobRecord(
        job_id=text["job_id"],
        kind=text["kind"],
        owner=text["owner"],
        status=JobStatus(text["status"]),
        params=find_kind(text["kind"]).params.from_payload(json.loads(text["params"])),
        requested=json.loads(text["requested"]),
        image_id=text["image_id"],
        step=int(text["step"]),
        steps=int(text["steps"]),
        images=tuple(Image(**image) for image in json.loads(text.get("images", "[]"))),
        document=json.loads(text.get("document", "null")),
        files=tuple(StoredFile(**file) for file in json.loads(text.get("files", "[]"))),
        timings=json.loads(text.get("timings", "{}")),
        error_code=text.get("error_code"),
        error_message=text.get("error_message"),
        created_at=float(text["created_at"]),
        started_at=_time(text.get("started_at")),
        finished_at=_time(text.get("finished_at")),
        is_cancel_requested=text.get("cancel_requested") == "1",
        loading=text.get("loading") or None,
        rewrite=Rewrite.from_payload(json.loads(text["rewrite"])) if "rewrite" in text else None,
    )


def _time(text: str | None) -> float | None:
    return None if text is None else float(text)
