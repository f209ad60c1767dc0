"""The built-in checkpoint, through the whole service: ``make demo``'s own program, and the README's snippets."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from photogram import LanguageUnavailable, Photogram, RewrittenPrompt
from PIL import Image

from service import demo
from tests.e2e.conftest import KEY, ROOT, Stack
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
    assert done.stderr.count("The prompt is used unchanged: PHOTOGRAM_LLM=off.\n") == 1
    assert "Waiting" not in done.stderr and "revised" not in done.stdout


def test_the_demo_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"mine")
    assert demo.main(["a red apple", "--output", str(mine)]) == 2
    assert capsys.readouterr().err == f"{mine} exists: choose another name.\n" and mine.read_bytes() == b"mine"


def test_the_demo_shows_how_the_prompt_was_rewritten(tmp_path: Path) -> None:
    with EngineStub() as stub:
        done = run_demo(
            tmp_path / "photogram.png",
            PHOTOGRAM_LLM="auto",
            PHOTOGRAM_LLM_URL=stub.url,
            PHOTOGRAM_LLM_PRESET="smollm2-135m",
            PHOTOGRAM_LLM_DEADLINE_S="30",
        )
    assert "Waiting for the language engine" in done.stderr
    prompts = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert prompts["prompt"] == "a red apple"
    assert prompts["revised"].startswith("a red apple on ")


def test_an_engine_that_does_not_come_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "REWRITER_START_S", 0.0)
    rewrite = {"status": "unavailable", "reason": "nobody answers"}
    tokens = {"count": 3, "limit": 75, "counted": "tokenizer"}
    answer = {"prompt": "a", "revised_prompt": "a", "profile": "sentence", "rewrite": rewrite, "tokens": tokens}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))
    with Photogram(transport=transport) as client:
        assert demo._wait_for_rewriter(client) == "nobody answers"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory):
    stack = Stack(tmp_path_factory.mktemp("house"), PHOTOGRAM_LLM="off")
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
    with Image.open(tmp_path / "cat.png") as image:
        assert image.size == (128, 128)


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


def test_a_larger_image_is_enlarged_from_the_native_size(house: Stack, tmp_path: Path) -> None:
    with house.client() as client:
        client.generate("a red apple", width=512, height=512, seed=3).save(tmp_path / "large.png")
    with Image.open(tmp_path / "large.png") as image:
        assert image.size == (512, 512)
    red, green, _ = mean_colour(tmp_path / "large.png")
    assert red > green + 60


def test_without_a_language_model_a_prompt_stays_as_it_is(house: Stack) -> None:
    with house.client() as client:
        rewritten = client.rewrite("a red apple", negative_prompt=True)
        *pieces, streamed = client.stream_rewrite("a red apple")
        job = client.generate("a red apple", enhance_prompt=True).job
        with pytest.raises(LanguageUnavailable, match="PHOTOGRAM_LLM_URL"):
            client.assist("draw me a red apple", job=job)
    assert isinstance(streamed, RewrittenPrompt)
    assert pieces == []
    for result in (rewritten, streamed):
        assert result.revised_prompt == "a red apple" and result.rewrite.status == "unavailable"
        assert result.rewrite.reason and 0 < result.tokens.count <= result.tokens.limit
    assert job.rewrite is not None and job.rewrite.status == "unavailable"
    assert job.revised_prompt is None and job.params["prompt"] == "a red apple"
