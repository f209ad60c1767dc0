"""Jobs that are processes of their own: starts the process, passes its events on, and ends it when the job is canceled.

``models.job_process`` is the side of the process.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import (
    DeployFailed,
    DrawingFailed,
    InternalFailure,
    JobFailure,
    ModelUnavailable,
    OutOfMemory,
    TrainingFailed,
)
from workers.functions import FunctionCall

log = logging.getLogger(__name__)

FOLDER = "training"
"""In the data folder: where such jobs work."""
_ASKED_EVERY_S = 0.1
_FAILURES = {
    failure.code: failure for failure in (DeployFailed, DrawingFailed, ModelUnavailable, OutOfMemory, TrainingFailed)
}


@dataclass(frozen=True)
class JobProcess:
    """A kind of process."""

    module: str
    """Its dotted name, as for ``python -m``."""
    title: str
    """What it does, for messages."""

    def events(self, call: FunctionCall, order: bytes, folder: Path) -> Iterator[dict[str, Any]]:
        """The events of a process that gets ``order`` and works in ``folder``; they end with the process.

        Raises:
            JobCanceled: the job was canceled; the process has ended then.
            JobFailure: the job failed.
        """
        command = [sys.executable, "-m", self.module]
        with subprocess.Popen(
            command, cwd=folder, env=_environment(call, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            threading.Thread(target=_end_if_canceled, args=(call, process), daemon=True).start()
            try:
                with suppress(BrokenPipeError):  # it has ended already
                    process.stdin.write(order)
                    process.stdin.flush()
                for line in process.stdout:
                    yield _checked(line)
            except BaseException:
                process.kill()
                raise
        call.raise_if_canceled()
        if process.returncode == -signal.SIGKILL:
            raise OutOfMemory(f"the system ended the {self.title}, probably because the machine has no memory left")
        if process.returncode != 0:
            log.error("the process of job %s ended with %d", call.job_id, process.returncode)
            raise InternalFailure(f"the {self.title} failed unexpectedly; the worker's log has details")


def _environment(call: FunctionCall, folder: Path) -> dict[str, str]:
    """That of the worker, without its GPUs unless the settings give them to training; temporary files go to the
    working folder, so that none is left.
    """
    paths = os.pathsep.join(path for path in sys.path if path)  # the working folder of the process is another one
    hidden = {} if call.settings.training_device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, "PYTHONPATH": paths, "TMPDIR": str(folder.absolute()), **hidden}


def _end_if_canceled(call: FunctionCall, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        if call.is_canceled():
            process.kill()
            return
        time.sleep(_ASKED_EVERY_S)


def _checked(line: bytes) -> dict[str, Any]:
    """The event in ``line``; raises the failure that it tells of."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:  # the process was ended in the middle of it
        return {"event": "cut off"}
    if event["event"] != "failed":
        return event
    failure: type[JobFailure] = _FAILURES.get(event["code"], ModelUnavailable)
    raise failure(event["message"], detail=event["detail"])
