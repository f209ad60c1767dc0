"""The worker's side of a workspace: files in and out, and tool servers that hang, lie, flood, die or are killed."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

from tests.polling import until
from workers.agent import workspace as module
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.settings import ToolSettings
from workers.agent.workspace import ToolFailed, Workspace

from .conftest import Tools, is_running, png, processes_of

pytestmark = pytest.mark.asyncio(loop_scope="session")
FAKE = [sys.executable, str(Path(__file__).with_name("fake_server.py"))]


@pytest.fixture
def settings(tmp_path: Path) -> ToolSettings:
    return ToolSettings(str(tmp_path / "workspace"))


async def test_files_go_in_and_out(tools: Tools):
    workspace = tools.workspace
    await workspace.put("a/cat.png", png())
    await workspace.put("b.txt", b"text")
    assert await workspace.get("a/cat.png") == png()
    assert [(each.name, each.size_bytes) for each in await workspace.tree()] == [
        ("a/cat.png", len(png())),
        ("b.txt", 4),
    ]
    assert await tools("read_text", file="b.txt") == {"text": "text", "chars": 4}
    await tools("write_text", save_as="b.txt", text="other")
    assert await workspace.get("b.txt") == b"other"
    await workspace.remove("b.txt")
    for name in ("../x", "/etc/passwd", "b.txt", "a"):
        with pytest.raises(Refused):
            await workspace.get(name)
    for name in ("../x", "/tmp/x", "a"):
        with pytest.raises(Refused):
            await workspace.put(name, b"x")


async def test_the_same_files_give_the_same_archive(tools: Tools):
    workspace = tools.workspace
    await workspace.put("b/1.png", png())
    await workspace.put("a.txt", b"a")
    first = await workspace.archive()
    await tools.clear()
    await workspace.put("a.txt", b"a")
    await asyncio.sleep(0.01)
    await workspace.put("b/1.png", png())
    assert await workspace.archive() == first
    with zipfile.ZipFile(BytesIO(first)) as archive:
        assert archive.namelist() == ["a.txt", "b/1.png"] and archive.testzip() is None
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


async def test_tools_have_names_descriptions_and_schemas(tools: Tools):
    found = {tool.name: tool for tool in await tools.workspace.tools()}
    assert set(found) == {
        "list_files", "read_text", "write_text", "copy_file", "delete_file", "compose", "transform", "measure",
        "compare_images", "find_text", "calculate", "python", "walls",
    }  # fmt: skip
    for tool in found.values():
        assert 10 < len(tool.description) < 400 and tool.input_schema["type"] == "object"
    assert found["measure"].is_read_only and not found["compose"].is_read_only
    assert found["compose"].input_schema["properties"]["layout"]["enum"][0] == "grid"
    with pytest.raises(ToolFailed, match="is no tool"):
        await tools.workspace.call("shell", {})


async def test_a_tool_that_hangs_is_ended_with_what_it_started_and_the_next_call_works(tools: Tools):
    workspace = tools.workspace
    await workspace.put("kept.txt", b"kept")
    await workspace.call("list_files", {})
    folder = str(workspace._path)
    (before,) = {*processes_of(folder)} - {*_children(processes_of(folder))}
    with pytest.raises(ToolFailed, match=r"^python did not answer within 0\.5 s and was ended$") as failed:
        await workspace.call("python", {"code": "import time, os\nos.fork()\ntime.sleep(60)"}, timeout_s=0.5)
    assert failed.value.tool == "python"
    assert processes_of(folder) == []
    assert (await tools("read_text", file="kept.txt"))["text"] == "kept"
    assert before not in processes_of(folder)


def _children(numbers: list[int]) -> list[int]:
    return [number for number in numbers if _parent(number) in numbers]


def _parent(number: int) -> int:
    found = re.search(r"PPid:\s*(\d+)", Path(f"/proc/{number}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ("hang", "did not answer within 1 s"), ("die", "ended unexpectedly"), ("kill_itself", "ended unexpectedly"),
        ("garbage", "no message of MCP"), ("not_json", "no message of MCP"), ("long_line", "a message of more than"),
        ("flood", "sent more than"), ("long_document", "answered more than"), ("wrong_shape", "no valid answer"),
        ("another_id", "did not answer"), ("close_output", "ended unexpectedly"),
    ],
)  # fmt: skip
async def test_a_tool_server_that_misbehaves_is_contained_and_named(settings: ToolSettings, way: str, told: str):
    async with Workspace(settings, call_s=1, command=FAKE) as workspace:
        limit = 1 if way in ("hang", "another_id") else 20
        with pytest.raises(ToolFailed) as failed:
            await workspace.call(way, {}, timeout_s=limit)
        assert str(failed.value).startswith(way) and told in str(failed.value) and len(str(failed.value)) < 200
        assert "secret" not in str(failed.value) and "Traceback" not in str(failed.value)
        assert (await workspace.call("behave", {}, timeout_s=20)).structured == {"a": 1}
    assert not Path(settings.workspace).exists()


async def test_what_a_tool_server_may_say_is_cut_to_size_and_made_printable(settings: ToolSettings):
    async with Workspace(settings, command=FAKE) as workspace:
        result = await workspace.call("behave", {})
        assert result.text == "fine\ufffd[31m" and not result.is_error
        assert len((await workspace.call("long_text", {})).text) == module.TEXT_MAX_CHARS
        assert (await workspace.call("flood_errors", {})).text == "done"
        assert (await workspace.call("ask_back", {})).text == "asked"
        child = int((await workspace.call("leave_a_child", {})).text)
        assert is_running(child)
    until(lambda: not is_running(child), 5)


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "print('hello')", "import time; time.sleep(100)"])
async def test_a_tool_server_that_does_not_start(settings: ToolSettings, code: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "START_S", 1.0)
    async with Workspace(settings, command=[sys.executable, "-c", code]) as workspace:
        with pytest.raises(ToolFailed, match="cannot be used"):
            await workspace.call("list_files", {})
        with pytest.raises(ToolFailed, match="cannot be used"):
            await workspace.tools()


async def test_wrong_settings_end_the_process_with_a_sentence():
    for arguments in ([], ["[]"], ['{"workspace": "/nowhere"}']):
        done = subprocess.run(
            [sys.executable, "-m", "workers.agent.tool_server", *arguments], capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2 and done.stderr.startswith("tool server: ") and "Traceback" not in done.stderr


async def test_a_call_that_is_cancelled_ends_the_process(settings: ToolSettings):
    async with Workspace(settings, command=FAKE) as workspace:
        await workspace.tools()
        calling = asyncio.create_task(workspace.call("hang", {}))
        await asyncio.sleep(0.2)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert (await workspace.call("behave", {})).structured == {"a": 1}


WORKER = """
import asyncio, sys
from workers.agent.workspace import Workspace
from workers.agent.tool_server.settings import ToolSettings

async def main():
    workspace = Workspace(ToolSettings(sys.argv[1], allow_python=True))
    await workspace.tools()
    print("ready", flush=True)
    code = "import os, time\\nos.fork()\\nopen('started', 'w').close()\\ntime.sleep(60)"
    await workspace.call("python", {"code": code})

asyncio.run(main())
"""


async def test_nothing_is_left_running_when_the_worker_is_killed(settings: ToolSettings):
    worker = subprocess.Popen([sys.executable, "-c", WORKER, settings.workspace], stdout=subprocess.PIPE)
    assert worker.stdout is not None and worker.stdout.readline() == b"ready\n"
    until(lambda: Path(settings.workspace, "started").exists(), 30)
    assert len(processes_of(settings.workspace)) >= 3
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    worker.stdout.close()
    until(lambda: processes_of(settings.workspace) == [], 10)


async def test_closing_twice_is_closing_once(settings: ToolSettings):
    workspace = Workspace(settings, command=FAKE)
    await workspace.tools()
    await workspace.close()
    started = time.monotonic()
    await workspace.close()
    assert time.monotonic() - started < 5 and not Path(settings.workspace).exists()
