"""The built-in checkpoint, through the whole service: ``make demo``'s own program, and the README's snippets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import KEY, ROOT, Stack


def mean_colour(path: Path) -> np.ndarray:
    """The mean colour of the picture's middle, RGB in 0..255."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[40:-40, 40:-40].reshape(-1, 3).mean(0)


def test_the_demo_draws_a_red_apple_and_says_how(tmp_path: Path) -> None:
    output = tmp_path / "photogram.png"
    done = subprocess.run(
        [sys.executable, "-m", "service.demo", "a red apple", "--output", str(output)],
        cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    red, green, blue = mean_colour(output)
    assert red > green + 60 and red > blue + 60
    for word in ("seed", "model", "house", "steps", "total"):
        assert word in done.stdout.lower()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    stack = Stack(tmp_path_factory.mktemp("house"))
    yield stack
    stack.stop()
    stack.close()


def snippets(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def in_our_world(snippet: str, house: Stack) -> str:
    return snippet.replace("http://127.0.0.1:8000", house.url).replace("choose-a-long-one", KEY)


def test_the_readmes_python_draws_a_cat(house: Stack, tmp_path: Path) -> None:
    (snippet,) = snippets("python")
    subprocess.run([sys.executable, "-c", in_our_world(snippet, house)], cwd=tmp_path, check=True, timeout=60)
    with Image.open(tmp_path / "cat.png") as picture:
        assert picture.size == (128, 128)


def test_the_readmes_commands_draw_a_blue_car_and_queue_a_cat(house: Stack, tmp_path: Path) -> None:
    commands = [snippet for snippet in snippets("sh") if "photogram generate" in snippet or "curl" in snippet]
    assert len(commands) == 2
    script = in_our_world("\n".join(commands), house)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-e", "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    red, _, blue = mean_colour(tmp_path / "car.png")
    assert blue > red + 20
    assert '"status":"queued"' in done.stdout.replace(" ", "")


def test_a_larger_picture_is_enlarged_from_the_native_size(house: Stack, tmp_path: Path) -> None:
    with house.client() as client:
        client.generate("a red apple", width=512, height=512, seed=3).save(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as picture:
        assert picture.size == (512, 512)
    red, green, _ = mean_colour(tmp_path / "large.png")
    assert red > green + 60
