"""What contract tests share: unmodified JavaScript clients."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.node_packages import installed

PACKAGES = Path(__file__).parent / "node"
RUN_S = 90

Node = Callable[..., Any]


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder ``node_modules`` with what ``package-lock.json`` names; skips where it cannot be had."""
    return installed(PACKAGES)


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
