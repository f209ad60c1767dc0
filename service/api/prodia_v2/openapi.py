"""The OpenAPI entries of the routes: bodies, answers and errors, each with an example."""

from __future__ import annotations

from typing import Any

from service.api.documentation import REQUEST_ID_EXAMPLE
from service.api.formats import IMAGE_FORMATS
from service.api.multipart import FORM
from service.api.prodia_v2.errors import TOKEN_TEXT
from service.api.responses import JSON

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
_REQUEST_EXAMPLE = {"type": _TYPE, "config": {"prompt": "a red apple", "steps": 4, "seed": 42}}
_ERRORS = {
    400: "type: is required",
    402: "this API key may use 100 cost units a day (UTC)",
    403: "this API key needs the scope submit for this",
    404: "there is no such job",
    413: "a body may have at most 67108864 bytes",
    429: "no capacity: there is no worker; try again soon",
    500: "the server failed; its log has the error under the id of this request",
    503: "the ledger cannot be reached; try again soon",
}
_MEANINGS = {
    400: "The request is invalid, or its job failed because of it; the text says why.",
    402: "The quota of the token is used up.",
    403: "The token may not submit jobs.",
    404: "There is no such job, or its record has expired.",
    413: "The body is too large.",
    429: "No worker is alive, or too many jobs are queued, here or of this token; `Retry-After` has the seconds.",
    500: "The job failed, but not because of the request.",
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
            JSON: {"schema": {"$ref": "#/components/schemas/V2JobBody"}, "example": _REQUEST_EXAMPLE},
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
"""The body of a route that submits a job."""
ANSWERS: Entries = {
    200: {
        "description": "The job has succeeded. The Accept header chooses the form: `multipart/form-data` is the job "
        "and its image, `multipart/form-data; image/png` the same with a PNG file, `image/png` and others only the "
        "image, `application/json` only the job. Without the header, the answer is the image as JPEG.",
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


def responses(*statuses: int, with_forms: bool = False) -> Entries:
    """The entries for errors with these statuses, and for 401; ``with_forms``, those below 500 may be forms."""
    unauthorized = {
        "description": "The token is missing or unknown.",
        "content": {"text/plain": {"schema": {"type": "string"}, "example": TOKEN_TEXT}},
    }
    return {401: unauthorized, **{status: _error(status, with_forms) for status in statuses}}


def _error(status: int, with_forms: bool) -> dict[str, Any]:
    fields = {"error": {"type": "string"}}
    example, is_form = {"error": _ERRORS[status]}, with_forms and status < 500
    form = {
        "schema": {"type": "object", "properties": {"job": {"type": "object", "properties": fields}}},
        "example": {"job": {"id": REQUEST_ID_EXAMPLE, **example}},
    }
    content = {JSON: {"schema": {"type": "object", "properties": fields, "required": ["error"]}, "example": example}}
    return {"description": _MEANINGS[status], "content": content | ({FORM: form} if is_form else {})}
