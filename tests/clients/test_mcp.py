"""`photogram mcp`: an assistant starts the command and speaks with it over standard input and output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent
from photogram_mcp.answers import SHOWN_MAX_BYTES, small_enough
from photogram_mcp.sources import Sources, UnknownSource
from PIL import Image

from .wire_server import WireServer

COMMAND = [sys.executable, "-m", "photogram_mcp"]


@pytest.fixture
def connect(server: WireServer) -> Callable[..., Any]:
    """Starts the command for the server, and connects."""

    @asynccontextmanager
    async def connected(*arguments: str) -> AsyncIterator[Client]:
        environment = {**os.environ, "PHOTOGRAM_API_KEY": "a-key"}
        command = StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], *arguments], env=environment)
        async with Client(command) as client:
            yield client

    return connected


def text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


async def test_the_command_draws_over_standard_input_and_output(connect):
    async with connect() as client:
        assert "create_image" in {tool.name for tool in (await client.list_tools()).tools}
        result = await client.call_tool("create_image", {"prompt": "a cat"})
    assert not result.is_error, text(result)
    assert result.structured_content["status"] == "succeeded"


async def test_images_are_sent_from_the_opened_folder_only(connect, server, tmp_path):
    folder, secret = tmp_path / "open", tmp_path / "secret.png"
    folder.mkdir()
    Image.new("RGB", (8, 8), "red").save(secret)
    Image.new("RGB", (8, 8), "red").save(folder / "cat.png")
    (folder / "link.png").symlink_to(secret)
    async with connect("--files", str(folder)) as client:
        for name in ("../secret.png", str(secret), "link.png", "none.png", ""):
            refused = await client.call_tool("edit_image", {"prompt": "a cat", "image": name})
            assert refused.is_error, name
        assert server.records == {}
        result = await client.call_tool("edit_image", {"prompt": "a cat", "image": "cat.png"})
    assert not result.is_error, text(result)
    (record,) = server.records.values()
    assert record.body["params"]["image"]


def test_without_a_folder_no_file_is_sent(tmp_path: Path):
    (tmp_path / "cat.png").write_bytes(b"?")
    for name in (str(tmp_path / "cat.png"), "cat.png", "\0", "a" * 5000):
        with pytest.raises(UnknownSource):
            Sources().find(name)
    with pytest.raises(UnknownSource):
        Sources(tmp_path).find("\0")


async def test_a_server_that_does_not_answer_is_an_error_of_the_tool(connect):
    async with connect("--url", "http://127.0.0.1:1") as client:
        result = await client.call_tool("list_models", {})
    assert result.is_error and "no answer from http://127.0.0.1:1" in text(result)


@pytest.mark.parametrize("arguments", [["--files", "/nowhere"], ["--url", "nonsense"], ["--nothing"]])
def test_wrong_arguments_end_the_command(arguments: list[str]):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stdout == ""


def test_images_that_are_shown_fit_into_a_message(tmp_path: Path):
    large = tmp_path / "noise.webp"
    Image.effect_noise((1500, 1500), 200).convert("RGB").save(large, quality=100)
    data = large.read_bytes()
    assert len(data) > SHOWN_MAX_BYTES
    assert len(small_enough(data)) <= SHOWN_MAX_BYTES
    assert small_enough(b"small") == b"small"
