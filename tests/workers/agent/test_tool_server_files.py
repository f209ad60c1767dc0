"""Files of a workspace, through the real process over MCP: names, limits, links, and what a model reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.errors import PhotogramError
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.names import check_name
from workers.agent.tool_server.settings import FolderLimits

from .conftest import Tools, png

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = [
    "", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/", ".hidden", "a/.git/x", "..", "x\0y", "x\ny",
    "x\u202egnp", "a/b/c/d/e/f.txt", "n" * 101, "C:\\x", "a\\b", "x?", " x", "x ", "x.", "\ud800", "nul\x7f", "\ufeffx",
    "\U0001f600" * 70,
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
async def test_names_that_no_file_may_have(name: str):
    with pytest.raises(Refused):
        check_name(name)


@pytest.mark.parametrize("name", ["cat.png", "panels/1.png", "a/b/c/d/e.txt", "Füchse im Wald (2).png", "日本/絵.png"])
async def test_names_that_files_may_have(name: str):
    assert "/".join(check_name(name)) == name


async def test_files_are_written_listed_read_copied_and_deleted(tools: Tools):
    assert await tools("write_text", save_as="notes/plan.md", text="# Plan\né") == {
        "saved": "notes/plan.md",
        "bytes": 9,
    }
    await tools("copy_file", file="notes/plan.md", save_as="copy.txt")
    await tools.workspace.put("cat.png", png())
    found = await tools("list_files")
    assert [(each["name"], each["media_type"]) for each in found["files"]] == [
        ("cat.png", "image/png"), ("copy.txt", "text/plain"), ("notes/plan.md", "text/markdown"),
    ]  # fmt: skip
    assert found["total"] == 3 and "next_start" not in found
    assert (await tools("list_files", below="notes"))["total"] == 1
    assert await tools("read_text", file="copy.txt") == {"text": "# Plan\né", "chars": 8}
    await tools("delete_file", file="notes/plan.md")
    assert [entry.name for entry in await tools.workspace.tree()] == ["cat.png", "copy.txt"]
    assert "notes" not in os.listdir(tools.workspace._path)


async def test_long_texts_are_read_in_parts(tools: Tools):
    text = "日本\u0001" * 9000
    await tools("write_text", save_as="long.txt", text=text)
    parts, start = [], 0
    while True:
        answer = await tools("read_text", file="long.txt", start=start)
        parts.append(answer["text"])
        if "next_start" not in answer:
            break
        start = answer["next_start"]
    assert "".join(parts) == text and len(parts) > 4
    assert all(len(part.encode()) < 16_000 for part in parts)


@pytest.mark.parametrize("tool", ["read_text", "delete_file", "measure"])
async def test_tools_refuse_names_outside(tools: Tools, tool: str):
    argument = "image" if tool == "measure" else "file"
    for name in ("/etc/passwd", "../../etc/passwd", "nothing.png"):
        assert name in await tools.refusal(tool, **{argument: name})


async def test_what_is_no_text_is_not_read_as_text(tools: Tools):
    await tools.workspace.put("cat.png", png())
    assert "no text" in await tools.refusal("read_text", file="cat.png")


async def test_the_limits_of_a_workspace_hold(tools: Tools):
    with pytest.raises(Refused, match="limit for a file"):
        await tools.workspace.put("large", bytes((8 << 20) + 1))
    for number in range(3):
        await tools.workspace.put(f"{number}", bytes(8 << 20))
    assert "hold more than" in await tools.refusal("write_text", save_as="one-more", text="x")
    await tools.clear()
    for number in range(40):
        await tools("write_text", save_as=f"f{number}", text="x")
    assert "40 files" in await tools.refusal("write_text", save_as="one-more", text="x")
    assert "40 files" in await tools.refusal("copy_file", file="f0", save_as="one-more")
    await tools("write_text", save_as="f3", text="instead")


async def test_links_lead_nobody_out(tools: Tools, tmp_path: Path):
    """Nobody behind the walls can make a link; here they are made from outside."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    folder = tools.workspace._path
    (folder / "link.txt").symlink_to(secret)
    (folder / "out").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    for name in ("link.txt", "out/secret.txt", "pipe"):
        await tools.refusal("read_text", file=name)
        with pytest.raises(Refused):
            await tools.workspace.get(name)
    with pytest.raises(Refused):
        await tools.workspace.put("out/new.txt", b"x")
    await tools.refusal("write_text", save_as="out/new.txt", text="x")
    await tools.workspace.put("link.txt", b"replaced")
    assert secret.read_text() == "secret" and sorted(os.listdir(tmp_path)) == ["secret.txt"]
    assert [entry.name for entry in await tools.workspace.tree()] == ["link.txt"]
    await tools.workspace.archive()


async def test_a_folder_however_deep_is_removed(tmp_path: Path):
    folder = Folder(tmp_path, FolderLimits())
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    with pytest.raises(PhotogramError, match="too deep"):
        folder.usage()
    folder.tidy()
    assert os.listdir(tmp_path) == []
    folder.close()
