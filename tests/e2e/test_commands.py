"""The commands of a second terminal find the server of the first one, whatever its data folder."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import KEY, ROOT, Stack

DOWNLOADED = '[models.far]\nrepository = "someone/something"\nrevision = "abc"\n'


def command(*arguments: str, timeout_s: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a module's command as a user does who has set no variable."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PHOTOGRAM_DATA", "REDIS_URL")}
    return subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment | variables, capture_output=True, text=True,
        timeout=timeout_s, check=False,
    )  # fmt: skip


def models(*arguments: str) -> subprocess.CompletedProcess[str]:
    return command("service.commands.models", *arguments)


def until_listed(text: str) -> str:
    """The list of models, once it has ``text``: workers tell what they have loaded every other second."""
    deadline = time.monotonic() + 30
    while text not in (out := models("list").stdout):
        assert time.monotonic() < deadline, out
    return out


def test_a_second_terminal_finds_the_server_and_its_folder(
    tmp_path: Path, tiny_folder: Path, stacks: list[Stack], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    data = tmp_path / "data"
    data.mkdir()
    # A default model that cannot be had: the hub does not answer.
    (data / "catalog.toml").write_text(f'default = "far"\n{DOWNLOADED}')
    (data / "photogram.toml").write_text("max_queued = 77\n")
    stacks.append(stack := Stack(data, PHOTOGRAM_BOOTSTRAP_KEY="", HF_HUB_OFFLINE="", HF_ENDPOINT="http://127.0.0.1:9"))
    assert stack.ready == f"ready {stack.url}"
    (shown,) = [line.split()[-1] for line in stack.errors if line.startswith("API key")]
    text = "".join(stack.errors)
    assert f"    max_queued = 77  ({data}/photogram.toml, line 1)\n" in text

    added = models("add", str(tiny_folder), "--name", "tiny", "--size", "64")
    assert (added.returncode, added.stderr) == (0, ""), added.stderr
    assert f"the server at {stack.url} sees it at once; changed {data}/catalog.toml" in added.stdout
    listed = httpx.get(f"{stack.url}/v1/models", headers={"Authorization": f"Bearer {shown}"}).json()["models"]
    assert {model["name"] for model in listed} == {"house", "far", "tiny"}

    key = {"PHOTOGRAM_API_KEY": shown}
    drawn = command("photogram", "generate", "a cat", "--model", "tiny", "-o", str(tmp_path / "cat.png"), **key)
    assert drawn.returncode == 0, drawn.stderr
    out = until_listed("tiny: ok, loaded on cpu\n")
    assert "far (default): not downloaded: photogram models pull far, or its first job, does that\n" in out
    assert f"the server runs at {stack.url}\n" in out

    assert stack.stop() == 0
    text = "".join(stack.errors)
    assert f"    export PHOTOGRAM_URL={stack.url}\n    export PHOTOGRAM_API_KEY={shown}\n" in text
    assert f"{data}/catalog.toml: no photogram up runs with this folder\n" in models("list").stdout


def test_a_temporary_server_is_not_remembered(
    data_with_tiny: Path, stacks: list[Stack], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    stacks.append(stack := Stack(data_with_tiny, "--temporary", PHOTOGRAM_ROWS="2"))
    assert stack.ready and stack.stop() == 0
    text = "".join(stack.errors)
    assert not (tmp_path / "config").exists() and KEY not in text
    assert "second terminal" not in text and "no defaults" not in text
