"""Failures in words for the people in a channel."""

from __future__ import annotations

from photogram import (
    AuthenticationError,
    ConnectionFailed,
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


class Refused(Exception):
    """The bot does not take this request; the message says why, to the person who made it."""


_SENTENCES: dict[type[PhotogramError], str] = {
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
    if isinstance(error, InvalidParams) and error.problems:
        return "\n".join(f"**{each.field.removeprefix('params.')}**: {each.message}" for each in error.problems)
    if isinstance(error, InvalidParams):
        return error.detail
    for kind in type(error).__mro__:
        if kind in _SENTENCES:
            return _SENTENCES[kind]
    return "Something went wrong. Trying again may help."
