"""The language engine of ``photogram up``, started alone, and the requests that all parts send to it."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from models.language.presets import SMOLLM2
from models.language.profiles import PROFILES
from service.backbone.settings import Settings
from service.llm.command import own_engine_command, own_engine_environment
from service.llm.install import engine_python, model_folder
from service.short_lived import free_port
from service.supervisor import Child, stop_in_order

HELD_OUT = Path(__file__).parents[1] / "data" / "held_out_prompts.txt"
TOKENS = 48
"""The exact length of every answer, so that rates are comparable; about the length of a rewritten prompt."""
KEY = "benchmark"
START_S = 300.0
STOP_S = 15.0


@dataclass(frozen=True)
class Engine:
    url: str

    def client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=600, limits=httpx.Limits())


def prompts() -> list[str]:
    """The fifty held-out prompts."""
    lines = HELD_OUT.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def many_prompts(count: int) -> list[str]:
    """``count`` prompts that are not in the engine's cache: the held-out ones with random numbers."""
    held_out = prompts()
    return [f"{held_out[index % len(held_out)]} {random.randrange(10**6)}" for index in range(count)]


def conversation(prompt: str) -> list[dict[str, Any]]:
    """The messages of a rewrite for a Stable Diffusion model; the last one is the beginning of the answer."""
    return PROFILES["tags"].free.messages(prompt)


def body(prompt: str, **more: Any) -> dict[str, Any]:
    """A request with these messages for an answer of :data:`TOKENS` tokens."""
    return {
        "model": SMOLLM2.name,
        "messages": conversation(prompt),
        "max_tokens": TOKENS,
        "ignore_eos": True,
        "add_generation_prompt": False,
        "continue_final_message": True,
        **SMOLLM2.sampling,
        **more,
    }


async def answer_all(client: httpx.AsyncClient, bodies: Sequence[Mapping[str, Any]], concurrency: int) -> float:
    """The seconds for all requests, at most ``concurrency`` at a time."""
    gate = asyncio.Semaphore(concurrency)

    async def answer(each: Mapping[str, Any]) -> None:
        async with gate:
            (await client.post("/v1/chat/completions", json=each)).raise_for_status()

    began_at = time.perf_counter()
    await asyncio.gather(*(answer(each) for each in bodies))
    return time.perf_counter() - began_at


@contextmanager
def own_engine(threads: int | None = None) -> Iterator[Engine]:
    """The engine as ``photogram up`` starts it; ``threads`` overrides the default of half the cores."""
    folder, port = Settings.from_environment().llm_folder, free_port()
    command = own_engine_command(engine_python(folder), SMOLLM2, model_folder(folder), port)
    environment = own_engine_environment(os.environ, KEY)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    child = Child("llm", [sys.executable, "-m", "service.llm.guard", *command], environment)
    child.start()
    try:
        yield Engine(_ready(child, f"http://127.0.0.1:{port}"))
    finally:
        stop_in_order([[child]], [STOP_S])


def _ready(child: Child, url: str) -> str:
    deadline = time.monotonic() + START_S
    while child.is_running and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=2).status_code == 200:
                return url
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise RuntimeError("the language engine did not start")


def metrics(text: str, name: str) -> dict[str, str | float]:
    """The labels of the Prometheus metric ``name``, and its value as ``value``."""
    line = next(line for line in text.splitlines() if line.startswith(name + "{"))
    labels = line[line.index("{") + 1 : line.rindex("}")]
    pairs = (pair.partition("=") for pair in labels.split(",") if "=" in pair)
    return {"value": float(line.rsplit(" ", 1)[1]), **{key: value.strip('"') for key, _, value in pairs}}
