"""The errors of ``POST /v1/assist``; all are problem details (``service.api.errors``)."""

from __future__ import annotations

import logging

from models.language.errors import EngineTimeout, EngineUnavailable, LanguageError
from service.api.documentation import problems
from service.api.errors import ApiError, ErrorCode, unavailable
from service.backbone.logs import told

RESPONSES = problems(
    ErrorCode.UNAUTHORIZED,
    ErrorCode.MISSING_SCOPE,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.MALFORMED_JSON,
    ErrorCode.INVALID_PARAMS,
    ErrorCode.NO_PROPOSAL,
    ErrorCode.LANGUAGE_UNAVAILABLE,
    ErrorCode.LEDGER_UNAVAILABLE,
    ErrorCode.INTERNAL_ERROR,
)
"""The OpenAPI entries of the errors."""

log = logging.getLogger(__name__)


def language_failure(error: LanguageError) -> ApiError:
    """The error for the client; the message of the engine is only logged."""
    log.warning("the language engine failed in a conversation: %s", told(error))
    match error:
        case EngineTimeout():
            detail = "the language engine did not answer in time"
        case EngineUnavailable():
            detail = "the language engine cannot be reached, or failed too often a moment ago"
        case _:
            detail = "the answer of the language engine is invalid; the log has the reason"
    return unavailable(ErrorCode.LANGUAGE_UNAVAILABLE, detail)
