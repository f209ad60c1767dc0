"""``python -m service.rwkv_server`` as a process: it serves the World vocabulary, or says in one line why not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from models.language.rwkv.vocabulary import Vocabulary
from tests.tiny.rwkv import save

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-W", "error", "-m", "service.rwkv_server"]
TEXTS = ["一只猫坐在屋顶上", "кошка на крыше", "a cat 🐱👩‍👩‍👧"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@pytest.fixture
def world_server(world_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The server as a process, ready, and its URL."""
    port = free_port()
    command = [*COMMAND, "--model", str(world_path), "--served-model-name", "world", "--port", str(port)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            try:
                httpx.get(f"{url}/health", timeout=2).raise_for_status()
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield process, url
        process.kill()


def test_texts_of_all_the_world_go_in_and_come_out(world_server: tuple[subprocess.Popen[str], str]) -> None:
    process, url = world_server
    vocabulary = Vocabulary.world()
    with httpx.Client(base_url=url, timeout=30) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "world"
        for text in TEXTS:
            body = {"messages": [{"role": "user", "content": text}], "max_tokens": 24, "seed": 1}
            said = client.post("/v1/chat/completions", json=body).json()
            assert said["usage"]["prompt_tokens"] == len(vocabulary.encode(f"User: {text}\n\nAssistant:"))
            assert said["choices"][0]["message"]["content"].encode()
        assert "rwkv_generated_tokens_total" in client.get("/metrics").text
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=20)
    assert process.returncode in (0, -signal.SIGTERM)
    assert "Traceback" not in told and "rwkv" in told


def test_bad_weights_are_told_in_one_line(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pth"
    garbage.write_bytes(b"nothing")
    small = save(tmp_path / "small.pth", "5.2")
    for path, said in (
        (tmp_path / "missing.pth", "there is no file"),
        (garbage, "cannot be read as a checkpoint"),
        (small, "the model knows 257 tokens"),
    ):
        done = subprocess.run([*COMMAND, "--model", str(path)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("rwkv_server: ") and said in line


@pytest.mark.parametrize("argument", ["--port=70000", "--dtype=fp8"])
def test_arguments_that_make_no_sense_are_told(argument: str) -> None:
    command = [*COMMAND, "--model", "x.pth", argument]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "rwkv_server: error" in done.stderr
