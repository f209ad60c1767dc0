"""What happens to a call before it waits or answers: its type is found, its config translated, its job queued."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from models.jobs.params import JobRequest
from models.jobs.records import JobRecord
from service.api.errors import ErrorCode, renamed_problems, unavailable
from service.api.images import base_url
from service.api.prodia_v2.accept import Wanted
from service.api.prodia_v2.calls import Call
from service.api.prodia_v2.configs import config_of, translate
from service.api.prodia_v2.inputs import Inputs
from service.api.prodia_v2.job_types import JobType
from service.api.prodia_v2.views import Asked
from service.api.state import Gateway
from service.jobs.caller import Caller
from service.jobs.errors import ImageRefused

_OUR_NAMES: Mapping[str, str] = {"num_inference_steps": "steps", "kind": "type"}


async def require_capacity(gateway: Gateway) -> None:
    """Refuse a job that nobody would do.

    Raises:
        ApiError: there is no worker.
    """
    if await gateway.watcher.worker_count() == 0:
        raise unavailable(ErrorCode.NO_WORKERS, "no capacity: there is no worker; try again soon")


async def take(
    request: Request, gateway: Gateway, caller: Caller, job_type: JobType, call: Call, wanted: Wanted
) -> JobRecord:
    """Queue the job that ``call`` asks for.

    Raises:
        ApiError: there is no worker.
        InvalidTicket: it cannot be done.
        QueueFull: too many jobs wait.
    """
    config = config_of(job_type)
    asked = Asked(
        type=job_type.name,
        config=config.told(call.config),
        media_type=wanted.image.media_type,
        warnings=(*call.warnings, *config.warnings(call.config)),
    )
    await require_capacity(gateway)
    noun = await run_in_threadpool(_translated, gateway, job_type, call)
    try:
        with renamed_problems(lambda name: _OUR_NAMES.get(name, name)):
            accepted = await gateway.jobs.submit(
                caller, noun, our_url=base_url(request, gateway), echo=asked.to_payload()
            )
    except InvalidTicket as error:
        raise InvalidTicket([_with_bound(problem, call.config) for problem in error.problems]) from error
    return accepted.record


def _translated(gateway: Gateway, job_type: JobType, call: Call) -> JobRequest:
    inputs = Inputs(call.inputs, partial(_keep, gateway))
    return translate(job_type, call.config, gateway.catalog.current(), inputs)


def _keep(gateway: Gateway, data: bytes) -> str:
    try:
        return gateway.jobs.store_image(data).source
    except ImageRefused as error:
        raise InvalidTicket([FieldProblem("input", str(error))]) from error


def _with_bound(problem: FieldProblem, config: Mapping[str, Any]) -> FieldProblem:
    """``problem`` with the bound that a number exceeds in Prodia's words: ``maximum: got 1,000, want 150``."""
    value, low, high = config.get(problem.field), problem.low, problem.high
    if problem.code is not ProblemCode.OUT_OF_RANGE or isinstance(value, bool) or not isinstance(value, int | float):
        return problem
    if high is not None and value > high:
        bound = f"maximum: got {_shown(value)}, want {_shown(high)}"
    elif low is not None and value < low:
        bound = f"minimum: got {_shown(value)}, want {_shown(low)}"
    else:
        return problem
    return replace(problem, message=f"{bound} ({problem.message})")


def _shown(value: float) -> str:
    is_whole = isinstance(value, int) or value.is_integer()
    return f"{int(value):,}" if is_whole else f"{value:,}"
