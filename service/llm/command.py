"""Command lines and environments of language engines: vLLM with a preset's flags, or ``service.rwkv_server``."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from models.language.presets import RWKV, Preset, template_path

NICENESS = 5
"""The niceness of the engine: image generation has priority."""
CACHE_GIB = 1
_QUIET = ("--disable-uvicorn-access-log", "--uvicorn-log-level", "warning", "--no-use-tqdm-on-load")
_PRIVATE = ("PHOTOGRAM_", "REDIS_URL")
"""Prefixes of variables that the engine must not see, because some are secret."""


def vllm_command(
    program: Sequence[str], preset: Preset, *, name: str, host: str, port: int, flags: Sequence[str] = ()
) -> list[str]:
    """The command line of vLLM; ``program`` starts it with a model, ``name`` is the model's name in requests."""
    template = template_path(preset)
    templated = [] if template is None else ["--chat-template", str(template)]
    address = ["--host", host, "--port", str(port)]
    return [*program, "--served-model-name", name, *address, *preset.flags, *templated, *flags]


def cpu_program(python: Path, model: str) -> list[str]:
    """The command of vLLM for CPUs; ``model`` is a folder or a repository.

    It runs as a module, because the ``vllm`` command fails to start, and in isolated mode, without the user's packages
    and the working directory. The worker runs in the engine's process (``uni``): separate processes would busy-wait for
    each other for a second after every token, on one core each.
    """
    module = ["-I", "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
    return [str(python), *module, "--model", model, "--distributed-executor-backend", "uni"]


def own_engine_command(python: Path, preset: Preset, model: Path, port: int) -> list[str]:
    """The command line of the engine of ``photogram up``: on the loopback interface, on CPUs, with little output."""
    command = vllm_command(
        cpu_program(python, str(model)), preset, name=preset.name, host="127.0.0.1", port=port,
        flags=("--enforce-eager", *_QUIET),
    )  # fmt: skip
    return ["nice", "-n", str(NICENESS), *command]


def own_engine_environment(base: Mapping[str, str], key: str) -> dict[str, str]:
    """The environment for :func:`own_engine_command`: half of the cores, errors only, and ``key`` as the API key."""
    return cpu_environment(base) | {
        "VLLM_API_KEY": key,
        "VLLM_LOGGING_LEVEL": "ERROR",
        "TORCH_LOGS": "-torch",
        "TORCH_CPP_LOG_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
    }


def cpu_environment(base: Mapping[str, str]) -> dict[str, str]:
    """The environment of vLLM on CPUs: half of the cores without pinning, and no usage reports.

    ``VLLM_ENABLE_V1_MULTIPROCESSING=0`` is required for a worker in the engine's process.
    """
    kept = {name: value for name, value in base.items() if not name.startswith(_PRIVATE)}
    return kept | {
        "VLLM_CPU_KVCACHE_SPACE": str(CACHE_GIB),
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // 2)),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


def rwkv_command(*, model: str, name: str, host: str, port: int) -> list[str]:
    """The command line of ``service.rwkv_server``, which needs no other environment; ``model`` is a ``.pth`` file."""
    server = [sys.executable, "-m", "service.rwkv_server"]
    return [*server, "--model", model, "--served-model-name", name, "--host", host, "--port", str(port)]


def is_recurrent(preset: Preset) -> bool:
    """Whether ``service.rwkv_server`` serves the preset."""
    return preset.engine == RWKV
