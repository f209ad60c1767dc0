"""The built-in checkpoint, through the whole service: ``make demo``'s own program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx2
import numpy as np
import pytest
from photogram import Photogram
from PIL import Image

from service import demo
from tests.e2e.conftest import ROOT
from tests.engine_stub import EngineStub


def mean_colour(path: Path) -> np.ndarray:
    """The mean colour of the image's middle, RGB in 0..255."""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))[40:-40, 40:-40].reshape(-1, 3).mean(0)


def run_demo(output: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "service.demo", "a red apple", "--output", str(output)],
        cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1", **variables}, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    red, green, blue = mean_colour(output)
    assert red > green + 60 and red > blue + 60
    return done


def test_the_demo_draws_a_red_apple_and_says_how(tmp_path: Path) -> None:
    done = run_demo(tmp_path / "photogram.png", PHOTOGRAM_LLM="off")
    for word in ("seed", "model", "house", "steps", "total"):
        assert word in done.stdout.lower()
    assert done.stderr.count("The prompt is not rewritten: PHOTOGRAM_LLM=off.\n") == 1
    assert not (tmp_path / "photogram-2.png").exists()
    assert "Waiting" not in done.stderr and "revised" not in done.stdout


@pytest.mark.parametrize("name", ["apple.png", "apple-2.png"])
def test_the_demo_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    mine = tmp_path / name
    mine.write_bytes(b"mine")
    assert demo.main(["a red apple", "--output", str(tmp_path / "apple.png")]) == 2
    assert capsys.readouterr().err == f"{mine} exists: choose another name.\n" and mine.read_bytes() == b"mine"


def test_the_demo_draws_the_rewritten_prompt_too(tmp_path: Path) -> None:
    with EngineStub() as stub:
        done = run_demo(
            tmp_path / "photogram.png",
            PHOTOGRAM_LLM="auto",
            PHOTOGRAM_LLM_URL=stub.url,
            PHOTOGRAM_LLM_PRESET="smollm2-135m",
            PHOTOGRAM_LLM_DEADLINE_S="30",
        )
    assert "Waiting for the language engine" in done.stderr
    outputs = done.stdout.split("file ")[1:]
    first, second = (dict(line.split(maxsplit=1) for line in f"file {each}".splitlines()) for each in outputs)
    assert "prompt" not in first and (second["prompt"], second["seed"]) == ("a red apple", first["seed"])
    assert second["revised"].startswith("a red apple on ")
    assert (first["file"], second["file"]) == tuple(
        str(tmp_path / name) for name in ("photogram.png", "photogram-2.png")
    )


def test_the_demo_is_done_where_the_language_engine_cannot_be_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOTOGRAM_LLM", "auto")
    monkeypatch.setattr(demo, "_is_installed", lambda settings: False)
    monkeypatch.setattr(demo, "_installing", lambda: subprocess.Popen(["false"]))
    assert demo.main(["a red apple", "--output", str(tmp_path / "apple.png")]) == 0
    assert "The prompt is not rewritten: the language engine is not installed" in capfd.readouterr().err
    assert [path.name for path in tmp_path.glob("*.png")] == ["apple.png"]


def test_an_engine_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "REWRITER_START_S", 0.0)
    rewrite = {"status": "unavailable", "reason": "nobody answers"}
    tokens = {"count": 3, "limit": 75, "counted": "tokenizer"}
    answer = {"prompt": "a", "revised_prompt": "a", "profile": "sentence", "rewrite": rewrite, "tokens": tokens}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
    with httpx2.Client(transport=transport) as http, Photogram(http_client=http) as client:
        assert demo._wait_for_rewriter(client) == "nobody answers"
