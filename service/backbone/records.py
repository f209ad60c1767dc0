"""A job's record as the Redis hash that it is stored in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from models.errors import InternalFailure, PhotogramError
from models.jobs.kinds import UnknownKind, find_kind
from models.jobs.options import NO_OPTIONS, JobOptions
from models.jobs.params import JobParams
from models.jobs.records import JobRecord, JobStatus, LoadingNow
from models.jobs.results import Image, Json, StoredFile
from models.jobs.rewrite import Rewrite
from models.jobs.safety import OFF, SafetyResult
from models.jobs.sources import image_sources
from models.jobs.tickets import Ticket

DOCUMENT_MAX_BYTES = 1 << 20
"""The largest JSON result of a job, in UTF-8; larger results belong into files."""
DOCUMENT_MAX_DEPTH = 100
"""How deep the lists and objects of a JSON result may be nested; JSON libraries fail at a few hundred."""
_READABLE_DEPTH = 240
"""The deepest document that a response can contain; older versions stored documents of any depth."""


FINGERPRINTS = "fingerprints"
"""The field that ``service.backbone.image_index`` reads."""
_LATEST_TIME_S = 253_402_300_799
"""The end of the year 9999, which is the latest time that Python can show."""
_Container = dict[Any, object] | list[object] | tuple[object, ...]


class UnreadableRecord(PhotogramError):
    """The hash in Redis is not a valid record: it is damaged, or another version of its kind wrote it."""


def new_hash(ticket: Ticket, requested: Mapping[str, Any], now: float) -> dict[str, str]:
    """The hash of a job that was just accepted."""
    return {
        "job_id": ticket.job_id,
        "kind": ticket.kind,
        "owner": ticket.owner,
        "status": JobStatus.QUEUED,
        "model": ticket.params.model_name or "",
        "params": json.dumps(ticket.params.to_payload()),
        "requested": json.dumps(requested, sort_keys=True),
        "image_id": ticket.image_id,
        "step": "0",
        "steps": str(ticket.params.expected_steps),
        "created_at": repr(now),
        **({"sources": " ".join(sources)} if (sources := image_sources(ticket.params)) else {}),
        **({} if ticket.safety == OFF else {"safety_policy": ticket.safety}),
        **_option_fields(ticket.options, now),
    }


def _option_fields(options: JobOptions, now: float) -> dict[str, str]:
    """The options as the client sent them, and apart from them what the scripts need."""
    if options == NO_OPTIONS:
        return {}
    fields = {"options": json.dumps(options.given)}
    if options.start_within_s is not None:
        fields["start_by"] = repr(now + options.start_within_s)
    if options.cancel_after_s is not None:
        fields["cancel_at"] = repr(now + options.cancel_after_s)
    if options.retain_s is not None:
        fields["retain_s"] = str(options.retain_s)
    if options.retries:
        fields["retries_left"] = str(options.retries)
    if options.labels:
        fields["labels"] = " ".join(map(label_digest, options.labels))
    return fields


def label_digest(label: str) -> str:
    """What stands for a label in the keys of Redis."""
    return hashlib.sha1(label.encode(), usedforsecurity=False).hexdigest()


def is_hidden(fields: Mapping[bytes, bytes]) -> bool:
    """Whether the job was deleted while it ran: its record goes when it ends."""
    return b"deleted" in fields


def files_text(files: Sequence[StoredFile]) -> str:
    """``files`` as records keep them."""
    return json.dumps([asdict(file) for file in files])


def result_fields(
    images: Sequence[Image],
    document: Json,
    files: Sequence[StoredFile],
    timings: Mapping[str, float],
    safety: SafetyResult | None = None,
    fingerprints: Mapping[str, str] | None = None,
    backends: Sequence[str] = (),
) -> dict[str, str]:
    """The fields that a succeeded job adds to its hash.

    Args:
        fingerprints: what is kept to find the images, by their ids; no record shows it.

    Raises:
        InternalFailure: ``document`` is not JSON, larger than :data:`DOCUMENT_MAX_BYTES`, or nested deeper than
            :data:`DOCUMENT_MAX_DEPTH`.
    """
    fields = {"images": json.dumps([asdict(image) for image in images]), "timings": json.dumps(timings)}
    if document is not None:
        fields["document"] = document_text(document)
    if safety is not None:
        fields["safety"] = json.dumps(safety.to_payload())
    if fingerprints:
        fields[FINGERPRINTS] = json.dumps(fingerprints)
    if files:
        fields["files"] = files_text(files)
    if backends:
        fields["backends"] = json.dumps(list(backends))
    return fields


def document_text(document: Json) -> str:
    """The document as the record has it; raises as :func:`result_fields`."""
    if is_deeper(document, DOCUMENT_MAX_DEPTH):
        raise InternalFailure(
            f"the JSON result of the job is nested too deep: at most {DOCUMENT_MAX_DEPTH} levels are allowed"
        )
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


def is_deeper(document: object, depth: int) -> bool:
    """Whether lists and objects are nested more than ``depth`` levels; a container within itself is."""
    level = _containers([document])
    for _ in range(depth):
        if not level:
            return False
        level = _containers(inner for each in level for inner in (each.values() if isinstance(each, dict) else each))
    return bool(level)


def _containers(values: Iterable[object]) -> Collection[_Container]:
    """The lists and objects among ``values``, each once, so that one that contains itself twice takes no more time."""
    return {id(value): value for value in values if isinstance(value, (dict, list, tuple))}.values()


def read_hash(fields: Mapping[bytes, bytes], params: JobParams | None = None) -> JobRecord:
    """The record in a hash that Redis returned.

    Args:
        params: the parameters, if the caller has them, which saves reading them.

    Raises:
        UnknownKind: this process has no job kind of that name.
        UnreadableRecord: the hash is not a valid record.
    """
    try:
        return _read(fields, params)
    except UnknownKind:
        raise
    except Exception as error:  # kinds of other packages read their parameters themselves, and may raise anything
        raise UnreadableRecord(f"the record cannot be read: {type(error).__name__}: {error}") from error


def _read(fields: Mapping[bytes, bytes], params: JobParams | None) -> JobRecord:
    text = {name.decode(): value.decode() for name, value in fields.items()}
    return JobRecord(
        job_id=text["job_id"],
        kind=text["kind"],
        owner=text["owner"],
        status=JobStatus(text["status"]),
        params=params or find_kind(text["kind"]).params.from_payload(json.loads(text["params"])),
        requested=_object(text["requested"]),
        image_id=text["image_id"],
        step=int(text["step"]),
        steps=int(text["steps"]),
        images=tuple(_image(image) for image in json.loads(text.get("images", "[]"))),
        document=_document(text.get("document", "null")),
        files=tuple(_file(file) for file in json.loads(text.get("files", "[]"))),
        timings={stage: float(seconds) for stage, seconds in _object(text.get("timings", "{}")).items()},
        backends=tuple(map(str, json.loads(text.get("backends", "[]")))),
        error_code=text.get("error_code"),
        error_message=text.get("error_message"),
        error_field=text.get("error_field"),
        created_at=_checked_time(float(text["created_at"])),
        started_at=_time(text.get("started_at")),
        finished_at=_time(text.get("finished_at")),
        is_cancel_requested=text.get("cancel_requested") == "1",
        loading=_loading(text.get("loading")),
        noted=_object(text["noted"]) if "noted" in text else None,
        asked=_object(text["asked"]) if "asked" in text else None,
        rewrite=Rewrite.from_payload(json.loads(text["rewrite"])) if "rewrite" in text else None,
        options=JobOptions.from_payload(_object(text["options"])) if "options" in text else NO_OPTIONS,
        weight=_weight(text.get("weight", "1")),
        safety_policy=text.get("safety_policy", OFF),
        safety=SafetyResult.from_payload(_object(text["safety"])) if "safety" in text else None,
    )


def _weight(text: str) -> int:
    weight = int(text)
    if weight < 1:
        raise ValueError(f"{weight} is not the weight of a key")
    return weight


def _image(payload: Mapping[str, Any]) -> Image:
    image = Image(**payload)
    _check_type(image.image_id, str)
    _check_type(image.width, int)
    _check_type(image.height, int)
    _check_type(image.size_bytes, int)
    return image


def _file(payload: Mapping[str, Any]) -> StoredFile:
    file = StoredFile(**payload)
    for text in (file.file_id, file.name, file.media_type):
        _check_type(text, str)
        text.encode()  # raises an error for lone surrogates, which no response can contain
    _check_type(file.size_bytes, int)
    return file


def _check_type(value: object, expected: type) -> None:
    if not isinstance(value, expected):
        raise TypeError(f"expected {expected.__name__}, not {value!r}")


def _object(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text)
    _check_type(value, dict)
    return value


def _document(text: str) -> Json:
    document: Json = json.loads(text)
    if text.count("[") + text.count("{") > _READABLE_DEPTH and is_deeper(document, _READABLE_DEPTH):
        raise ValueError("the document is nested too deep")
    return document


def _loading(text: str | None) -> LoadingNow | None:
    """What the record says of loading; workers of earlier versions wrote the name alone."""
    if not text:
        return None
    return LoadingNow(**json.loads(text)) if text.startswith("{") else LoadingNow(text)


def _time(text: str | None) -> float | None:
    return None if text is None else _checked_time(float(text))


def _checked_time(seconds: float) -> float:
    if not 0 <= seconds <= _LATEST_TIME_S:
        raise ValueError(f"{seconds} is not a time in seconds since the epoch")
    return seconds
