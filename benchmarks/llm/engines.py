"""Output tokens per second of real rewriting requests: vLLM against transformers, single and in padded batches."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.llm.requests import TOKENS, Engine, answer_all, body, conversation, many_prompts, own_engine
from service.backbone.settings import Settings
from service.llm.install import model_folder

AT_ONCE = (1, 8, 32)
ROUNDS = 3
COUNTS = {1: 6, 8: 24, 32: 64}
"""The number of prompts in a round, by concurrency."""


class Transformers:
    """The same model with transformers, in this process."""

    def __init__(self, dtype: torch.dtype) -> None:
        folder = model_folder(Settings.from_environment().llm_folder)
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    @torch.inference_mode()
    def answer_all(self, prompts: list[str], at_once: int) -> float:
        """The seconds for all prompts, in batches of ``at_once`` with padding."""
        began_at = time.perf_counter()
        for start in range(0, len(prompts), at_once):
            texts = [self._rendered(prompt) for prompt in prompts[start : start + at_once]]
            tokens = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            self._model.generate(
                **tokens, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False, repetition_penalty=1.1,
                pad_token_id=self._tokenizer.pad_token_id,
            )  # fmt: skip
        return time.perf_counter() - began_at

    def _rendered(self, prompt: str) -> str:
        text: str = self._tokenizer.apply_chat_template(
            conversation(prompt), tokenize=False, continue_final_message=True
        )
        return text


async def _vllm_s(engine: Engine, count: int, at_once: int) -> float:
    async with engine.client() as client:
        return await answer_all(client, [body(prompt) for prompt in many_prompts(count)], at_once)


def measure() -> dict[str, Any]:
    """Median tokens per second, and their ratio to transformers with one prompt at a time."""
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    rates: dict[str, list[float]] = {}
    plain = {"fp32": Transformers(torch.float32), "bf16": Transformers(torch.bfloat16)}
    with own_engine(threads=cores) as engine:
        asyncio.run(_vllm_s(engine, 2, 1))
        for _ in range(ROUNDS):
            for at_once in AT_ONCE:
                count = COUNTS[at_once]
                tokens = count * TOKENS
                rates.setdefault(f"vllm {at_once}", []).append(tokens / asyncio.run(_vllm_s(engine, count, at_once)))
                for name, model in plain.items():
                    seconds = model.answer_all(many_prompts(count), at_once)
                    rates.setdefault(f"transformers {name} {at_once}", []).append(tokens / seconds)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    base = max(medians["transformers fp32 1"], medians["transformers bf16 1"])
    return {
        "threads": cores,
        "tokens_per_s": {name: round(value, 1) for name, value in medians.items()},
        "times_one_by_one": {name: round(value / base, 2) for name, value in medians.items()},
    }
