"""What the rules of a caller and of the server forbid: models, kinds, priorities, missing marks, long retention."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from models.jobs.deploying import DeployParams
from models.jobs.kinds import find_kind
from models.jobs.options import OPTION, JobOptions
from models.jobs.params import PROVENANCE, DrawParams, JobParams, JobRequest
from models.jobs.tickets import Ticket
from models.jobs.vision import VisionParams
from service.jobs.caller import Caller


def with_allowed_priority(caller: Caller, request: JobRequest) -> JobRequest:
    """``request``; if it leaves the priority open and the caller may not have the default one, with the highest."""
    if caller.max_priority is None or getattr(request, "priority", 0) is not None:
        return request
    return replace(request, priority=min(JobParams.priority, caller.max_priority))  # type: ignore[call-arg]


def allowed_provenance(caller: Caller, preferred: str) -> str:
    """``preferred``, one of ``PROVENANCE``, or the least that images of ``caller`` must carry if that is more."""
    return max(preferred, caller.provenance, key=PROVENANCE.index)


def require_allowed(caller: Caller, ticket: Ticket) -> None:
    """Raise :class:`InvalidTicket` if the rules of the caller forbid the job."""
    problems = list(_problems(caller, ticket))
    if problems:
        raise InvalidTicket(problems)


def require_kept(options: JobOptions, record_ttl_s: int) -> None:
    """Raise :class:`InvalidTicket` if the job is to be kept for longer than the server keeps jobs."""
    if options.retain_s is not None and options.retain_s > record_ttl_s:
        message = f"must be at most {record_ttl_s}: this server keeps jobs for so long"
        raise InvalidTicket([FieldProblem(f"{OPTION}retain_s", message, ProblemCode.OUT_OF_RANGE, high=record_ttl_s)])


def _problems(caller: Caller, ticket: Ticket) -> Iterator[FieldProblem]:
    if caller.kinds and ticket.kind not in caller.kinds:
        yield _not_allowed("kind", ticket.kind, caller.kinds)
    if find_kind(ticket.kind).is_administrative and not caller.is_administrator:
        message = f"{ticket.kind!r} changes what the jobs of all API keys get, so it needs one with the scope admin"
        yield FieldProblem("kind", message, ProblemCode.NOT_ALLOWED)
    if caller.models:
        for field, model in _models(ticket.params):
            if model not in caller.models:
                yield _not_allowed(field, model, caller.models)
    highest = caller.max_priority
    if highest is not None and ticket.params.priority > highest:
        message = f"must be at most {highest} with this API key"
        yield FieldProblem("priority", message, ProblemCode.OUT_OF_RANGE, high=highest)
    allowed = PROVENANCE[PROVENANCE.index(caller.provenance) :]
    if ticket.params.provenance is not None and ticket.params.provenance not in allowed:
        yield _not_allowed("provenance", ticket.params.provenance, allowed)


def _models(params: JobParams) -> Iterator[tuple[str, str]]:
    """Each model that the job names, with the field that names it."""
    if params.model_name is not None:
        yield "model", params.model_name
    if isinstance(params, VisionParams | DeployParams):
        yield "model", params.model
    if isinstance(params, DrawParams) and params.refiner is not None:
        yield "refiner.model", params.refiner.model


def _not_allowed(field: str, value: str, allowed: tuple[str, ...]) -> FieldProblem:
    message = f"{value!r} is not allowed with this API key, only {', '.join(allowed)}"
    return FieldProblem(field, message, ProblemCode.NOT_ALLOWED, allowed=allowed)
