"""How an engine is started: vLLM with what a preset asks for, or our own server of recurrent models."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.language.presets import RWKV, Preset, template_path

NICENESS = 5
"""Images go first: a prompt waits for a turn of theirs, not they for its whole rewriting."""
CACHE_GIB = 1
_QUIET = ("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning", "--no-use-tqdm-on-load")
_NOT_THE_ENGINES = ("PHOTOGRAM_", "REDIS_URL")
"""Beginnings of the variables that are none of its business, keys among them."""


def vllm_command(
    program: Sequence[str], preset: Preset, *, name: str, host: str, port: int, flags: Sequence[str] = ()
) -> list[str]:
    """The command line of a vLLM that serves a model as ``name``; ``program`` says which vLLM and which model."""
    template = template_path(preset)
    templated = [] if template is None else ["--chat-template", str(template)]
    address = ["--host", host, "--port", str(port)]
    return [*program, "--served-model-name", name, *address, *preset.flags, *templated, *flags]


def cpu_program(python: Path, model: str) -> list[str]:
    """The vLLM for processors, with a folder or a repository.

    As a module, for its ``vllm`` command does not start; and isolated, for the user's folder and path are none of its
    business. Its worker runs within its engine: apart, each would wait for the other at full speed, on a core of its
    own, for a second after every token.
    """
    module = ["-I", "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
    return [str(python), *module, "--model", model, "--distributed-executor-backend", "uni"]


def own_engine_command(python: Path, preset: Preset, model: Path, port: int) -> list[str]:
    """The command line of the engine that ``photogram up`` runs: on the loopback, on processors, and quiet."""
    command = vllm_command(
        cpu_program(python, str(model)), preset, name=preset.name, host="127.0.0.1", port=port,
        flags=("--enforce-eager", *_QUIET),
    )  # fmt: skip
    return ["nice", "-n", str(NICENESS), *command]


def own_engine_environment(base: Mapping[str, str], key: str) -> dict[str, str]:
    """The variables for :func:`own_engine_command`: half of the cores, errors only, and ``key`` to let us in."""
    return cpu_environment(base) | {
        "VLLM_API_KEY": key,
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }


def cpu_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The variables for any vLLM on processors: half of the cores, no pinning to them, no reports to its makers.

    Without multiprocessing's variable, it would not let the worker run within the engine.
    """
    kept = {name: value for name, value in base.items() if not name.startswith(_NOT_THE_ENGINES)}
    return kept | {
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def rwkv_command(*, model: str, name: str, host: str, port: int) -> list[str]:
    """The command line of our own server, which runs in Photogram's environment; ``model`` is a ``.pth`` file."""
    server = [sys.executable, "-m", "service.rwkv_server"]
    return [*server, "--model", model, "--served-model-name", name, "--host", host, "--port", str(port)]


def is_recurrent(preset: Preset) -> bool:
    """Whether the preset is for our own server."""
    return preset.engine == RWKV
