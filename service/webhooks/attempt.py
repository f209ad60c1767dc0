"""One attempt at a delivery: a guarded POST, of whose answer only the status and ``Retry-After`` count."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime

from models.jobs.urls import FetchPolicy, MalformedUrl, parse_url, unreachable
from service.backbone.guarded_http import Deadline, Unreachable, open_response
from service.backbone.webhooks.schedule import WAIT_MAX_S

ATTEMPT_S = 10.0
"""How long an attempt may take, from the resolution of the host to the status of the answer."""
_ANSWER_MAX_BYTES = 16 << 10
"""So much of an answer is read, if it says that it is no longer, because some receivers take a closed connection for a
failure; nothing is done with it."""


@dataclass(frozen=True)
class Answer:
    """What came of an attempt."""

    status: int | None = None
    """``None`` if there was no answer."""
    error: str | None = None
    """Why there was none, without anything that the host sent."""
    wait_s: float = 0.0
    """For how long the receiver wants to be left alone."""


def post(url: str, policy: FetchPolicy, headers: Mapping[str, str], body: bytes) -> Answer:
    """Send ``body`` to ``url``; redirects are not followed."""
    try:
        parsed = parse_url(url)
    except MalformedUrl as error:
        return Answer(error=str(error))
    problem = policy.problem(parsed)
    if problem is not None:
        return Answer(error=problem)
    deadline, answers = Deadline(ATTEMPT_S), list[Answer]()
    try:
        with open_response(parsed, policy, deadline, headers, body) as response:
            answers.append(Answer(response.status, wait_s=_wait_s(response.headers.get("Retry-After"))))
            if response.length is not None and response.length <= _ANSWER_MAX_BYTES:
                response.read()
    except Unreachable:
        return Answer(error=unreachable(parsed.host))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return answers[0] if answers else Answer(error=f"{parsed.host} {_reason(error, deadline)}")
    return answers[0]


def _reason(error: Exception, deadline: Deadline) -> str:
    if not deadline.left_s:
        return f"did not answer within {ATTEMPT_S:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"has a TLS certificate that is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "cannot be reached over TLS"
    if isinstance(error, http.client.RemoteDisconnected) or not isinstance(
        error, http.client.HTTPException | ValueError
    ):
        return "closed the connection"
    return "does not answer in valid HTTP"


def _wait_s(retry_after: str | None) -> float:
    """The seconds that ``Retry-After``, a number or a date, asks for, at most :data:`WAIT_MAX_S`; 0 without it."""
    text, seconds = (retry_after or "").strip(), 0.0
    with suppress(ValueError, TypeError, OverflowError):
        if text.isascii() and text.isdecimal():
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text)
            seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - time.time()
    return min(max(seconds, 0.0), WAIT_MAX_S)
