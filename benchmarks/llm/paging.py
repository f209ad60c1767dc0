"""The benefit of a paged cache: a shared prefix is computed once, and few slots stay unused."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from benchmarks.llm.requests import Engine, answer_all, body, many_prompts, metrics, own_engine

ROUNDS = 5
AT_ONCE = 16
LONG_TOKENS = 128
"""The length of the answers whose memory is sampled; long enough for many samples."""
POLL_S = 0.1


def measure() -> dict[str, Any]:
    """The speedup by the prefix cache, and the share of unused key-value slots."""
    with own_engine(threads=os.cpu_count()) as engine:
        return asyncio.run(_measure(engine))


async def _measure(engine: Engine) -> dict[str, Any]:
    async with engine.client() as client:
        await answer_all(client, [body("a warm-up")], 1)
        return {**await _prefix(client), **await _waste(client)}


async def _prefix(client: httpx.AsyncClient) -> dict[str, Any]:
    """The seconds to the first token and for eight concurrent answers, alternating with and without a shared prefix.

    A request with its own ``cache_salt`` shares no prefix.
    """
    seconds: dict[str, list[float]] = {"first_shared": [], "first_alone": [], "eight_shared": [], "eight_alone": []}
    for _ in range(ROUNDS):
        for name, is_shared in (("shared", True), ("alone", False)):
            one = [body(prompt, max_tokens=1, **_salt(is_shared)) for prompt in many_prompts(1)]
            seconds[f"first_{name}"].append(await answer_all(client, one, 1))
            eight = [body(prompt, **_salt(is_shared)) for prompt in many_prompts(8)]
            seconds[f"eight_{name}"].append(await answer_all(client, eight, 8))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "prefix_s": {name: round(value, 3) for name, value in medians.items()},
        "prefix_speedup_first_token": round(medians["first_alone"] / medians["first_shared"], 2),
        "prefix_speedup_eight": round(medians["eight_alone"] / medians["eight_shared"], 2),
    }


def _salt(is_shared: bool) -> dict[str, str]:
    return {} if is_shared else {"cache_salt": secrets.token_hex(8)}


@dataclass
class _Sequence:
    """One streamed answer: ``held`` is the number of its tokens in the cache, 0 before its start and after its end."""

    held: int = 0


@dataclass
class _Watch:
    sequences: Sequence[_Sequence]
    block: int
    blocks: int
    wastes: list[float] = field(default_factory=list)

    def record(self, usage: float) -> None:
        """Record the share of unused slots in the used blocks, while all sequences are running."""
        held = [sequence.held for sequence in self.sequences]
        if all(held):
            self.wastes.append(1 - sum(held) / (round(usage * self.blocks) * self.block))


async def _waste(client: httpx.AsyncClient) -> dict[str, Any]:
    """The share of unused slots in used blocks, during ``AT_ONCE`` sequences without shared prefixes."""
    info = metrics((await client.get("/metrics")).text, "vllm:cache_config_info")
    sequences = [_Sequence() for _ in range(AT_ONCE)]
    watch = _Watch(sequences, int(info["block_size"]), int(info["num_gpu_blocks"]))
    prompts = many_prompts(AT_ONCE)
    running = asyncio.gather(*(_follow(client, *pair) for pair in zip(prompts, sequences, strict=True)))
    while not running.done():
        text = (await client.get("/metrics")).text
        watch.record(float(metrics(text, "vllm:kv_cache_usage_perc")["value"]))
        await asyncio.sleep(POLL_S)
    lengths = await running
    mean = statistics.mean(lengths)
    return {
        "block_tokens": watch.block,
        "sequence_tokens_mean": round(mean, 1),
        "waste": round(statistics.mean(watch.wastes), 4),
        "waste_looks": len(watch.wastes),
        "waste_if_reserved_to_2048": round(1 - mean / 2048, 4),
    }


async def _follow(client: httpx.AsyncClient, prompt: str, sequence: _Sequence) -> int:
    """Stream one answer and update ``sequence``; returns its final length in tokens."""
    options = {"include_usage": True, "continuous_usage_stats": True}
    request = body(prompt, max_tokens=LONG_TOKENS, stream=True, stream_options=options, **_salt(False))
    length = 0
    async with client.stream("POST", "/v1/chat/completions", json=request) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: {") and (usage := json.loads(line[6:]).get("usage")):
                length = sequence.held = usage["total_tokens"]
    sequence.held = 0
    return length
