"""The headers of requests for jobs: ``Prefer: wait`` (RFC 7240) and ``Cancel-After``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import Header, Request

from models.errors import ProblemCode
from models.jobs.options import JobOptions
from models.jobs.records import JobRecord
from service.api.errors import invalid_field
from service.api.native.schemas import WAIT_MAX_S
from service.api.state import Gateway
from service.api.stopping import GatewayStops, stopping_of
from service.jobs.caller import Caller

Prefer = Annotated[
    list[str] | None,
    Header(
        alias="Prefer",
        description="`wait=n` waits up to n seconds, at most 60, until the job has finished (RFC 7240); "
        "`Preference-Applied` says how many. Other preferences are ignored.",
    ),
]
CancelAfter = Annotated[
    str | None,
    Header(
        alias="Cancel-After",
        description="`cancel_after_s` as a header: seconds, or a duration such as `90s`, `5m` or `1h30m`.",
    ),
]
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)
_DURATION = re.compile(r"(?:(?P<h>[0-9]{1,6})h)?(?:(?P<m>[0-9]{1,6})m)?(?:(?P<s>[0-9]{1,6})s)?|(?P<plain>[0-9]{1,9})")
_UNITS_S = {"h": 3600, "m": 60, "s": 1, "plain": 1}


def preferred_wait_s(prefer: Sequence[str] | None) -> int | None:
    """How long the client prefers to wait, within what the server allows; ``None`` if it does not say."""
    for header in prefer or ():
        for each in header.split(","):
            if found := _WAIT.fullmatch(each):
                return min(int(found[1]), int(WAIT_MAX_S))
    return None


def with_cancel_after(options: JobOptions, header: str | None) -> JobOptions:
    """``options`` with the ``cancel_after_s`` of the header ``Cancel-After``.

    Raises:
        InvalidTicket: the header is no duration, or the body says something else.
    """
    if header is None:
        return options
    found = _DURATION.fullmatch(header.strip())
    parts = {} if found is None else {unit: number for unit, number in found.groupdict().items() if number}
    if not parts:
        raise invalid_field("Cancel-After", "must be seconds, or as in 90s, 5m or 1h30m", ProblemCode.MALFORMED)
    seconds = sum(int(number) * _UNITS_S[unit] for unit, number in parts.items())
    if options.cancel_after_s not in (None, seconds):
        raise invalid_field("cancel_after_s", "contradicts the header Cancel-After", ProblemCode.CONFLICT)
    return replace(options, cancel_after_s=seconds)


async def after_wait(
    request: Request, gateway: Gateway, caller: Caller, record: JobRecord, wait_s: int | None
) -> JobRecord:
    """The job of ``record``, which was submitted just now, after the wait that the client prefers.

    A gateway that stops ends the wait, because the job has been accepted.
    """
    if wait_s is None:
        return record
    try:
        async with stopping_of(request.scope).interrupting():
            return await gateway.jobs.wait(caller, record.job_id, wait_s)
    except GatewayStops:
        return record
