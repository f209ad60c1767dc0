"""The help of every command: without the engine, the web framework and the hub's client, whose imports are slow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HEAVY = ("torch", "transformers", "diffusers", "numpy", "fastapi", "huggingface_hub", "obstore")
CODE = """
import importlib, sys
try:
    importlib.import_module(sys.argv[1]).main(sys.argv[2:] + ["--help"])
except SystemExit:
    pass
print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
COMMANDS = (
    "config",
    "config show",
    "gateway",
    "keys",
    "keys create",
    "llm",
    "llm serve",
    "models",
    "models add",
    "storage migrate",
    "up",
    "vision finetune",
    "worker",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command: str) -> None:
    name, *rest = command.split()
    module = "workers.__main__" if name == "worker" else f"service.commands.{name}"
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(heavy=HEAVY), module, *rest], cwd=ROOT, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr == "[]\n" and done.stdout.startswith(f"usage: photogram {command}")
