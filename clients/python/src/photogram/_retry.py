"""Whether a failed request is retried, and after which pause."""

import random
from dataclasses import dataclass

import httpx2

from ._errors import APIError, ConnectionFailed, LanguageUnavailable, PhotogramError

# A proxy answers 502, 503 or 504 while the gateway restarts.
RETRIED_STATUSES = frozenset({429, 502, 503, 504})

# Transient errors; all other transport errors (a bad header, an unknown scheme) are permanent.
_TRANSIENT = (httpx2.NetworkError, httpx2.TimeoutException, httpx2.RemoteProtocolError, httpx2.ProxyError)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff from `first_s` to `max_s`, or the server's Retry-After up to `max_retry_after_s`."""

    max_retries: int
    first_s: float = 0.25
    max_s: float = 8.0
    max_retry_after_s: float = 60.0

    def pause_s(self, failure: PhotogramError, attempt: int) -> float | None:
        """Seconds to wait after attempt `attempt` (counted from 0), or None if `failure` is final."""
        if attempt >= self.max_retries or not _is_transient(failure):
            return None
        retry_after_s = failure.retry_after_s if isinstance(failure, APIError) else None
        if retry_after_s is not None:
            return retry_after_s if retry_after_s <= self.max_retry_after_s else None
        # Half of the pause is random (jitter), so that clients that failed together do not retry together.
        return min(self.max_s, self.first_s * 2.0**attempt) * random.uniform(0.5, 1.0)


def connection_failure(url: str, error: httpx2.RequestError) -> ConnectionFailed:
    """The ConnectionFailed for `error`, with `error` as its cause."""
    # The messages of timeouts differ between the sync and the async network layer, and may be empty.
    reason = "timed out" if isinstance(error, httpx2.TimeoutException) else str(error)
    failure = ConnectionFailed(url, reason or type(error).__name__)
    failure.__cause__ = error
    return failure


def _is_transient(failure: PhotogramError) -> bool:
    if isinstance(failure, ConnectionFailed):
        return isinstance(failure.__cause__, _TRANSIENT)
    if isinstance(failure, LanguageUnavailable):
        # Without Retry-After the language model is switched off, and no retry would help.
        return failure.retry_after_s is not None
    return isinstance(failure, APIError) and failure.status in RETRIED_STATUSES
