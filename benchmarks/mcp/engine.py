"""An engine that draws nothing: each job runs for a time of its own, and ends with an image in a colour of its own."""

from __future__ import annotations

import heapq
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from PIL import Image as pillow
from redis import Redis

from models.jobs.kinds import DIFFUSION_QUEUE
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.results import Image
from service.backbone.ledger import Ledger
from service.backbone.store import ImageStore
from service.backbone.turns import Turns

SIDE_PX = 128
STEPS = 4
"""So often each job reports how far it is."""
BEAT_S, POLL_S = 5.0, 0.02
RECORD_TTL_S = 86400
_SHADES, _SHADE = 10, 25


def duration_s(seed: int, longest_s: float) -> float:
    """How long the job with that seed runs, from 1 s to ``longest_s``; half of all are below the geometric mean."""
    return math.exp(random.Random(seed).uniform(0.0, math.log(longest_s)))


def colour(seed: int) -> tuple[int, int, int]:
    """Red, green and blue of the image with that seed; seeds below 1,000 differ by 25 or more in one of them."""
    return tuple(seed // _SHADES**place % _SHADES * _SHADE for place in range(3))  # type: ignore[return-value]


def has_colour(image: pillow.Image, seed: int) -> bool:
    """Whether ``image`` is the one with that seed, also after lossy compression."""
    found = image.convert("RGB").getpixel((SIDE_PX // 2, SIDE_PX // 2))
    assert isinstance(found, tuple)
    return all(abs(have - want) < _SHADE // 2 for have, want in zip(found, colour(seed), strict=True))


@dataclass(order=True)
class _Report:
    """The next thing that is to be told of a job."""

    at: float
    """When, by the monotonic clock."""
    job_id: str
    execution_id: str = field(compare=False)
    step: int = field(compare=False)
    step_s: float = field(compare=False)
    """The seconds between two steps."""


@dataclass
class Engine:
    """Runs all jobs at once.

    Args:
        longest_s: the longest job.
        scale: how many of these seconds pass in a real one.
    """

    connection: Redis
    data: Path
    longest_s: float
    scale: float
    drawn: Counter[str] = field(default_factory=Counter)
    """How often each job was drawn."""
    ending: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        """Open the parts of the server that a worker uses."""
        self._ledger = Ledger(self.connection, RECORD_TTL_S)
        self._store = ImageStore(self.data / "images")
        self._turns = Turns(self.connection, DIFFUSION_QUEUE)
        self._due: list[_Report] = []

    def run(self) -> None:
        """Work until it is time to end."""
        beat_at = 0.0
        while not self.ending.is_set():
            if time.monotonic() >= beat_at:
                self._ledger.beat("engine")
                beat_at = time.monotonic() + BEAT_S
            while self._due and self._due[0].at <= time.monotonic():
                self._report(heapq.heappop(self._due))
            job_id = self._turns.take() or self._turns.wait(POLL_S)
            if job_id is not None:
                self._begin(job_id)

    def _begin(self, job_id: str) -> None:
        record, execution_id = self._ledger.read(job_id), uuid4().hex
        if record is None or self._ledger.start(job_id, execution_id) is None:
            return
        step_s = duration_s(_seed(record), self.longest_s) / self.scale / STEPS
        self._report(_Report(time.monotonic(), job_id, execution_id, 0, step_s))

    def _report(self, due: _Report) -> None:
        if due.step == STEPS:
            self._finish(due)
            return
        if self._ledger.progress(due.job_id, due.execution_id, due.step, STEPS) == "cancel":
            self._ledger.cancel(due.job_id, due.execution_id)
            return
        later = _Report(due.at + due.step_s, due.job_id, due.execution_id, due.step + 1, due.step_s)
        heapq.heappush(self._due, later)

    def _finish(self, due: _Report) -> None:
        record = self._ledger.read(due.job_id)
        assert record is not None
        buffer = BytesIO()
        pillow.new("RGB", (SIDE_PX, SIDE_PX), colour(_seed(record))).save(buffer, "PNG")
        self._store.write(record.image_id, buffer.getvalue())
        image = Image(record.image_id, SIDE_PX, SIDE_PX, len(buffer.getvalue()))
        self._ledger.succeed(due.job_id, due.execution_id, [image], {})
        self.drawn[due.job_id] += 1


def _seed(record: JobRecord) -> int:
    """The seed that a client asked for."""
    assert isinstance(record.params, DrawParams) and record.params.seed is not None
    return record.params.seed


@contextmanager
def engine_running(engine: Engine) -> Iterator[None]:
    """Run ``engine`` in a thread."""
    thread = threading.Thread(target=engine.run)
    thread.start()
    try:
        yield
    finally:
        engine.ending.set()
        thread.join()
