"""What every dialect does once it understood a request: open the ticket, queue it, find it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from starlette.concurrency import run_in_threadpool

from models.errors import FieldProblem, InvalidTicket
from models.job import JOB_ID_PATTERN, JobRecord, new_job_id
from models.params import TXT2IMG, Txt2ImgRequest
from models.tickets import open_ticket
from service.api.errors import ApiError, ErrorCode
from service.api.state import Gateway
from service.backbone.queue import Accepted


async def submit(
    gateway: Gateway,
    owner: str,
    request: Txt2ImgRequest,
    *,
    wire_name: Callable[[str], str],
    job_id: str | None = None,
    idempotency_key: str | None = None,
) -> Accepted:
    """Queue ``request`` for ``owner``; ``wire_name`` gives a parameter's name in the dialect, for errors.

    Raises:
        InvalidTicket: the request cannot be drawn.
        AlreadyUsed: the job id or the idempotency key belongs to another request.
        QueueFull: too many jobs wait.
    """
    try:
        ticket = open_ticket(request, gateway.catalog.current(), job_id=job_id or new_job_id(), owner=owner)
    except InvalidTicket as error:
        named = [FieldProblem(wire_name(problem.field), problem.message) for problem in error.problems]
        raise InvalidTicket(named) from error
    given = {name: value for name, value in asdict(request).items() if value is not None}
    requested = {"kind": TXT2IMG, "params": given}
    return await run_in_threadpool(gateway.intake.accept, ticket, requested, idempotency_key)


async def find_job(gateway: Gateway, owner: str, job_id: str) -> JobRecord:
    """The job of that id; raises :class:`ApiError` if ``owner`` has none such."""
    record = await gateway.watcher.read(job_id) if JOB_ID_PATTERN.fullmatch(job_id) else None
    if record is None or record.owner != owner:
        raise ApiError(ErrorCode.JOB_NOT_FOUND, "there is no such job")
    return record
