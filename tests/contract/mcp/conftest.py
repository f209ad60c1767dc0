"""A gateway with an engine that draws nothing, and the MCP Inspector's command line to call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.mcp.rig import KEYS, Rig, running
from tests.node_packages import installed

PACKAGES = Path(__file__).parent / "node"
RUN_S, CONNECT_MS = 90, 60_000
TOOL_REFUSED = 5
"""The inspector's exit code where the result of a tool is an error, which it prints all the same."""

Inspect = Callable[..., Any]


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    """The gateway; its jobs take 1 to 2 s."""
    with running(longest_s=2.0, scale=1.0) as rig:
        yield rig


def over_http(rig: Rig, era: str) -> list[str]:
    """The arguments that let the inspector call ``/mcp``."""
    header = f"Authorization: Bearer {KEYS[0]}"
    return [f"{rig.url}/mcp", "--transport", "http", "--header", header, "--protocol-era", era]


def by_command(rig: Rig) -> list[str]:
    """The arguments that let the inspector start ``photogram mcp``, which inherits no environment."""
    given = {"PHOTOGRAM_URL": rig.url, "PHOTOGRAM_API_KEY": KEYS[0]}
    if paths := os.environ.get("PYTHONPATH"):  # the inspector takes no empty value
        given["PYTHONPATH"] = paths
    environment = [part for name, value in given.items() for part in ("-e", f"{name}={value}")]
    return [str(Path(sys.executable).with_name("photogram")), "mcp", *environment]


@pytest.fixture(params=["http-legacy", "http-modern", "stdio"])
def inspect(request: pytest.FixtureRequest, rig: Rig, tmp_path: Path) -> Inspect:
    """Calls a method by the inspector, over each transport and in each era of the protocol; gives its result."""
    modules = installed(PACKAGES)
    server = by_command(rig) if request.param == "stdio" else over_http(rig, request.param.removeprefix("http-"))

    def run(method: str, *arguments: str) -> Any:
        command = ["node", str(modules / ".bin" / "mcp-inspector"), "--cli", *server, "--method", method, *arguments]
        output = _output([*command, "--format", "json", "--connect-timeout", str(CONNECT_MS)], tmp_path)
        return json.loads(output)["result"]

    return run


def _output(command: Sequence[str], home: Path) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_S, check=False, env=os.environ | {"HOME": str(home)}
    )
    assert done.returncode in (0, TOOL_REFUSED), done.stdout + done.stderr
    return done.stdout
