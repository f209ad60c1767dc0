"""Failures in words for the people in a channel."""

from __future__ import annotations

from photogram import (
    APIError,
    AuthenticationError,
    ConnectionFailed,
    FieldProblem,
    InvalidParams,
    LanguageUnavailable,
    NoProposal,
    NotFound,
    PermissionDenied,
    PhotogramError,
    ServerError,
    ServiceUnavailable,
    TooManyRequests,
)

from .markdown import in_line

PASSING = (ConnectionFailed, ServiceUnavailable, TooManyRequests, ServerError)
"""Failures after which the same request may succeed later."""
MAX_PROBLEMS = 8
MAX_CHARS = 300


class Refused(Exception):
    """The bot does not take this request; the message says why, to the person who made it."""


_BY_CODE = {
    "quota_exceeded": "The API key of this bot has used up what it may generate for now. Please try again tomorrow.",
    "body_too_large": "That is too large for the image server.",
    "unsupported_media_type": "The image server does not read files of that type.",
    "too_many_jobs": "As many jobs as this bot may have are waiting. Please try again in a moment.",
}
_BY_CLASS: dict[type[PhotogramError], str] = {
    AuthenticationError: "The image server does not know the API key of this bot; `/settings key` sets another one.",
    PermissionDenied: "The API key of this bot may not do that.",
    LanguageUnavailable: "The image server has no language model at the moment. `/imagine` works without one.",
    NoProposal: "I could not turn that into an image. Other words may help.",
    TooManyRequests: "The image server has too many requests at the moment. Please try again in a moment.",
    ServiceUnavailable: "The image server takes no jobs at the moment. Please try again in a moment.",
    NotFound: "The image server no longer has that.",
    ServerError: "The image server failed. Trying again may help.",
    ConnectionFailed: "The image server cannot be reached.",
}


def explained(error: Exception) -> str:
    """A sentence about `error` that a person understands and that contains no address of the server."""
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, APIError) and error.code in _BY_CODE:
        return _BY_CODE[error.code]
    if isinstance(error, InvalidParams):
        return "\n".join(map(_line, error.problems[:MAX_PROBLEMS])) or in_line(error.detail, MAX_CHARS)
    for kind in type(error).__mro__:
        if kind in _BY_CLASS:
            return _BY_CLASS[kind]
    return "Something went wrong. Trying again may help."


def _line(problem: FieldProblem) -> str:
    field, message = problem.field.removeprefix("params."), in_line(problem.message, MAX_CHARS)
    if field == "body":  # of an upload, which has no fields
        return message[:1].upper() + message[1:]
    return f"**{in_line(field, 100)}**: {message}"


def waiting_for(error: Exception) -> str:
    """What the message of a drawing says while the bot tries again after `error`, which is one of `PASSING`."""
    is_busy = isinstance(error, TooManyRequests | ServiceUnavailable)
    return f"The image server {'takes no more jobs at the moment' if is_busy else 'does not answer'}. I keep trying."
