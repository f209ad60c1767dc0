"""The fields of the Internet draft "RateLimit header fields for HTTP", for refusals and for accepted jobs.

The three fields of its first versions follow, which most clients read. They tell one limit: that which is used up next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.backbone.allowances import Remainder
from service.jobs.caller import Caller

DAY_S = 24 * 3600
RETRY_AFTER_S = 5
"""When to try again if nobody knows when there is more."""
WINDOWS_S: Final[Mapping[str, int]] = {"requests_per_minute": 60, "units_per_day": DAY_S, "units_per_month": 31 * DAY_S}
"""The window that a limit of an API key counts in; the others count what there is."""
FIELDS = ("RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")


def rate_limit_fields(remainders: Sequence[Remainder]) -> dict[str, str]:
    """The fields for what is left of some limits, at least one."""
    tightest = min(remainders, key=lambda each: each.left / each.high)
    return {
        "RateLimit-Policy": ", ".join(map(_policy, remainders)),
        "RateLimit": ", ".join(map(_left, remainders)),
        "RateLimit-Limit": str(tightest.high),
        "RateLimit-Remaining": str(tightest.left),
        "RateLimit-Reset": str(tightest.whole_s or RETRY_AFTER_S),
    }


def _policy(remainder: Remainder) -> str:
    window_s = WINDOWS_S.get(remainder.limit)
    return f'"{remainder.limit}";q={remainder.high}' + ("" if window_s is None else f";w={window_s}")


def _left(remainder: Remainder) -> str:
    reset = f";t={remainder.whole_s}" if remainder.whole_s else ""
    return f'"{remainder.limit}";r={remainder.left}{reset}'


class ShownLimits:
    """Tells in each response to a request that submitted jobs what is left of the limits of its API key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                caller: Caller | None = scope["state"].get("caller")
                if caller is not None and caller.remainders:
                    MutableHeaders(scope=message).update(rate_limit_fields(caller.remainders))
            await send(message)

        await self._app(scope, receive, send_with_limits)
