"""What contract tests share: unmodified JavaScript clients, installed once and kept between runs."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PACKAGES = Path(__file__).parent / "node"
KEPT = Path(__file__).parents[2] / "build" / "node"
INSTALL_S, RUN_S = 120, 90
UNREACHABLE = ("ENOTFOUND", "ECONNREFUSED", "ECONNRESET", "EAI_AGAIN", "ETIMEDOUT")

Node = Callable[..., Any]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder ``node_modules`` with what ``package-lock.json`` names; skips where it cannot be had."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("Node's clients need node and npm")
    lock = (PACKAGES / "package-lock.json").read_bytes()
    kept = KEPT / hashlib.sha256(lock).hexdigest()[:16]
    if not kept.is_dir():
        install(kept)
    return kept / "node_modules"


def install(kept: Path) -> None:
    """Install into a folder of another name first, so that ``kept`` is whole whenever it is there."""
    KEPT.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as partial:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(PACKAGES / name, partial)
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=partial, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        if any(sign in done.stderr for sign in UNREACHABLE):
            pytest.skip("Node's clients need a package registry that can be reached")
        assert done.returncode == 0, done.stderr
        if not kept.exists():
            shutil.copytree(partial, kept, symlinks=True)


@pytest.fixture(scope="session")
def node(node_modules: Path) -> Node:
    """Runs a CommonJS script: its standard input and output are JSON, its arguments strings."""

    def run(script: Path, wanted: object, *arguments: str) -> Any:
        done = subprocess.run(
            ["node", str(script), *arguments], input=json.dumps(wanted), capture_output=True, text=True,
            timeout=RUN_S, check=False, env=os.environ | {"NODE_PATH": str(node_modules)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
