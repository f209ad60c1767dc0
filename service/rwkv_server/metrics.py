"""The server's figures in Prometheus' text format."""

from __future__ import annotations

from service.rwkv_server.desk import Desk

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def text(desk: Desk) -> str:
    """All figures, as they are now."""
    engine = desk.engine
    lines = [
        *_figure("rwkv_sequences_running", "gauge", "Answers that are written now.", desk.running),
        *_figure("rwkv_sequences_waiting", "gauge", "Answers that are not begun.", desk.waiting),
        *_figure("rwkv_generated_tokens_total", "counter", "Tokens written.", engine.generated_tokens),
        *_figure("rwkv_prompt_tokens_total", "counter", "Tokens of prompts.", engine.prompt_tokens),
        *_figure("rwkv_reused_tokens_total", "counter", "Tokens of prompts not read again.", engine.reused_tokens),
        *_figure("rwkv_prefix_hits_total", "counter", "Prompts whose start was known.", engine.prefix_hits),
    ]
    return "\n".join(lines) + "\n"


def _figure(name: str, kind: str, meaning: str, value: int) -> tuple[str, str, str]:
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name} {value}"
