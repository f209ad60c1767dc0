"""Whether the gateway lives, and whether an image could be drawn now."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.documentation import problems
from service.api.errors import ErrorCode, unavailable
from service.api.state import GatewayState

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """Redis answers, and so many workers could take a job."""

    status: Literal["ready"] = "ready"
    workers: int


@router.get("/healthz", operation_id="isAlive", summary="Does the process live?")
async def is_alive() -> Alive:
    """Answers as long as the process does, whatever became of Redis and the workers. Needs no key."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="isReady",
    summary="Could an image be drawn?",
    responses=problems(ErrorCode.NO_WORKERS, ErrorCode.LEDGER_UNAVAILABLE),
)
async def is_ready(gateway: GatewayState) -> Ready:
    """Whether Redis answers and at least one worker is alive. Needs no key."""
    workers = await gateway.watcher.worker_count()
    if workers == 0:
        raise unavailable(ErrorCode.NO_WORKERS, "no worker is alive")
    return Ready(workers=workers)
