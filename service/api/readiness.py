"""Whether this server can process jobs: what is checked, and what each check found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field
from redis.exceptions import RedisError
from starlette.concurrency import run_in_threadpool

from models.jobs.kinds import DIFFUSION_QUEUE, job_kinds
from service.api.state import Gateway


class Check(BaseModel):
    """One part of the server. Only a check that `failed` keeps jobs from being processed."""

    name: Literal["storage", "redis", "workers", "models", "language"]
    status: Literal["ok", "degraded", "failed", "off"]
    detail: str | None = Field(default=None, description="What is wrong, for people.")
    queues: dict[str, int] | None = Field(default=None, description="Of `workers`: how many are alive, by queue.")


async def check_all(gateway: Gateway) -> list[Check]:
    """What every check found; without Redis, nothing is known of what only Redis knows."""
    storage, redis = await _storage(gateway), await _redis(gateway)
    if redis.status == "failed":
        return [storage, redis, await _language(gateway)]
    return [storage, redis, await _workers(gateway), await _models(gateway), await _language(gateway)]


async def _storage(gateway: Gateway) -> Check:
    problem = await run_in_threadpool(gateway.storage.problem)
    return Check(name="storage", status="ok" if problem is None else "failed", detail=problem)


async def _redis(gateway: Gateway) -> Check:
    try:
        refusal = await gateway.ledger_writes.refusal()
    except (RedisError, OSError):
        return Check(name="redis", status="failed", detail="the ledger cannot be reached")
    if refusal is not None:
        return Check(name="redis", status="failed", detail=f"the ledger accepts no writes: {refusal}")
    return Check(name="redis", status="ok")


async def _workers(gateway: Gateway) -> Check:
    """Jobs of other queues than the diffusion queue wait without a worker; that is told, but is no failure."""
    queues = sorted({kind.queue for kind in job_kinds() if kind.plan is not None or kind.function is not None})
    alive = {queue: len(count.workers) for queue, count in (await gateway.queues.count(queues)).items()}
    idle = [queue for queue, count in alive.items() if count == 0]
    if DIFFUSION_QUEUE in idle:
        return Check(name="workers", status="failed", detail="no worker is alive", queues=alive)
    if idle:
        return Check(name="workers", status="degraded", detail=f"no worker of: {', '.join(idle)}", queues=alive)
    return Check(name="workers", status="ok", queues=alive)


async def _models(gateway: Gateway) -> Check:
    catalog, problems = gateway.catalog.current(), await gateway.watcher.model_problems()
    failing = [name for name in catalog if name in problems]
    if not failing:
        return Check(name="models", status="ok")
    detail = f"{len(failing)} of {len(catalog)} models could not be loaded; GET /v1/models says which and why"
    return Check(name="models", status="degraded", detail=detail)


async def _language(gateway: Gateway) -> Check:
    if gateway.language_probe is None:
        return Check(name="language", status="off")
    if await gateway.language_probe.answers():
        return Check(name="language", status="ok")
    return Check(name="language", status="degraded", detail="the language engine does not answer: prompts are kept")
