"""Runs ``photogram up`` on a free port for a short time, for the demo and the benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STOP_S = 15.0


@contextmanager
def running_service(data: str, key: str, *, llm: bool = False, **variables: str) -> Iterator[str]:
    """Start the service with ``key`` as its first API key, its files in ``data``, and more environment variables.

    Yields the address when the service is ready, and stops the service at the end. Without ``llm`` rewriting is off and
    no language engine runs; with it the environment decides.

    Raises:
        RuntimeError: the service did not start; the reason is on standard error.
    """
    ours = {"PHOTOGRAM_BOOTSTRAP_KEY": key, "PHOTOGRAM_DATA": data}
    environment = os.environ | ours | ({} if llm else {"PHOTOGRAM_LLM": "off"}) | variables
    environment.pop("REDIS_URL", None)
    command = [sys.executable, "-m", "service", "--temporary", "--port", str(free_port())]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if len(ready) != 2 or ready[0] != "ready":
            raise RuntimeError("the service did not start")
        yield ready[1]
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
    finally:
        assert process.stdout is not None
        process.stdout.close()


def free_port() -> int:
    """An unused port of the loopback interface."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
