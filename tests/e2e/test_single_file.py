"""A file of weights is added and drawn with in two commands, while the server runs and without a network."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from models.media.images import decode
from tests.e2e.conftest import KEY, Stack
from tests.e2e.test_commands import command, models
from tests.published_file import build_published_file
from tests.tiny import build_tiny_file, build_tiny_lora


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A server that the commands find, as those of the user who started it do."""
    folder = tmp_path_factory.mktemp("single-file")
    (folder / "data").mkdir()
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        started = Stack(folder / "data")
        try:
            assert started.ready == f"ready {started.url}"
            yield started
        finally:
            started.close()


def draw(prompt: str, model: str, to: Path) -> Image.Image:
    drawn = command("photogram", "generate", prompt, "--model", model, "--seed", "1", "-o", str(to),
                    timeout_s=200, PHOTOGRAM_API_KEY=KEY, HF_HUB_OFFLINE="1")  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    return decode(to.read_bytes()).convert("RGB")


def printed(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_a_file_and_a_folder_of_a1111(stack: Stack, tmp_path: Path, tiny_folder: Path) -> None:
    file = build_tiny_file(tmp_path / "mine_v3.safetensors", tiny_folder)
    # Its architecture is that of no published model, so that the configuration is given.
    said = printed(models("add", str(file), "--config", str(tiny_folder), "--size", "64", "--steps", "3"))
    assert "mine_v3 is in the catalog: a checkpoint (stable-diffusion)\n" in said
    assert f"the server at {stack.url} sees it at once" in said
    plain = draw("a cat", "mine_v3", tmp_path / "cat.png")
    assert plain.size == (64, 64)

    loras = tmp_path / "webui" / "models" / "Lora" / "style"
    loras.mkdir(parents=True)
    build_tiny_lora(loras / "film.safetensors", tiny_folder, kohya=True)
    (loras / "page.safetensors").write_bytes(b"<html>")
    said = printed(models("scan", str(tmp_path / "webui")))
    assert "models/Lora/style/film.safetensors: a LoRA, new, as film\n" in said
    assert "models/Lora/style/page.safetensors: left out: its file is a web page" in said
    with_lora = draw("a cat <lora:film:1>", "mine_v3", tmp_path / "film.png")
    assert ImageChops.difference(plain, with_lora).getbbox() is not None


def test_a_file_of_the_published_architecture_needs_no_configuration(stack: Stack, tmp_path: Path) -> None:
    """The weights are as many as in a real file; as bfloat16, they and the worker take 4.2 GB of memory."""
    file = build_published_file(tmp_path / "published.safetensors", dtype="F8_E4M3")
    began_at = time.monotonic()
    said = printed(models("add", str(file), "--dtype", "bfloat16", "--size", "64", "--steps", "1"))
    added_at = time.monotonic()
    assert "published is in the catalog: a checkpoint (stable-diffusion, SD 1.x, float8_e4m3fn)\n" in said
    assert draw("a cat", "published", tmp_path / "cat.png").size == (64, 64)
    print(f"added in {added_at - began_at:.1f} s, drawn in {time.monotonic() - added_at:.1f} s")
