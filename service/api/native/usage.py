"""The route that tells an API key what it has used, and its limits."""

from __future__ import annotations

import time
from dataclasses import asdict

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from service.api.auth import CurrentCaller
from service.api.native.errors import READING
from service.api.state import Gateway, GatewayState
from service.backbone.usage import KeyUsage, read_usage

USAGE_DAYS = 31

router = APIRouter(tags=["usage"])


class PeriodView(BaseModel):
    """What was used in one period."""

    period: str = Field(description="A day (2026-11-27) or a month (2026-11), in UTC.")
    jobs: int = Field(description="Jobs that were accepted.")
    units: float = Field(description="Their cost in megapixel-steps, without jobs cancelled before they started.")
    succeeded: int
    failed: int
    canceled: int


class UsageView(BaseModel):
    """What the key uses now, what it used, and its limits."""

    queued: int = Field(description="Jobs that wait.")
    running: int
    days: list[PeriodView] = Field(description="The last 31 days, the newest first.")
    month: PeriodView
    stored_bytes: int = Field(description="Bytes of the images and files of its jobs that are stored now.")
    limits: dict[str, int] = Field(description="The limits that there are, by name.")


@router.get("/v1/usage", operation_id="getUsage", summary="Read the usage of the API key", responses=READING)
async def get_usage(gateway: GatewayState, caller: CurrentCaller) -> UsageView:
    """What the API key uses now and used in the last days, and its limits."""
    found = await usage_of(gateway, caller.key_id)
    return usage_view(found, caller.allowance.effective)


async def usage_of(gateway: Gateway, owner: str) -> KeyUsage:
    """The usage of the key with the id ``owner``."""
    return await run_in_threadpool(read_usage, gateway.redis, owner, time.time(), USAGE_DAYS)


def usage_view(usage: KeyUsage, limits: dict[str, int]) -> UsageView:
    return UsageView(
        queued=usage.queued,
        running=usage.running,
        days=[PeriodView(**asdict(day)) for day in usage.days],
        month=PeriodView(**asdict(usage.month)),
        stored_bytes=usage.stored_bytes,
        limits=limits,
    )
