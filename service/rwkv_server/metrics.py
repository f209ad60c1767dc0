"""Metrics in Prometheus' text format."""

from __future__ import annotations

from service.rwkv_server.engine_thread import EngineThread

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(thread: EngineThread) -> str:
    """All metrics with their current values."""
    engine = thread.engine
    lines = [
        *_metric("rwkv_sequences_running", "gauge", "Answers that are written now.", thread.running),
        *_metric("rwkv_sequences_waiting", "gauge", "Answers that are not begun.", thread.waiting),
        *_metric("rwkv_generated_tokens_total", "counter", "Tokens written.", engine.generated_tokens),
        *_metric("rwkv_prompt_tokens_total", "counter", "Tokens of prompts.", engine.prompt_tokens),
        *_metric("rwkv_reused_tokens_total", "counter", "Tokens of prompts not read again.", engine.reused_tokens),
        *_metric("rwkv_prefix_hits_total", "counter", "Prompts whose start was known.", engine.prefix_hits),
    ]
    return "\n".join(lines) + "\n"


def _metric(name: str, kind: str, help_text: str, value: int) -> tuple[str, str, str]:
    return f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", f"{name} {value}"
