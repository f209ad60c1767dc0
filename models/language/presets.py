"""The language models that Photogram knows how to serve and to talk to; data, not code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

_TEMPLATES = Path(__file__).parent / "templates"
VLLM, RWKV = "vllm", "rwkv"
"""What serves a model: vLLM with its paged attention, or our own server of recurrent states."""


@dataclass(frozen=True, kw_only=True)
class Preset:
    """One language model: where it is, how it is served, and how it is talked to."""

    name: str
    repository: str | None
    """At the model hub; ``None`` where there is none."""
    licence: str
    engine: str = VLLM
    chat_template: str | None = None
    """A file in ``models/language/templates``; ``None`` is the model's own."""
    tool_dialect: str = "native"
    """One of ``models.language.tools.DIALECTS``: how the model is told of tools, and how it calls them."""
    flags: tuple[str, ...] = ()
    """What vLLM is started with, beside the model and the address."""
    memory_gib: float = 0.0
    """Roughly what serving takes, weights and cache, in 16 bits."""
    is_small: bool = False
    """Whether the model writes so badly that its rewriting is held to a grammar, and tools are out of its reach."""
    has_grammar: bool = True
    """Whether the engine holds answers to ``structured_outputs``; one that cannot may refuse to be asked."""
    sampling: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({"temperature": 0.0}))
    """What rewriting requests say about sampling, in the fields of OpenAI's API and vLLM's additions to it."""
    limits: str = ""
    """What is known not to work, and what was never run here."""


def _vllm_flags(*, context: int, at_once: int) -> tuple[str, ...]:
    """How much text, in tokens, and how many requests vLLM keeps in its memory."""
    limits = ("--max-model-len", str(context), "--max-num-seqs", str(at_once))
    return ("--dtype", "bfloat16", *limits, "--enable-prefix-caching")


def template_path(preset: Preset) -> Path | None:
    """The preset's chat template; ``None`` leaves the model's own."""
    return None if preset.chat_template is None else _TEMPLATES / preset.chat_template


SMOLLM2 = Preset(
    name="smollm2-135m",
    repository="HuggingFaceTB/SmolLM2-135M-Instruct",
    licence="Apache-2.0",
    is_small=True,
    flags=(*_vllm_flags(context=2048, at_once=32), "--block-size", "32"),  # short prompts share their beginnings too
    memory_gib=3.5,
    sampling=MappingProxyType({"temperature": 0.0, "repetition_penalty": 1.1}),
    limits="adds phrases to a prompt and holds to a grammar; calls no tools",
)
GENERIC = Preset(
    name="generic",
    repository=None,
    licence="the model's own",
    limits="any server of chat completions; tools only if it was started with a parser of its own for them",
)
_ZEPHYR: Mapping[str, Any] = MappingProxyType(
    {
        "licence": "MIT",
        "chat_template": "zephyr.jinja",
        "tool_dialect": "constrained",
        "flags": _vllm_flags(context=4096, at_once=8),
        "memory_gib": 18.0,  # 7.24 billion weights, and 128 KiB a token of cache
        "limits": "knows no tools by itself: its calls are held to a grammar; tested with tiny weights alone",
    }
)
_RWKV_LIMITS = (
    "needs one of the repository's .pth files (--model); no grammars, so tools are asked for in the prompt alone, "
    "which these models were not trained for; tested with tiny weights alone"
)
_ALL = (
    SMOLLM2,
    Preset(name="zephyr-7b-beta", repository="HuggingFaceH4/zephyr-7b-beta", **_ZEPHYR),
    Preset(name="zephyr-7b-alpha", repository="HuggingFaceH4/zephyr-7b-alpha", **_ZEPHYR),
    Preset(
        name="chatglm3-6b",
        repository="zai-org/chatglm3-6b",  # THUDM/chatglm3-6b before
        licence="ChatGLM3-6B License (commercial use after registration); code Apache-2.0",
        chat_template="chatglm3.jinja",
        tool_dialect="chatglm3",
        flags=(*_vllm_flags(context=4096, at_once=8), "--trust-remote-code"),
        memory_gib=13.0,  # 6.24 billion weights, and 28 KiB a token of cache
        # Beside the end of the text, a new turn ends its answer: the ids of <|user|> and <|observation|>.
        sampling=MappingProxyType({"temperature": 0.0, "stop_token_ids": (64795, 64797)}),
        limits="runs the repository's own Python code; was never run here, where its tokenizer's code may be too old "
        "for the transformers that vLLM brings",
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
        limits="was never run here",
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
            ("rwkv-6-world", "rwkv-6-world", 3.5),  # of its sizes, 1B6
            ("rwkv-7-world", "rwkv-7-world", 3.5),  # of its sizes, 1.5B
        )
    ),
    GENERIC,
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _ALL})
"""By name."""
