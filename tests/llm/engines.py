"""The real language engine for tests: vLLM, started by the same command as ``photogram up`` starts it."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from service.backbone.settings import Settings
from service.llm.command import own_engine_environment
from service.llm.install import EngineMissing, default_venv, engine_python, model_folder, obstacle
from service.short_lived import free_port
from service.supervisor import Child, stop_in_order

LLM_FOLDER = Settings.from_environment().llm_folder
"""The user's own, read before tests get a cache of theirs: the model is not converted for every run."""
KEY = "a-key-for-tests-and-nothing-else"
START_S, STOP_S = 150.0, 7.0
_MEMORY = re.compile(r"/dev/shm/\S+")


def python_or_skip() -> Path:
    """The engine's interpreter, where the model is there too; else the test is skipped.

    In CI the test fails instead, on a machine that could have the engine.
    """
    try:
        model_folder(LLM_FOLDER)
        return engine_python(LLM_FOLDER)
    except EngineMissing as error:
        reason = obstacle(default_venv())
        if reason is not None:
            pytest.skip(reason)
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error}, and without it CI would test nothing of it")
        pytest.skip(f"{error}: run `photogram llm install`")


class Engine:
    """One vLLM, how to ask it, and what it is made of."""

    def __init__(self, child: Child, port: int) -> None:
        self.child, self.url = child, f"http://127.0.0.1:{port}"

    def get(self, path: str, key: str = KEY) -> httpx.Response:
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=10)

    def post(self, path: str, body: dict[str, object]) -> httpx.Response:
        return httpx.post(self.url + path, json=body, headers={"Authorization": f"Bearer {KEY}"}, timeout=60)

    def metric(self, name: str) -> float:
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            assert self.child.is_running and time.monotonic() < deadline
            try:
                if self.get("/health").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.2)


def shared_memory(family: Sequence[psutil.Process]) -> set[Path]:
    """The files of shared memory that the processes hold."""
    maps = [Path(f"/proc/{process.pid}/maps").read_text() for process in family]
    return {path for text in maps for path in map(Path, _MEMORY.findall(text)) if path.exists()}


@contextmanager
def running(command: Callable[[int], list[str]]) -> Iterator[Engine]:
    """Run the vLLM of ``command``, which is told the port, under its guard; ready once given."""
    port = free_port()
    guarded = [sys.executable, "-m", "service.llm.guard", *command(port)]
    engine = Engine(Child("llm", guarded, own_engine_environment(os.environ, KEY)), port)
    engine.child.start()
    try:
        engine.wait_until_ready()
        yield engine
    finally:
        stop_in_order([[engine.child]], [STOP_S])
