"""Supervises child processes: own process groups, restarts with backoff, ordered stop, and no orphans."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
_RESTART_PAUSES_S = (0.1, 0.5, 2.0, 5.0)
_HEALTHY_AFTER_S = 30.0


class Child:
    """One supervised process; ``starts`` counts its starts, ``started_at`` is the time of the last one (monotonic).

    Args:
        descriptors: file descriptors that each of its processes inherits, under the same numbers.
    """

    def __init__(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()
    ) -> None:
        self.name = name
        self._descriptors = tuple(descriptors)
        self._command, self._environment = list(command), dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.started_at = 0.0
        self._failures_in_a_row = 0
        self._restart_at = 0.0

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """The exit code, or ``None`` before the process has ended."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process; its standard output goes to our standard error, since ours has the ready line."""
        self.starts += 1
        self.started_at = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno(),
            start_new_session=True,
            pass_fds=self._descriptors,
            preexec_fn=die_with_parent if sys.platform == "linux" else None,
        )

    def keep_running(self) -> None:
        """Restart the process if it has ended: at once after a long run, else with growing pauses."""
        if self.is_running:
            return
        now = time.monotonic()
        if self._restart_at == 0.0:
            log.warning("%s ended with code %s; starting it again", self.name, self.exit_code)
            self._failures_in_a_row = 0 if now - self.started_at > _HEALTHY_AFTER_S else self._failures_in_a_row + 1
            self._restart_at = now + _RESTART_PAUSES_S[min(self._failures_in_a_row, len(_RESTART_PAUSES_S) - 1)]
        if now >= self._restart_at:
            self._restart_at = 0.0
            self.start()

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.is_running:
            self._process.terminate()

    def end_by(self, deadline: float) -> None:
        """Wait until ``deadline`` (monotonic), then kill the process and the rest of its group."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            log.warning("%s does not stop; killing it", self.name)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def stop_in_order(stages: Sequence[Sequence[Child]], stage_s: Sequence[float]) -> None:
    """Stop one stage after the other; the children of a stage stop together, within its time limit in seconds."""
    for children, limit_s in zip(stages, stage_s, strict=True):
        for child in children:
            child.terminate()
        deadline = time.monotonic() + limit_s
        for child in children:
            child.end_by(deadline)


def die_with_parent() -> None:
    """Call in a new child: the kernel sends it SIGTERM when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
