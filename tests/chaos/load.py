"""Clients that submit one job after the other, and do not give up when the service does not answer."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

SIDE_PX, STEPS = 64, 20
STEP_PX = SIDE_PX * SIDE_PX * STEPS
"""The work of one job."""
PAUSE_S = 0.2
ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Done:
    """A job that ended; times are monotonic."""

    job_id: str
    submitted_at: float
    ended_at: float


class Clients:
    """Threads of which each submits a job, waits for its end, and begins again, until :meth:`stop`."""

    def __init__(self, url: str, key: str, count: int) -> None:
        self.accepted: set[str] = set()
        """The ids of all jobs of which a client was told that they are accepted."""
        self.done: list[Done] = []
        self.refused: set[int] = set()
        """The statuses of the answers that were no success."""
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"}
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing new, and wait until the jobs have ended."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def next_end(self, after: float, timeout_s: float) -> float:
        """The time at which a job ended that was submitted later than ``after``."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            ends = [each.ended_at for each in self.done if each.submitted_at > after]
            if ends:
                return min(ends)
            time.sleep(0.05)
        raise AssertionError(f"no job ended within {timeout_s:g} s; answers were {sorted(self.refused)}")

    def get(self, path: str) -> Any:
        """The JSON behind ``path``."""
        with self._client() as client:
            return client.get(path).raise_for_status().json()

    def status_of(self, url: str) -> int:
        """The status of the answer to a request for ``url``, whatever its host."""
        with self._client() as client:
            return client.get(httpx.URL(url).path).status_code

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, headers=self._headers, timeout=20)

    def _run(self) -> None:
        with self._client() as client:
            while not self._stopping.is_set():
                began_at, job_id = time.monotonic(), self._submit(client)
                self.accepted.add(job_id)
                self._wait(client, job_id)
                self.done.append(Done(job_id, began_at, time.monotonic()))

    def _submit(self, client: httpx.Client) -> str:
        params = {"prompt": "a red apple", "num_inference_steps": STEPS, "width": SIDE_PX, "height": SIDE_PX}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"kind": "txt2img", "params": params}
        return str(self._insist(client, "POST", "/v1/jobs", json=body, headers=headers)["id"])

    def _wait(self, client: httpx.Client, job_id: str) -> None:
        while self._insist(client, "GET", f"/v1/jobs/{job_id}?wait=5")["status"] not in ENDED:
            continue

    def _insist(self, client: httpx.Client, method: str, path: str, **request: Any) -> Any:
        """The answer, once there is one."""
        while True:
            try:
                answer = client.request(method, path, **request)
            except httpx.TransportError:
                time.sleep(PAUSE_S)
                continue
            if answer.is_success:
                return answer.json()
            assert answer.status_code in (429, 503), f"{method} {path}: {answer.status_code} {answer.text}"
            self.refused.add(answer.status_code)
            time.sleep(PAUSE_S)
