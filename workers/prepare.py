"""The first stage: takes jobs while there is room, has prompts rewritten and images loaded, lets suspects run alone.

Images are fetched in threads of their own, apart from those that decode: a job that waits for the network takes no room
from others. How many may wait for it is up to :mod:`workers.fetching.gate`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from itertools import chain, repeat

from PIL.Image import Image
from redis.exceptions import RedisError

from models.errors import InternalFailure, JobFailure, StorageUnavailable
from service.backbone.connections import write_refusal
from workers.consumer import Consumer
from workers.fetching.slots import lane_of
from workers.held_jobs import HeldJob, Phase
from workers.images import Fetched, ImageLoader, NoLongerWanted
from workers.rewriting import Rewriting, wants_rewrite
from workers.safety import Safety

log = logging.getLogger(__name__)

LOADERS = 4
"""How many jobs have their images decoded at the same time."""
PREPARED_MAX = 32
"""How many jobs may be in ``PREPARING`` without waiting for a fetch; these do not count as waiting for an executor.

They hold no decoded image while they wait for a loader, and a job behind them that needs none must not wait for them.
"""
_TAKE_S = 1.0
_TAKE_BESIDE_WAITING_S = 0.1
"""How long to wait for a job of the queue while others wait until a fetch has ended."""
_POLL_S = 0.02
OTHER_KEYS_MAX = 4
"""How many jobs beyond the room of the executors a worker usually takes from API keys of whom it holds none."""
_REDIS_PAUSE_S = 1.0
_STORAGE_PAUSE_S = 0.25
_STORE_PAUSES_S = (0.25, 0.5, 1.0, 2.0)
"""The time between two attempts to read the images of a job; the last pause repeats."""

ReadyQueue = queue.SimpleQueue["HeldJob | None"]
"""Jobs in ``READY`` on their way to the loop; ``None`` only wakes the loop."""


class Prepare(threading.Thread):
    """Takes jobs and puts them into ``ready`` once their prompt and images are there, or could not be had.

    Args:
        room: how many more jobs the executors could begin soon; all others stay in the queue, for any worker. Below 0
            if more wait.
        can_store: whether the results of further jobs could be stored now; otherwise no job is taken.
        safety: looks at the images that jobs start from; ``None`` looks at none.
        other_keys_max: how many jobs beyond ``room`` are taken from API keys of whom this worker holds none.
    """

    def __init__(
        self,
        consumer: Consumer,
        loader: ImageLoader,
        rewriting: Rewriting,
        room: Callable[[], int],
        ready: ReadyQueue,
        can_store: Callable[[], bool] = lambda: True,
        safety: Safety | None = None,
        other_keys_max: int = OTHER_KEYS_MAX,
    ) -> None:
        super().__init__(name="prepare", daemon=True)
        self.ready = ready
        self._consumer, self._held = consumer, consumer.held
        self._loader, self._rewriting, self._room = loader, rewriting, room
        self._can_store, self._safety, self._other_keys_max = can_store, safety, other_keys_max
        self._is_refused = False
        self._loading: queue.SimpleQueue[tuple[HeldJob, Fetched]] = queue.SimpleQueue()
        self._preparing: set[str] = set()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Take no more jobs, and end the rewriting of prompts; returns when no further job can be taken."""
        self.stop_taking()
        self._rewriting.stop()

    def stop_taking(self, timeout_s: float | None = None) -> None:
        """Take no more jobs; returns when no further job can be taken, or after ``timeout_s``."""
        self._stopping.set()
        self.join(timeout_s)

    def run(self) -> None:
        """Take jobs until stopped; goes on when Redis cannot be reached."""
        self._rewriting.start()
        for number in range(LOADERS):
            threading.Thread(target=self._load_all, name=f"load-{number}", daemon=True).start()
        while not self._stopping.is_set():
            try:
                self._turn()
            except RedisError as error:
                self._pause(error)
            except Exception:
                log.exception("a job could not be taken")
                self._stopping.wait(_REDIS_PAUSE_S)

    def _pause(self, error: RedisError) -> None:
        reason = write_refusal(error)
        if reason is None:
            log.warning("no job can be taken from Redis; trying again: %s", error)
        elif not self._is_refused:  # once, because this may last for hours
            log.error("no job can be taken, because Redis accepts no writes: %s", reason)
        self._is_refused = reason is not None
        self._stopping.wait(_REDIS_PAUSE_S)

    def _turn(self) -> None:
        if not self._can_store():
            self._stopping.wait(_STORAGE_PAUSE_S)
            return
        job = self._take()
        self._is_refused = False
        if job is None:
            return
        if job.is_suspect:
            self._wait_for_held(1)
            job.restart_clock()  # the time that it waited for other jobs is not its own
            self._prepare(job)
            self._wait_for_held(0)
        else:
            self._prepare(job)

    def _take(self) -> HeldJob | None:
        """The next job; while there is no room for it, only that of an API key of whom this worker holds none.

        Such a job need not wait until jobs of other keys have ended, with which it shares the device.
        """
        left = self._room() - self.ready.qsize()
        if len(self._preparing) < PREPARED_MAX and left > 0:
            return self._consumer.take(_TAKE_BESIDE_WAITING_S if self._consumer.gate.has_waiting else _TAKE_S)
        job = None
        if len(self._preparing) < PREPARED_MAX and left > -self._other_keys_max:
            job = self._consumer.take_of_another()
        if job is None:
            time.sleep(_POLL_S)
        return job

    def _wait_for_held(self, count: int) -> None:
        while len(self._held) > count and not self._stopping.is_set():
            time.sleep(_POLL_S)

    def _prepare(self, job: HeldJob) -> None:
        """Have the prompt rewritten and the images loaded, or call the job ready if it needs neither."""
        is_rewritten = wants_rewrite(job.record)
        if not is_rewritten and not any(True for _ in job.record.params.sources):
            if job.become_ready():
                self.ready.put(job)
            return
        if not job.start_preparing():
            self._consumer.gate.leave(job.record)
            return
        if is_rewritten:
            self._preparing.add(job.execution_id)
            self._rewriting.begin(job, self._after_rewrite)
        else:
            self._after_rewrite(job)

    def _after_rewrite(self, job: HeldJob) -> None:
        if lane_of(job.record) is None:
            self._preparing.add(job.execution_id)
            self._loading.put((job, {}))
        else:
            self._preparing.discard(job.execution_id)
            threading.Thread(target=self._fetch, args=(job,), name=f"fetch-{job.job_id}", daemon=True).start()

    def _fetch(self, job: HeldJob) -> None:
        """Fetch the job's images and have them decoded."""
        fetched: Fetched = {}
        try:
            if job.phase is not Phase.ENDING:
                self._write_rewrite(job)
                fetched = self._consumer.gate.run(job.record, lambda: self._loader.fetch(job.record.params))
        except Exception as error:
            self._end_preparing(job, failure=_failure(job, error))
            return
        finally:
            self._consumer.gate.leave(job.record)
        self._preparing.add(job.execution_id)
        self._loading.put((job, fetched))

    def _load_all(self) -> None:
        while True:
            self._load_next()

    def _load_next(self) -> None:
        """Load the images of one job; a function of its own, so that a thread that waits refers to no image."""
        job, fetched = self._loading.get()
        try:
            self._load(job, fetched)
        finally:
            self._preparing.discard(job.execution_id)

    def _load(self, job: HeldJob, fetched: Fetched) -> None:
        """Load the job's images; a failure ends this job only, and a job that was canceled meanwhile is dropped."""
        if job.phase is Phase.ENDING:
            return
        if lane_of(job.record) is None:  # else it is written already
            self._write_rewrite(job)
        try:
            images = self._loaded(job, fetched)
            if self._safety is not None:
                self._safety.check_inputs(job.record, images)
        except NoLongerWanted:
            return
        except Exception as error:
            self._end_preparing(job, failure=_failure(job, error))
        else:
            self._end_preparing(job, images)

    def _loaded(self, job: HeldJob, fetched: Fetched) -> Mapping[str, Image]:
        """The job's images, as soon as their store can be read; raises as :meth:`ImageLoader.load`."""
        pauses = chain(_STORE_PAUSES_S, repeat(_STORE_PAUSES_S[-1]))
        while True:
            try:
                images = self._loader.load(
                    job.record.params, job.catalog, fetched, lambda: job.phase is not Phase.ENDING
                )
            except StorageUnavailable as error:
                self._wait_for_store(job, error, next(pauses))
                continue
            if job.is_clock_stopped:
                job.restart_clock()
            return images

    def _wait_for_store(self, job: HeldJob, error: StorageUnavailable, pause_s: float) -> None:
        """Let time pass that is not the job's; raises :class:`NoLongerWanted` if the job or this worker ends."""
        if not job.is_clock_stopped:  # once, because this may last for hours
            log.error("job %s waits for the images that it starts from: %s", job.job_id, error)
        job.stop_clock()
        if job.phase is Phase.ENDING or self._stopping.wait(pause_s):
            raise NoLongerWanted from error

    def _end_preparing(
        self, job: HeldJob, images: Mapping[str, Image] | None = None, failure: JobFailure | None = None
    ) -> None:
        if failure is not None and self._stopping.is_set():
            return  # the loop requeues the job
        if job.become_ready(images, failure):
            self.ready.put(job)

    def _write_rewrite(self, job: HeldJob) -> None:
        """Write to the ledger what became of the prompt, if it was to be rewritten."""
        try:
            if job.record.rewrite is not None:
                self._consumer.ledger.note_rewrite(job.job_id, job.execution_id, job.record.rewrite)
        except RedisError as error:
            log.warning("the rewritten prompt of job %s was not written: %s", job.job_id, error)


def _failure(job: HeldJob, error: Exception) -> JobFailure:
    if isinstance(error, JobFailure):
        return error
    log.error("the images of job %s could not be loaded", job.job_id, exc_info=error)
    return InternalFailure("the images that the job starts from could not be loaded")
