"""Failures on order, and rate limits by bucket."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field

from aiohttp import web

ERRORS = {
    10008: (404, "Unknown Message"),
    10015: (404, "Unknown Webhook"),
    10062: (404, "Unknown interaction"),
    40005: (413, "Request entity too large"),
    40060: (400, "Interaction has already been acknowledged."),
    50001: (403, "Missing Access"),
    50027: (401, "Invalid Webhook Token"),
    50035: (400, "Invalid Form Body"),
}


def answer(data: object, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """JSON as Discord sends it: discord.py reads it only without a charset."""
    return web.Response(body=json.dumps(data).encode(), status=status, headers=headers, content_type="application/json")


def error(code: int, detail: str = "") -> web.Response:
    """Discord's answer for an error code."""
    status, message = ERRORS[code]
    return answer({"code": code, "message": f"{message} {detail}".strip()}, status=status)


@dataclass
class Faults:
    """Statuses for the next requests whose method and path contain a text; 0 breaks the connection."""

    ordered: list[tuple[str, int]] = field(default_factory=list)

    def order(self, fragment: str, status: int, times: int = 1) -> None:
        self.ordered += [(fragment, status)] * times

    def take(self, request: web.Request) -> web.Response | None:
        for index, (fragment, status) in enumerate(self.ordered):
            if fragment in f"{request.method} {request.path}":
                del self.ordered[index]
                if not status and request.transport is not None:
                    request.transport.abort()
                return web.Response(status=status or 500, text="an ordered failure")
        return None


@dataclass
class Buckets:
    """A sliding window for each bucket: `limit` requests in `window_s`, then 429 with `retry_after`."""

    limit: int = 5
    window_s: float = 5.0
    refused: int = 0
    hits: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def take(self, bucket: str) -> tuple[dict[str, str], web.Response | None]:
        """The headers of the answer, and the answer 429 if the bucket is empty."""
        present = time.monotonic()
        hits = self.hits[bucket] = [hit for hit in self.hits[bucket] if present - hit < self.window_s]
        reset_s = max(0.001, self.window_s - (present - hits[0])) if hits else self.window_s
        headers = {"X-RateLimit-Bucket": bucket.partition(":")[0], "X-RateLimit-Limit": str(self.limit)}
        headers |= {"X-RateLimit-Reset-After": f"{reset_s:.3f}", "X-RateLimit-Reset": f"{time.time() + reset_s:.3f}"}
        if len(hits) >= self.limit:
            self.refused += 1
            body = {"message": "You are being rate limited.", "retry_after": reset_s, "global": False}
            headers |= {"X-RateLimit-Remaining": "0", "Retry-After": f"{reset_s:.3f}", "Via": "1.1 google"}
            return headers, answer(body, status=429, headers=headers)
        hits.append(present)
        return headers | {"X-RateLimit-Remaining": str(self.limit - len(hits))}, None
