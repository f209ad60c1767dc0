"""What ``benchmarks.hostile`` stands on: a running service with two API keys, its bystander, and its memory."""

from __future__ import annotations

import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import psutil
from PIL import Image

from service.backbone.connections import connect
from service.backbone.keys import add_key, make_key
from service.short_lived import running_service

ALONE_JOBS = 5
"""How many small jobs are timed before the attack."""
SETTLE_S = 5.0
"""How long after an attack the memory is read."""
_TIMEOUT_S = 600.0
_HEALTH_PAUSE_S = 0.1
_MIB = 1 << 20
_ENDED = ("succeeded", "failed", "canceled")


@dataclass(frozen=True)
class Target:
    """The service as one API key sees it: the attacker's, or the bystander's."""

    url: str
    key: str

    def post(self, path: str, *, media_type: str | None = None, **content: Any) -> httpx.Response:
        """Post ``content``, as :func:`httpx.post` takes it; never raises for the status."""
        headers = self.headers | ({} if media_type is None else {"Content-Type": media_type})
        return httpx.post(self.url + path, headers=headers, timeout=_TIMEOUT_S, **content)

    def upload(self, image: bytes) -> str:
        """Upload a PNG file; returns its source for jobs."""
        answer = self.post("/v1/inputs", media_type="image/png", content=image).raise_for_status()
        return str(answer.json()["input"])

    def wait_for(self, job_ids: Sequence[str]) -> list[str]:
        """The states in which the jobs end."""
        return [self._end_of(job_id) for job_id in job_ids]

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def _end_of(self, job_id: str) -> str:
        while True:
            answer = httpx.get(f"{self.url}/v1/jobs/{job_id}?wait=30", headers=self.headers, timeout=_TIMEOUT_S)
            if answer.is_success and answer.json()["status"] in _ENDED:
                return str(answer.json()["status"])


def flat_png(mode: str, size: tuple[int, int], colour: int = 0) -> bytes:
    """An image of one colour: a small file with many pixels."""
    buffer = BytesIO()
    Image.new(mode, size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def outcomes(found: Iterable[object]) -> str:
    """How often each outcome came, as in ``422 x 3``."""
    return ", ".join(f"{outcome} x {count}" for outcome, count in Counter(found).items()) or "none"


@dataclass(frozen=True)
class Rig:
    """A running service with an attacker's and a bystander's key."""

    attacker: Target
    bystander: Target
    processes: Mapping[str, psutil.Process]
    """Gateway and worker."""

    def reset_peaks(self) -> None:
        """Let the kernel count the peak of each process anew."""
        for process in self.processes.values():
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")

    def memory(self) -> dict[str, dict[str, int]]:
        """RSS and its peak in MiB for each process; empty for a process that has ended."""
        return {name: _memory(process) for name, process in self.processes.items()}


def _memory(process: psutil.Process) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return {}
    values = {name: text.split() for name, _, text in (line.partition(":") for line in lines)}
    return {"rss": int(values["VmRSS"][0]) // 1024, "peak": int(values["VmHWM"][0]) // 1024}


@contextmanager
def running_rig(environment: Mapping[str, str]) -> Iterator[Rig]:
    """Start ``photogram up`` with further environment variables, and give it two API keys."""
    keys = make_key(), make_key()
    variables: dict[str, Any] = {"PHOTOGRAM_LOG_LEVEL": "WARNING", **environment}
    with (
        tempfile.TemporaryDirectory(prefix="photogram-hostile-") as data,
        running_service(data, keys[0], **variables) as url,
    ):
        children = psutil.Process().children(recursive=True)
        processes = {
            "gateway": _running(children, "service.commands.gateway"),
            "worker": _running(children, "workers"),
        }
        with connect(processes["gateway"].environ()["REDIS_URL"], "benchmark") as connection:
            add_key(connection, keys[1], "bystander")
        yield Rig(Target(url, keys[0]), Target(url, keys[1]), processes)


def _running(children: Iterable[psutil.Process], module: str) -> psutil.Process:
    return next(child for child in children if module in child.cmdline())


@dataclass
class Repeated:
    """Calls something again and again in a thread of its own, and keeps how long each call took."""

    call: Callable[[], None]
    pause_s: float = 0.0
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call for as long as the block runs, at least once; a last call is waited for."""
        stopping = threading.Event()
        thread = threading.Thread(target=self._run, args=(stopping,))
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def _run(self, stopping: threading.Event) -> None:
        while True:
            self.once()
            if stopping.wait(self.pause_s):
                return

    def once(self) -> None:
        """Call, and keep how long it took and how it failed."""
        start = time.perf_counter()
        try:
            self.call()
        except (httpx.HTTPError, RuntimeError) as error:
            self.failures.append(f"{type(error).__name__}: {error}")
        self.seconds.append(time.perf_counter() - start)


def small_job(target: Target) -> None:
    """Have the smallest image drawn and wait for it; raises :class:`RuntimeError` if it cannot be had."""
    params = {"prompt": "a red apple", "num_inference_steps": 1, "seed": secrets.randbelow(1000)}
    answer = target.post("/v1/jobs", json={"kind": "txt2img", "params": params})
    ended = target.wait_for([answer.json()["id"]]) if answer.is_success else [str(answer.status_code)]
    if ended != ["succeeded"]:
        raise RuntimeError(f"the small job ended as {ended[0]}")


def check_health(url: str) -> None:
    """Ask ``/healthz`` on a new connection."""
    httpx.get(url + "/healthz", timeout=_TIMEOUT_S).raise_for_status()


def measure(rig: Rig, attack: Callable[[Target], str]) -> dict[str, Any]:
    """Run ``attack`` and say what it did to the bystander, to the health checks and to the memory."""
    alone = Repeated(lambda: small_job(rig.bystander))
    for _ in range(ALONE_JOBS):
        alone.once()
    before = rig.memory()
    rig.reset_peaks()
    attacked = Repeated(lambda: small_job(rig.bystander))
    health = Repeated(lambda: check_health(rig.bystander.url), _HEALTH_PAUSE_S)
    with health.running(), attacked.running():
        start = time.perf_counter()
        what_came = attack(rig.attacker)
        attack_s = time.perf_counter() - start
    time.sleep(SETTLE_S)
    return {
        "came_of_it": what_came,
        "attack_s": round(attack_s, 1),
        "small_job_alone_s": round(median(alone.seconds), 2),
        "small_job_attacked_s": round(max(attacked.seconds), 2),
        "healthz_worst_s": round(max(health.seconds), 3),
        "failed": [*attacked.failures, *health.failures],
        "memory_mib": {name: _growth(before[name], now) for name, now in rig.memory().items()},
    }


def _growth(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int] | str:
    if not now:
        return "the process ended"
    return {"start": before["rss"], "peak_above": now["peak"] - before["rss"], "end_above": now["rss"] - before["rss"]}
