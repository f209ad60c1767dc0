"""The language engine of ``photogram up``: restarted if it ends, and given up if it never becomes ready."""

from __future__ import annotations

import http.client
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from models.language.presets import SMOLLM2
from service.llm.command import own_engine_command, own_engine_environment
from service.llm.install import engine_python, model_folder
from service.short_lived import free_port
from service.supervisor import Child

DEADLINE_S = "10"
"""The rewriting deadline with this engine, which has half of the cores and a lower priority than images."""
MAX_FAILURES = 3
_POLL_S = 1.0


class OwnEngine:
    """A vLLM with the built-in model, on a free loopback port, with a random API key."""

    def __init__(self, llm_folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare the command without starting it.

        Raises:
            EngineMissing: the engine or the model is not installed.
        """
        self._port, self._key = free_port(), secrets.token_urlsafe(32)
        command = own_engine_command(engine_python(llm_folder), SMOLLM2, model_folder(llm_folder), self._port)
        guarded = [sys.executable, "-m", "service.llm.guard", *command]
        self.child = Child("llm", guarded, own_engine_environment(environment, self._key))
        self._polled_at = 0.0
        self._ends = self._failures = 0
        self._is_ready = self._is_given_up = False

    def variables(self, given: Mapping[str, str]) -> dict[str, str]:
        """What gateway and workers need to know, as the settings' variables; ``given`` may hold another deadline."""
        return {
            "PHOTOGRAM_LLM_DEADLINE_S": given.get("PHOTOGRAM_LLM_DEADLINE_S") or DEADLINE_S,
            "PHOTOGRAM_LLM_URL": f"http://127.0.0.1:{self._port}/v1",
            "PHOTOGRAM_LLM_KEY": self._key,
            "PHOTOGRAM_LLM_MODEL": SMOLLM2.name,
            "PHOTOGRAM_LLM_PRESET": SMOLLM2.name,
        }

    def keep_running(self) -> None:
        """Start the engine, report when it is ready, and restart it if it ended; give up after repeated failures."""
        now = time.monotonic()
        if self._is_given_up or now - self._polled_at < _POLL_S:
            return
        self._polled_at = now
        if not self.child.is_running:
            self._start()
        elif not self._is_ready and self._answers():
            self._is_ready, self._failures = True, 0
            print(f"language engine ready after {now - self.child.started_at:.0f} s", file=sys.stderr, flush=True)

    def _start(self) -> None:
        if self.child.starts == 0:
            self.child.start()
            return
        if self.child.starts > self._ends:  # this end has not been counted yet
            self._ends = self.child.starts
            self._failures += 0 if self._is_ready else 1
            self._is_ready = False
        if self._failures < MAX_FAILURES:
            self.child.keep_running()
            return
        self._is_given_up = True
        reason = f"the language engine ended {MAX_FAILURES} times before it was ready"
        print(f"photogram up: prompt rewriting is off: {reason}", file=sys.stderr, flush=True)

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_POLL_S)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
