"""Presets: how to serve each known language model, and how to prompt it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

_TEMPLATES = Path(__file__).parent / "templates"
VLLM, RWKV = "vllm", "rwkv"
"""The server of a model: vLLM, or ``service.rwkv_server``."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One language model: its source, its server and its dialect."""

    name: str
    repository: str | None
    """The name at the model hub, or ``None``."""
    licence: str
    engine: str = VLLM
    chat_template: str | None = None
    """A file in ``models/language/templates``; ``None`` uses the model's own template."""
    tool_dialect: str = "native"
    """The format of tools and tool calls: a key of ``models.language.tools.DIALECTS``."""
    flags: tuple[str, ...] = ()
    """vLLM's flags, except those of the model and the address."""
    memory_gib: float = 0.0
    """The approximate memory of weights and cache in 16 bits."""
    is_small: bool = False
    """Whether the model is too weak to write freely: a grammar constrains its rewriting, and it gets no tools."""
    has_grammar: bool = True
    """Whether the engine supports ``structured_outputs``; an engine without them may refuse the parameter."""
    sampling: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({"temperature": 0.0}))
    """Sampling parameters of rewriting requests, by OpenAI's names and vLLM's additions."""
    limits: str = ""
    """Known limits, and what has not been tested."""


def _vllm_flags(*, context: int, at_once: int) -> tuple[str, ...]:
    """Flags for a context of that many tokens and ``at_once`` concurrent requests."""
    limits = ("--max-model-len", str(context), "--max-num-seqs", str(at_once))
    return ("--dtype", "bfloat16", *limits, "--enable-prefix-caching")


def template_path(preset: Preset) -> Path | None:
    """The path of the preset's chat template; ``None`` uses the model's own."""
    return None if preset.chat_template is None else _TEMPLATES / preset.chat_template


SMOLLM2 = Preset(
    name="smollm2-135m",
    repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    is_small=True,
    flags=(
        *_vllm_flags(context=2048, at_once=32),
        "--block-size",
        "32",
    ),  # small blocks, so that short prompts share prefixes too
    memory_gib=3.5,
    sampling=MappingProxyType({"temperature": 0.0, "repetition_penalty": 1.1}),
    limits="only adds phrases to prompts, constrained by a grammar; calls no tools",
)
GENERIC = Preset(
    name="generic",
    repository=None,
    licence="the model's own",
    limits="any server of chat completions; tools only if the server was started with a tool call parser",
)
_ZEPHYR: Mapping[str, Any] = MappingProxyType(
    {
        "licence": "MIT",
        "chat_template": "zephyr.jinja",
        "tool_dialect": "constrained",
        "flags": _vllm_flags(context=4096, at_once=8),
        "memory_gib": 18.0,  # 7.24 billion weights, and 128 KiB a token of cache
        "limits": "not trained for tools: its calls are constrained by a grammar; tested only with tiny weights",
    }
)
_RWKV_LIMITS = (
    "needs one of the repository's .pth files (--model); without grammars, tools are only described in the prompt, "
    "for which these models were not trained; tested only with tiny weights"
)
_ALL = (
    SMOLLM2,
    Preset(name="zephyr-7b-beta", repository="HuggingFaceH4/zephyr-7b-beta", **_ZEPHYR),
    Preset(name="zephyr-7b-alpha", repository="HuggingFaceH4/zephyr-7b-alpha", **_ZEPHYR),
    Preset(
        name="chatglm3-6b",
        repository="zai-org/chatglm3-6b",  # formerly THUDM/chatglm3-6b
        licence="ChatGLM3-6B License (commercial use after registration); code Apache-2.0",
        chat_template="chatglm3.jinja",
        tool_dialect="chatglm3",
        flags=(*_vllm_flags(context=4096, at_once=8), "--trust-remote-code"),
        memory_gib=13.0,  # 6.24 billion weights, and 28 KiB a token of cache
        # The ids of <|user|> and <|observation|>: the start of another turn also ends an answer.
        sampling=MappingProxyType({"temperature": 0.0, "stop_token_ids": (64795, 64797)}),
        limits="runs the repository's own Python code; not tested: the code of its tokenizer may be too old for the "
        "transformers version of vLLM",
    ),
    Preset(
        name="qwen2.5-7b-instruct",
        repository="Qwen/Qwen2.5-7B-Instruct",
        licence="Apache-2.0",
        flags=(
            *_vllm_flags(context=4096, at_once=8),
            *("--enable-auto-tool-choice", "--tool-call-parser", "hermes"),
        ),
        memory_gib=16.0,  # 7.62 billion weights, and 56 KiB a token of cache
        limits="not tested",
    ),
    *(
        Preset(
            name=name,
            repository=f"BlinkDL/{repository}",
            licence="Apache-2.0",
            engine=RWKV,
            has_grammar=False,
            tool_dialect="hermes",
            memory_gib=memory_gib,
            limits=_RWKV_LIMITS,
        )
        for name, repository, memory_gib in (
            ("rwkv-5-world-1b5", "rwkv-5-world", 3.5),
            ("rwkv-5-world-3b", "rwkv-5-world", 6.5),
            ("rwkv-6-world", "rwkv-6-world", 3.5),  # the size 1B6
            ("rwkv-7-world", "rwkv-7-world", 3.5),  # the size 1.5B
        )
    ),
    GENERIC,
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""By name."""
