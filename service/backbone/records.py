"""A job's record as the Redis hash that it is stored in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.errors import InternalFailure
from models.jobs.kinds import find_kind
from models.jobs.params import JobParams
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import Image, Json, StoredFile
from models.jobs.rewrite import Rewrite
from models.jobs.tickets import Ticket

DOCUMENT_MAX_BYTES = 1 << 20
"""The largest JSON result of a job, in UTF-8; larger results belong into files."""


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


def result_fields(
    images: Sequence[Image], document: Json, files: Sequence[StoredFile], timings: Mapping[str, float]
) -> dict[str, str]:
    """The fields that a succeeded job adds to its hash.

    Raises:
        InternalFailure: ``document`` is not JSON, or larger than :data:`DOCUMENT_MAX_BYTES`.
    """
    fields = {"images": json.dumps([asdict(image) for image in images]), "timings": json.dumps(timings)}
    if document is not None:
        fields["document"] = _document_text(document)
    if files:
        fields["files"] = json.dumps([asdict(file) for file in files])
    return fields


def _document_text(document: Json) -> str:
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError) as error:  # UnicodeEncodeError, of lone surrogates, is a ValueError
        raise InternalFailure(f"the result of the job is not valid JSON: {error}") from error
    if size > DOCUMENT_MAX_BYTES:
        raise InternalFailure(
            f"the JSON result of the job has {size} bytes, and at most {DOCUMENT_MAX_BYTES} are allowed"
        )
    return text


def read_hash(fields: Mapping[bytes, bytes], params: JobParams | None = None) -> JobRecord:
    """The record in a hash that Redis returned.

    Args:
        params: the parameters, if the caller has them, which saves reading them.

    Raises:
        UnknownKind: this process has no job kind of that name.
    """
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return JobRecord(
        job_id=text["job_id"],
        kind=text["kind"],
        owner=text["owner"],
        status=JobStatus(text["status"]),
        params=params or find_kind(text["kind"]).params.from_payload(json.loads(text["params"])),
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
