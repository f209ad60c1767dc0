"""A service of its own for a benchmark, started and stopped around it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.demo import free_port


@contextmanager
def running_stack(data: str, key: str, *arguments: str) -> Iterator[str]:
    """``photogram up`` on a free port with ``key`` as its first key; gives its address once a job could run."""
    environment = os.environ | {"PHOTOGRAM_BOOTSTRAP_KEY": key, "PHOTOGRAM_DATA": data}
    environment.pop("REDIS_URL", None)
    command = [sys.executable, "-m", "service", "--port", str(free_port()), *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        ready = process.stdout.readline().split()
        if not ready:
            raise RuntimeError("the service did not start")
        yield ready[1]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(15)
