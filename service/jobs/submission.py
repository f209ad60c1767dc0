"""What every dialect does once it understood a request: open the ticket, queue it, find it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from starlette.concurrency import run_in_threadpool

from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import DrawRequest, JobRequest
from models.jobs.records import JOB_ID_PATTERN, JobRecord, new_job_id
from models.jobs.tickets import open_ticket
from service.api.errors import ApiError, ErrorCode
from service.api.state import Gateway
from service.backbone.queue import Accepted
from service.jobs.inputs import take_in


async def submit(
    gateway: Gateway,
    owner: str,
    request: JobRequest,
    *,
    wire_name: Callable[[str], str],
    our_url: str | None = None,
    job_id: str | None = None,
    idempotency_key: str | None = None,
    asked: Mapping[str, Any] | None = None,
) -> Accepted:
    """Queue ``request`` for ``owner``.

    Args:
        wire_name: gives a parameter's name in the dialect, for errors.
        asked: the request in the dialect's own words, for the record; ``None`` keeps it in ours.
        our_url: what links to our own images start with; ``None`` is the address that is set, if one is.

    Raises:
        InvalidTicket: the request cannot be done.
        AlreadyUsed: the job id or the idempotency key belongs to another request.
        QueueFull: too many jobs wait.
    """

    preferred = await _with_preferences(gateway, owner, request)

    def accept() -> Accepted:
        taken = take_in(gateway, preferred, our_url or gateway.settings.public_url)
        ticket = open_ticket(taken, gateway.catalog.current(), job_id=job_id or new_job_id(), owner=owner)
        return gateway.intake.accept(ticket, _requested(taken, request) if asked is None else asked, idempotency_key)

    try:
        return await run_in_threadpool(accept)
    except InvalidTicket as error:
        named = [FieldProblem(wire_name(problem.field), problem.message) for problem in error.problems]
        raise InvalidTicket(named) from error


async def _with_preferences(gateway: Gateway, owner: str, request: JobRequest) -> JobRequest:
    """``request`` with what the key prefers where it says nothing of rewriting."""
    if not isinstance(request, DrawRequest) or None not in (request.enhance_prompt, request.enhance_negative_prompt):
        return request
    preferred = await gateway.preferences.get(owner)
    enhance, negative = request.enhance_prompt, request.enhance_negative_prompt
    return replace(
        request,
        enhance_prompt=preferred.enhance_prompt if enhance is None else enhance,
        enhance_negative_prompt=preferred.enhance_negative_prompt if negative is None else negative,
    )


def _requested(taken: JobRequest, request: JobRequest) -> dict[str, Any]:
    """What ``request`` itself says, without what it left open; its images as they were ``taken`` in."""
    given = {name: value for name, value in asdict(taken).items() if getattr(request, name) not in (None, ())}
    kind = given.pop("kind")
    return {"kind": kind, "params": given}


async def find_job(gateway: Gateway, owner: str, job_id: str) -> JobRecord:
    """The job of that id; raises :class:`ApiError` if ``owner`` has none such."""
    record = await gateway.watcher.read(job_id) if JOB_ID_PATTERN.fullmatch(job_id) else None
    if record is None or record.owner != owner:
        raise ApiError(ErrorCode.JOB_NOT_FOUND, "there is no such job")
    return record
