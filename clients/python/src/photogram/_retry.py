"""When a failed request is sent again, and after how long a pause."""

import random
from dataclasses import dataclass

import httpx

from ._errors import APIError, ConnectionFailed, LanguageUnavailable, PhotogramError

# 504 is what a proxy says of a gateway that is being restarted, as 502 and 503 are.
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

# These can pass by themselves; other transport errors (a bad header, an unknown scheme) come back for certain.
_PASSING = (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError, httpx.ProxyError)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses that double from `first_s` to `longest_s`, or last as long as the server asked, up to `patience_s`."""

    max_retries: int
    first_s: float = 0.25
    longest_s: float = 8.0
    patience_s: float = 60.0

    def pause_s(self, failure: PhotogramError, attempt: int) -> float | None:
        """Seconds to wait before attempt `attempt` + 1 (counted from 0), or None where the failure is to be raised."""
        if attempt >= self.max_retries or not _may_pass(failure):
            return None
        asked_s = failure.retry_after_s if isinstance(failure, APIError) else None
        if asked_s is not None:
            return asked_s if asked_s <= self.patience_s else None
        # Half of the pause is random, so that clients that failed together do not return together.
        return min(self.longest_s, self.first_s * 2.0**attempt) * random.uniform(0.5, 1.0)


def connection_failure(url: str, error: httpx.RequestError) -> ConnectionFailed:
    """The error to raise for `error`, which stays its cause."""
    # The sync and the async network layer word a timeout differently, or not at all.
    reason = "timed out" if isinstance(error, httpx.TimeoutException) else str(error)
    failure = ConnectionFailed(url, reason or type(error).__name__)
    failure.__cause__ = error
    return failure


def _may_pass(failure: PhotogramError) -> bool:
    if isinstance(failure, ConnectionFailed):
        return isinstance(failure.__cause__, _PASSING)
    if isinstance(failure, LanguageUnavailable):
        # It is switched off more often than busy, and then every pause is in vain.
        return failure.retry_after_s is not None
    return isinstance(failure, APIError) and failure.status in RETRIED_STATUSES
