"""Rewrites the fifty held-out prompts with each profile, and computes statistics of the results.

The texts are written to ``build/rewrites.tsv`` for human judgement.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from pathlib import Path
from typing import Any

from benchmarks.llm.requests import KEY, Engine, own_engine, prompts
from models.catalog.catalog import house_spec
from models.jobs.rewrite import APPLIED, Rewrite
from models.language.budget import CLIP_LENGTH, ESTIMATE, LENGTH_MAX, SPECIAL_TOKENS, Budget, budget_of, estimate
from models.language.client import LanguageEngine
from models.language.presets import SMOLLM2
from models.language.profiles import PROFILES
from models.language.rewriting import Rewriter, RewriteRequest

OUTPUT = Path("build") / "rewrites.tsv"


def measure() -> dict[str, Any]:
    """By profile: how many rewrites were applied, kept all words of the prompt and fit the budget, and averages."""
    with own_engine() as engine:
        outcomes = asyncio.run(_rewrite_all(engine))
    OUTPUT.parent.mkdir(exist_ok=True)
    rows = [f"{name}\t{prompt}\t{rewrite.status}\t{_text(rewrite)}" for name, prompt, rewrite, _ in outcomes]
    OUTPUT.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {name: _summary([each[1:] for each in outcomes if each[0] == name], _budget(name)) for name in PROFILES}


async def _rewrite_all(engine: Engine) -> list[tuple[str, str, Rewrite, float]]:
    language = LanguageEngine(f"{engine.url}/v1", key=KEY)
    rewriter = Rewriter(language, SMOLLM2)
    outcomes = []
    try:
        for name, profile in PROFILES.items():
            for prompt in prompts():
                request = RewriteRequest(prompt=prompt, profile=profile, seed=0, budget=_budget(name))
                began_at = time.perf_counter()
                outcomes.append((name, prompt, await rewriter.rewrite(request), time.perf_counter() - began_at))
    finally:
        await language.aclose()
    return outcomes


def _budget(profile: str) -> Budget:
    """The built-in model's budget; for the other profiles, an estimate with the length of CLIP or T5."""
    if profile == "icons":
        return budget_of(house_spec())
    length = LENGTH_MAX if profile == "sentence" else CLIP_LENGTH
    return Budget(limit=length - SPECIAL_TOKENS, counted=ESTIMATE, count_plain=estimate)


def _summary(outcomes: list[tuple[str, Rewrite, float]], budget: Budget) -> dict[str, Any]:
    applied = [(prompt, str(rewrite.revised_prompt)) for prompt, rewrite, _ in outcomes if rewrite.status == APPLIED]
    kept = [set(_words(prompt)) <= set(_words(revised)) for prompt, revised in applied]
    additions = {revised.removeprefix(prompt) for prompt, revised in applied}
    return {
        "applied": len(applied),
        "subject_kept": sum(kept),
        "within_budget": sum(budget.count(revised) <= budget.limit for _, revised in applied),
        "words_added_mean": round(statistics.mean(len(_words(r)) - len(_words(p)) for p, r in applied), 1),
        "different_additions": len(additions),
        "seconds_p50": round(statistics.median(seconds for *_, seconds in outcomes), 3),
    }


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _text(rewrite: Rewrite) -> str:
    return rewrite.revised_prompt or rewrite.reason or ""
