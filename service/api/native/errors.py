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

QUERYING_JOB = problems(ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, *_SERVER, ErrorCode.INVALID_PARAMS)
LISTING_JOBS = problems(ErrorCode.UNAUTHORIZED, *_SERVER, ErrorCode.INVALID_PARAMS)
SEARCHING_IMAGES = problems(ErrorCode.UNAUTHORIZED, ErrorCode.IMAGE_NOT_FOUND, *_SERVER, ErrorCode.INVALID_PARAMS)
DELETING_JOBS = problems(ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, *_SERVER, ErrorCode.INVALID_PARAMS)
DELETING_IMAGE = problems(
    ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, ErrorCode.JOB_NOT_FOUND, ErrorCode.IMAGE_NOT_FOUND, *_SERVER
)
_ADMIN = (ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, *_SERVER)
READING_KEYS = problems(*_ADMIN)
READING_KEY = problems(*_ADMIN, ErrorCode.KEY_NOT_FOUND, ErrorCode.INVALID_PARAMS)
CREATING_KEY = problems(*_ADMIN, *_BODY, ErrorCode.KEY_NOT_FOUND)
DELETING_KEY = problems(*_ADMIN, ErrorCode.KEY_NOT_FOUND, ErrorCode.KEY_IN_USE)
READING_FILE = problems(
    ErrorCode.UNAUTHORIZED, ErrorCode.JOB_NOT_FOUND, ErrorCode.FILE_NOT_FOUND, ErrorCode.INVALID_PARAMS, *_SERVER
)
CANCELLING_JOB = problems(ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, ErrorCode.JOB_NOT_FOUND, *_SERVER)
TELLING_JOB = problems(
    ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, ErrorCode.JOB_NOT_FOUND, ErrorCode.NOT_ASKED, *_BODY, *_SERVER
)
CREATING_JOB = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.QUOTA_EXCEEDED,
    ErrorCode.MISSING_SCOPE,
    ErrorCode.RATE_LIMITED,
    ErrorCode.TOO_MANY_JOBS,
    ErrorCode.ALREADY_USED,
    *_BODY,
    ErrorCode.QUEUE_FULL,
    ErrorCode.STORAGE_UNAVAILABLE,
    *_SERVER,
)
READING_WEBHOOK = problems(ErrorCode.UNAUTHORIZED, ErrorCode.WEBHOOK_NOT_FOUND, *_SERVER, ErrorCode.INVALID_PARAMS)
_CHANGING_WEBHOOK = (ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, ErrorCode.WEBHOOKS_FORBIDDEN, *_SERVER)
USING_WEBHOOK = problems(*_CHANGING_WEBHOOK, ErrorCode.WEBHOOK_NOT_FOUND)
CHANGING_WEBHOOK = problems(*_CHANGING_WEBHOOK, *_BODY, ErrorCode.WEBHOOK_NOT_FOUND)
CREATING_WEBHOOK = problems(*_CHANGING_WEBHOOK, *_BODY, ErrorCode.TOO_MANY_WEBHOOKS)
MAKING_SECRET = problems(*_CHANGING_WEBHOOK, *_BODY)
LISTING = problems(ErrorCode.UNAUTHORIZED)
"""Of a route that needs no Redis beyond the API key."""
FILTERING = problems(ErrorCode.UNAUTHORIZED, ErrorCode.INVALID_PARAMS)
LISTING_MODELS = problems(ErrorCode.UNAUTHORIZED, ErrorCode.LEDGER_UNAVAILABLE)
READING = problems(ErrorCode.UNAUTHORIZED, *_SERVER)
SENDING_JSON = problems(ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, *_BODY, *_SERVER)
VERIFYING = problems(ErrorCode.UNAUTHORIZED, *_BODY, *_SERVER)
UPLOADING = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.MISSING_SCOPE,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.STORAGE_UNAVAILABLE,
    *_SERVER,
)
