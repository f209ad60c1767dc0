"""What happens to a call before it waits or answers: its type is found, its config translated, its job queued."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from models.errors import FieldProblem, InvalidTicket
from models.jobs import params
from models.jobs.records import JobRecord
from service.api.errors import ErrorCode, unavailable
from service.api.images import base_url
from service.api.prodia_v2.accept import Wanted
from service.api.prodia_v2.calls import Call
from service.api.prodia_v2.configs import config_of, translate
from service.api.prodia_v2.inputs import Inputs
from service.api.prodia_v2.job_types import JobType
from service.api.prodia_v2.views import Asked
from service.api.state import Gateway
from service.jobs.inputs import Refused, store_input
from service.jobs.submission import submit

_OUR_NAMES: Mapping[str, str] = {"num_inference_steps": "steps", "kind": "type"}
_RANGE = re.compile(r"from (-?[\d.]+) to ([\d.]+)")


async def require_capacity(gateway: Gateway) -> None:
    """Refuse a job that nobody would do.

    Raises:
        ApiError: there is no worker.
    """
    if await gateway.watcher.worker_count() == 0:
        raise unavailable(ErrorCode.NO_WORKERS, "no capacity: there is no worker; try again soon")


async def take(
    request: Request, gateway: Gateway, owner: str, job_type: JobType, call: Call, wanted: Wanted
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
        accepted = await submit(
            gateway, owner, noun, wire_name=lambda name: _OUR_NAMES.get(name, name),
            our_url=base_url(request, gateway), asked=asked.to_payload(),
        )  # fmt: skip
    except InvalidTicket as error:
        raise InvalidTicket([_with_bound(problem, call.config) for problem in error.problems]) from error
    return accepted.record


def _translated(gateway: Gateway, job_type: JobType, call: Call) -> params.Request:
    inputs = Inputs(call.inputs, partial(_keep, gateway))
    return translate(job_type, call.config, gateway.catalog.current(), inputs)


def _keep(gateway: Gateway, data: bytes) -> str:
    try:
        return store_input(gateway, data)[0]
    except Refused as error:
        raise InvalidTicket([FieldProblem("input", str(error))]) from error


def _with_bound(problem: FieldProblem, config: Mapping[str, Any]) -> FieldProblem:
    """``problem`` with the bound that a number broke in the words of Prodia: ``maximum: got 1,000, want 150``."""
    value, bounds = config.get(problem.field), _RANGE.search(problem.message)
    if bounds is None or isinstance(value, bool) or not isinstance(value, int | float):
        return problem
    low, high = map(float, bounds.groups())
    if low <= value <= high:
        return problem
    word, bound = ("maximum", high) if value > high else ("minimum", low)
    return FieldProblem(problem.field, f"{word}: got {_shown(value)}, want {_shown(bound)} ({problem.message})")


def _shown(value: float) -> str:
    is_whole = isinstance(value, int) or value.is_integer()
    return f"{int(value):,}" if is_whole else f"{value:,}"
