"""A file of a finetune is added and drawn with in two commands, while the server runs and without a network."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from models.media.images import decode
from tests.e2e.conftest import KEY, Stack
from tests.e2e.test_commands import command, models
from tests.tiny import build_tiny_file, build_tiny_lora


@pytest.fixture
def stack(tmp_path: Path, stacks: list[Stack], monkeypatch: pytest.MonkeyPatch) -> Stack:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "data").mkdir()
    stacks.append(stack := Stack(tmp_path / "data"))
    assert stack.ready == f"ready {stack.url}"
    return stack


def draw(prompt: str, to: Path) -> Image.Image:
    drawn = command("photogram", "generate", prompt, "--model", "mine_v3", "--seed", "1", "-o", str(to),
                    PHOTOGRAM_API_KEY=KEY, HF_HUB_OFFLINE="1")  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    return decode(to.read_bytes()).convert("RGB")


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_file_and_a_folder_of_a1111(stack: Stack, tmp_path: Path, tiny_folder: Path) -> None:
    file = build_tiny_file(tmp_path / "mine_v3.safetensors", tiny_folder)
    # Its architecture is that of no published model, so that the configuration is given; a real file needs none.
    said = printed(models("add", str(file), "--config", str(tiny_folder), "--size", "64", "--steps", "3"))
    assert "mine_v3 is in the catalog: a checkpoint (stable-diffusion)\n" in said
    assert f"the server at {stack.url} sees it at once" in said
    plain = draw("a cat", tmp_path / "cat.png")
    assert plain.size == (64, 64)

    loras = tmp_path / "webui" / "models" / "Lora" / "style"
    loras.mkdir(parents=True)
    build_tiny_lora(loras / "film.safetensors", tiny_folder, kohya=True)
    (loras / "page.safetensors").write_bytes(b"<html>")
    said = printed(models("scan", str(tmp_path / "webui")))
    assert "models/Lora/style/film.safetensors: a LoRA, new, as film\n" in said
    assert "models/Lora/style/page.safetensors: left out: its file is a web page" in said
    with_lora = draw("a cat <lora:film:1>", tmp_path / "film.png")
    assert ImageChops.difference(plain, with_lora).getbbox() is not None
