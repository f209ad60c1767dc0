"""Health checks: whether the gateway runs, and whether a worker could process a job."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from service.api.documentation import problems
from service.api.errors import ErrorCode, unavailable
from service.api.state import GatewayState

PROBES = ("/healthz", "/readyz")
"""The paths of this module. Probes ask them every second, by the address of a container."""

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process runs."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Redis accepts writes, there is space for results, and at least one worker is alive."""

    status: Literal["ready"] = "ready"
    workers: int
    warnings: list[str] | None = None
    """What needs care although jobs can be processed; left out if nothing does."""


@router.get("/healthz", operation_id="isAlive", summary="Check whether the gateway runs")
async def is_alive() -> Alive:
    """Answers for as long as the process runs, whether Redis and workers can be reached or not. Needs no API key."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Check whether jobs can be processed",
    response_model_exclude_none=True,
    responses=problems(ErrorCode.NO_WORKERS, ErrorCode.STORAGE_UNAVAILABLE, ErrorCode.LEDGER_UNAVAILABLE),
)
async def is_ready(gateway: GatewayState) -> Ready:
    """Answers 200 if jobs can be queued, processed and stored, and says otherwise what is missing. Needs no API key."""
    problem = await run_in_threadpool(gateway.storage.problem)
    if problem is not None:
        raise unavailable(ErrorCode.STORAGE_UNAVAILABLE, problem)
    refusal = await gateway.ledger_writes.refusal()
    if refusal is not None:
        raise unavailable(ErrorCode.LEDGER_UNAVAILABLE, f"the ledger accepts no writes: {refusal}")
    workers = await gateway.watcher.worker_count()
    if workers == 0:
        raise unavailable(ErrorCode.NO_WORKERS, "no worker is alive")
    unsigned = await run_in_threadpool(gateway.signing.problem)
    warnings = None if unsigned is None else [f"images are not signed: {unsigned}"]
    return Ready(workers=workers, warnings=warnings)
