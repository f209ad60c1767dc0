"""Health checks: whether the gateway runs, and whether a worker could process a job."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from models.jobs.kinds import DIFFUSION_QUEUE
from service.api.documentation import problems
from service.api.errors import PROBLEM_TYPE, ApiError, ErrorCode, problem_document, unavailable
from service.api.readiness import Check, check_all
from service.api.responses import json_response
from service.api.state import GatewayState

PROBES = ("/healthz", "/readyz")
"""The paths of this module. Probes ask them every second, by the address of a container."""

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Jobs can be queued, processed and stored."""

    status: Literal["ready"] = "ready"
    warnings: list[str] | None = None
    """What needs care although jobs can be processed; left out if nothing does."""
    workers: int = Field(description="How many workers of the diffusion queue are alive.")
    checks: list[Check]


_FAILURES = {
    "storage": ErrorCode.STORAGE_UNAVAILABLE,
    "redis": ErrorCode.LEDGER_UNAVAILABLE,
    "workers": ErrorCode.NO_WORKERS,
}
"""The code of the answer if a check failed; the first one counts."""


@router.get("/healthz", operation_id="isAlive", summary="Check whether the gateway runs")
async def is_alive() -> Alive:
    """Answers for as long as the process runs, whether Redis and workers can be reached or not. Needs no API key."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Check whether jobs can be processed",
    response_model=Ready,
    responses=problems(ErrorCode.NO_WORKERS, ErrorCode.STORAGE_UNAVAILABLE, ErrorCode.LEDGER_UNAVAILABLE),
)
async def is_ready(request: Request, gateway: GatewayState) -> Response:
    """Answers 200 if jobs can be queued, processed and stored, and 503 with the reason otherwise; needs no API key.

    `checks` says more: what is degraded keeps no job of the diffusion queue from being processed.
    """
    checks = await check_all(gateway)
    failed = next((check for check in checks if check.status == "failed"), None)
    if failed is not None:
        return _not_ready(unavailable(_FAILURES[failed.name], failed.detail or ""), request, checks)
    alive = next(check.queues or {} for check in checks if check.name == "workers")
    unsigned = await run_in_threadpool(gateway.signing.problem)
    warnings = None if unsigned is None else [f"images are not signed: {unsigned}"]
    ready = Ready(workers=alive[DIFFUSION_QUEUE], warnings=warnings, checks=checks)
    return json_response(ready.model_dump(exclude_none=True))


def _not_ready(error: ApiError, request: Request, checks: Sequence[Check]) -> Response:
    """The problem details of ``error``, with the checks as a further member."""
    document = problem_document(error, request.state.request_id)
    document["checks"] = [check.model_dump(exclude_none=True) for check in checks]
    return Response(json.dumps(document), error.code.status, error.headers, PROBLEM_TYPE)
