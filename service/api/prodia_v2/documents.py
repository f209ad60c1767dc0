"""What the OpenAPI page shows of Prodia v2's calls: bodies, answers and errors, each with an example."""

from __future__ import annotations

from typing import Any

from service.api.documentation import REQUEST_ID_EXAMPLE
from service.api.formats import IMAGE_FORMATS
from service.api.multipart import FORM
from service.api.prodia_v2.accept import JSON
from service.api.prodia_v2.answers import TOKEN_TEXT

Entries = dict[int | str, dict[str, Any]]

_JOB_ID = "be8f99eb-8eb6-48cd-92fe-dd6f925e0756"
_TYPE = "inference.photogram.txt2img.v1"
_BINARY = {"type": "string", "format": "binary"}
_JOB_EXAMPLE = {
    "id": _JOB_ID,
    "type": _TYPE,
    "config": {"prompt": "a red apple", "steps": 4, "seed": 42, "model": "house"},
    "created_at": "2026-01-01T12:00:00.000Z",
    "updated_at": "2026-01-01T12:00:01.500Z",
    "expires_at": "2026-01-08T12:00:01.500Z",
    "state": {
        "current": "processed",
        "history": [{"state": "processed", "message": "processed", "created_at": "2026-01-01T12:00:01.500Z"}],
    },
    "metrics": {"elapsed": 1.45, "ips": 3.2},
    "price": {"product": _TYPE, "dollars": 0.0},
}
_ASKED_EXAMPLE = {"type": _TYPE, "config": {"prompt": "a red apple", "steps": 4, "seed": 42}}
_ERRORS = {
    400: "type: is required",
    404: "there is no such job",
    413: "a body may have at most 67108864 bytes",
    429: "no capacity: there is no worker; try again soon",
    500: "something went wrong; the log has it under this request's id",
    503: "the ledger cannot be reached; try again soon",
}
_MEANINGS = {
    400: "The request cannot be done, or its job failed because of it; the text says why.",
    404: "There is no such job, or no longer.",
    413: "The body is too large.",
    429: "There is no worker, or too many jobs wait; `Retry-After` has the seconds to wait.",
    500: "The job failed, and not because of the request.",
    503: "Redis cannot be reached; `Retry-After` has the seconds to wait.",
}

_JOB_SCHEMA = {"$ref": "#/components/schemas/V2Job"}
_JOB_MEDIA = {JSON: {"schema": _JOB_SCHEMA, "example": _JOB_EXAMPLE}}
_FORM_SCHEMA = {
    "type": "object",
    "properties": {"job": _JOB_SCHEMA, "output": _BINARY},
    "required": ["job"],
}

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/V2JobBody"}, "example": _ASKED_EXAMPLE},
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {
                        "job": {"$ref": "#/components/schemas/V2JobBody"},
                        "input": {"type": "array", "items": _BINARY},
                    },
                    "required": ["job"],
                },
                "encoding": {"job": {"contentType": JSON}, "input": {"contentType": "image/*"}},
            },
        },
    }
}
"""The body of a call that asks for a job."""
ANSWERS: Entries = {
    200: {
        "description": "The job is done. The Accept header chooses the form: `multipart/form-data` is the job and its "
        "image, `multipart/form-data; image/png` the same with a PNG, `image/png` and others the image alone, "
        "`application/json` the job alone. Without it, the image is answered as JPEG.",
        "content": {
            FORM: {"schema": _FORM_SCHEMA},
            **_JOB_MEDIA,
            **{media_type: {"schema": _BINARY} for media_type in IMAGE_FORMATS},
        },
    }
}
CREATED: Entries = {201: {"description": "The job is queued.", "content": _JOB_MEDIA}}
JOB: Entries = {200: {"description": "The job as it is now.", "content": _JOB_MEDIA}}
STATE: Entries = {
    200: {
        "description": "`processing`, `processed` or `failed`.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": "processed"}},
    }
}
FILE: Entries = {
    200: {
        "description": "The image.",
        "content": {media_type: {"schema": _BINARY} for media_type in IMAGE_FORMATS},
    }
}


def errors(*statuses: int, with_forms: bool = False) -> Entries:
    """The page's entries for errors with these statuses, beside the wrong token's; some may come as forms."""
    unauthorized = {
        "description": "The token is not known here.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": TOKEN_TEXT}},
    }
    return {401: unauthorized, **{status: _error(status, with_forms) for status in statuses}}


def _error(status: int, with_forms: bool) -> dict[str, Any]:
    fields = {"error": {"type": "string"}}
    told, is_form = {"error": _ERRORS[status]}, with_forms and status < 500
    form = {
        "schema": {"type": "object", "properties": {"job": {"type": "object", "properties": fields}}},
        "example": {"job": {"id": REQUEST_ID_EXAMPLE, **told}},
    }
    content = {JSON: {"schema": {"type": "object", "properties": fields, "required": ["error"]}, "example": told}}
    return {"description": _MEANINGS[status], "content": content | ({FORM: form} if is_form else {})}
