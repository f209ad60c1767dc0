"""The whole service as a user starts it: ``photogram up`` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from photogram import Photogram

from models.jobs.kinds import DIFFUSION_QUEUE
from service.short_lived import free_port
from tests.tiny import build_tiny_sd

ROOT = Path(__file__).parents[2]
KEY = "a-key-for-tests-and-nothing-else"
CATALOG = """
default = "tiny"
[models.tiny]
folder = "{folder}"
defaults = {{ width = 64, height = 64, num_inference_steps = 6 }}
limits = {{ min_px = 32, max_steps = 999 }}
"""


class Stack:
    """One ``photogram up``, which may be stopped and started again; its ready line is read if it is ``awaited``."""

    def __init__(self, data: Path, *arguments: str, awaited: bool = True, **variables: str) -> None:
        self.port = free_port()
        given = {"PHOTOGRAM_BOOTSTRAP_KEY": KEY, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | variables
        self._environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"} | given
        self._command = [sys.executable, "-m", "service", "--port", str(self.port), "--data", str(data), *arguments]
        self.errors: list[str] = []
        self.start()
        if awaited:
            self.wait_until_ready()

    def start(self) -> None:
        """Start the process; it must not run yet."""
        self.process = subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        errors = self.process.stderr
        self._listener = threading.Thread(target=lambda: self.errors.extend(errors), daemon=True)
        self._listener.start()
        self.ready = ""

    def start_again(self) -> None:
        """After `stop`: start a new process on the same data and port, and wait until it can run jobs."""
        self._release()
        self.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Read the ready line."""
        self.ready = self.process.stdout.readline().strip()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Photogram:
        return Photogram(self.url, KEY)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def workers(self, queue: str = DIFFUSION_QUEUE) -> list[psutil.Process]:
        """The workers of one queue."""
        return [child for child in self.family() if child.cmdline()[-3:] == ["workers", "--queue", queue]]

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout_s)

    def close(self) -> None:
        """Kill whatever still runs, and let go of its output."""
        if self.process.poll() is None:
            family = self.family()
            self.process.kill()
            for process in family:
                process.kill()
        self.process.wait()
        self._release()

    def _release(self) -> None:
        self._listener.join()
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("tiny-e2e"))


@pytest.fixture
def data_with_tiny(tmp_path: Path, tiny_folder: Path) -> Path:
    (tmp_path / "catalog.toml").write_text(CATALOG.format(folder=tiny_folder))
    return tmp_path


@pytest.fixture
def stacks() -> Iterator[list[Stack]]:
    """Stacks that a test starts; whatever is left of them afterwards is killed."""
    started: list[Stack] = []
    yield started
    for stack in started:
        stack.close()
