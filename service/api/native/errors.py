"""The errors of native routes, for the OpenAPI document; all are problem details (``service.api.errors``)."""

from __future__ import annotations

from service.api.documentation import problems
from service.api.errors import ErrorCode

_BODY = (
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
)
_SERVER = (ErrorCode.LEDGER_UNAVAILABLE, ErrorCode.INTERNAL_ERROR)

READING_JOB = problems(ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, *_SERVER)
QUERYING_JOB = problems(ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, *_SERVER, ErrorCode.INVALID_PARAMS)
READING_FILE = problems(
    ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, ErrorCode.FILE_NOT_FOUND, ErrorCode.INVALID_PARAMS, *_SERVER
)
CREATING_JOB = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.ALREADY_USED,
    *_BODY,
    ErrorCode.QUEUE_FULL,
    ErrorCode.STORAGE_UNAVAILABLE,
    *_SERVER,
)
LISTING = problems(ErrorCode.UNAUTHORIZED)
"""Of a route that needs no Redis beyond the API key."""
LISTING_MODELS = problems(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE)
READING = problems(ErrorCode.UNAUTHORIZED, *_SERVER)
SENDING_JSON = problems(ErrorCode.UNAUTHORIZED, *_BODY, *_SERVER)
UPLOADING = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.STORAGE_UNAVAILABLE,
    *_SERVER,
)
