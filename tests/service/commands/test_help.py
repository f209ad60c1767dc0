"""The help of every command: without the engine, the web framework and the hub's client, whose imports are slow."""

from __future__ import annotations

import importlib
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


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["config", "sow"], "show"),
        (["keys", "lst"], "list"),
        (["keys", "create", "--scpoe", "read"], "--scope"),
        (["llm", "instal"], "install"),
        (["models", "lst"], "list"),
        (["models", "add", "x", "--famly", "sdxl"], "--family"),
        (["storage", "chek"], "check"),
        (["up", "--prot", "80"], "--port"),
        (["vision", "fine-tune"], "finetune"),
        (["vision", "finetune", "--data", "x", "--model", "y", "--output", "z", "--epohcs", "1"], "--epochs"),
        (["gateway", "--hots", "x"], "--host"),
        (["worker", "--quue", "x"], "--queue"),
    ],
)
def test_what_was_probably_meant_is_said(arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *rest = arguments
    module = "workers.__main__" if command == "worker" else f"service.commands.{command}"
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(module).main(rest)
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"; did you mean {meant}?\n")
