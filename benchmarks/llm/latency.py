"""The cost of rewriting for images: the latency of jobs with and without it, alternating in one run."""

from __future__ import annotations

import asyncio
import random
import secrets
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

from photogram import AsyncPhotogram

from models.catalog.concepts import load_concepts, with_article
from service.short_lived import running_service
from training.house.images import COLOURS

CLIENTS = 48
"""More clients than a batch has rows, so that the queue is never empty."""
STEPS = 10, 30
"""The range of random steps, the same sequence for both sides; equal jobs would start and end in waves."""
JOBS = 4 * CLIENTS
"""The first and the last ``CLIENTS`` jobs are not counted, because the queue fills and drains with them."""
ROUNDS = 3
READY_S = 300.0
ALONE = 12


def measure() -> dict[str, Any]:
    """Latencies with and without rewriting and the ratio of their medians, under load and with one job at a time."""
    key = secrets.token_urlsafe(32)
    with tempfile.TemporaryDirectory() as data, running_service(data, key, llm=True) as url:
        return asyncio.run(_measure(url, key))


async def _measure(url: str, key: str) -> dict[str, Any]:
    prompts = _prompts()
    latencies: dict[str, list[float]] = {f"{load}_{name}": [] for load in ("queued", "alone") for name in ("off", "on")}
    statuses: dict[str, int] = {}
    rates: dict[str, list[float]] = {"off": [], "on": []}
    async with AsyncPhotogram(url, key) as client:
        await _until_ready(client)
        for _ in range(ROUNDS):
            for name, enhance in (("off", False), ("on", True)):
                began_at = time.perf_counter()
                load = _Load(client, enhance, statuses)
                seconds = await load.draw([next(prompts) for _ in range(JOBS)], CLIENTS)
                latencies[f"queued_{name}"] += seconds[CLIENTS:-CLIENTS]
                rates[name].append(JOBS / (time.perf_counter() - began_at))
                latencies[f"alone_{name}"] += await load.draw([next(prompts) for _ in range(ALONE)], 1)
    medians = {name: statistics.median(values) for name, values in latencies.items()}
    return {
        "clients": CLIENTS,
        "p50_s": {name: round(value, 3) for name, value in medians.items()},
        "p95_s": {name: round(statistics.quantiles(values, n=20)[-1], 3) for name, values in latencies.items()},
        "images_per_s": {name: round(statistics.median(values), 2) for name, values in rates.items()},
        "ratio": {load: round(medians[f"{load}_on"] / medians[f"{load}_off"], 3) for load in ("queued", "alone")},
        "statuses": statuses,
    }


def _prompts() -> Any:
    """Prompts for the built-in model, each once, so that none is cached."""
    texts = [with_article(f"{colour} {concept.words[0]}") for concept in load_concepts() for colour in COLOURS]
    random.Random(5).shuffle(texts)
    return iter(texts)


async def _until_ready(client: AsyncPhotogram) -> None:
    """Wait for the language engine, which starts after the service."""
    deadline = time.monotonic() + READY_S
    while (await client.rewrite("a warm-up")).rewrite.status == "unavailable":
        if time.monotonic() > deadline:
            raise RuntimeError("the language engine did not start")
        await asyncio.sleep(2)


@dataclass(frozen=True)
class _Load:
    """Jobs with or without rewriting; ``statuses`` counts the outcomes."""

    client: AsyncPhotogram
    enhance: bool
    statuses: dict[str, int]

    async def draw(self, prompts: list[str], at_once: int) -> list[float]:
        """The seconds of each job from submission to end, with ``at_once`` concurrent jobs."""
        gate = asyncio.Semaphore(at_once)

        async def draw(prompt: str, steps: int) -> float:
            async with gate:
                began_at = time.perf_counter()
                image = await self.client.generate(prompt, num_inference_steps=steps, enhance_prompt=self.enhance)
                seconds = time.perf_counter() - began_at
            if (rewrite := image.job.rewrite) is not None:
                self.statuses[rewrite.status] = self.statuses.get(rewrite.status, 0) + 1
            return seconds

        rng = random.Random(len(prompts))
        return list(await asyncio.gather(*(draw(prompt, rng.randint(*STEPS)) for prompt in prompts)))
