"""The job loop: the one thread that starts jobs, steps the engine, and decides how each job ends."""

from __future__ import annotations

import logging
import queue
import time

from redis.exceptions import RedisError

from models.errors import DeadlineExceeded, DeviceLost, JobFailure
from models.jobs.records import LoadingNow
from workers.consumer import Consumer
from workers.executors import Event, Executors, Failed, Finished, Loading, Noted, Progressed
from workers.exit import end_process
from workers.finish import Finish
from workers.held_jobs import HeldJob, Phase
from workers.pace import Pace
from workers.prepare import Prepare
from workers.report import Report

log = logging.getLogger(__name__)

IDLE_WAIT_S = 0.25
DRAIN_S = 3.0
"""How long a worker that stops lets its jobs run before it requeues them, with what is drawn of them."""


class JobLoop:
    """Joins the stages; :meth:`run` is the life of a worker.

    Args:
        snapshot_every: after how many steps of each candidate what is drawn of a job is kept in Redis, in case this
            worker dies; ``None`` keeps it only when the worker is stopped.
    """

    def __init__(
        self,
        consumer: Consumer,
        prepare: Prepare,
        executors: Executors,
        finish: Finish,
        job_timeout_s: float,
        snapshot_every: int | None = None,
    ) -> None:
        self._consumer, self._held = consumer, consumer.held
        self._prepare, self._executors, self._finish = prepare, executors, finish
        self._report = Report(consumer.ledger, consumer.held)
        self._job_timeout_s, self._snapshot_every = job_timeout_s, snapshot_every
        self._pace = Pace()
        self._stopping = False

    def request_stop(self) -> None:
        """Let :meth:`run` return soon; may be called from a signal handler."""
        self._stopping = True

    def run(self) -> None:
        """Run jobs until :meth:`request_stop`; then finish those that end within 3 s, and requeue the rest.

        The process ends if its device is lost: only a new process can use the device again.
        """
        self._prepare.start()
        self._report.start()
        try:
            self._executors.use_free_time(lambda: self._stopping or not self._prepare.ready.empty())
            while not self._stopping:
                self._turn()
            self._drain()
        except DeviceLost as error:
            log.critical("this worker has lost its device and ends: %s", error)
            self._finish.close()  # jobs that have their images still end
            end_process(self._consumer, self._prepare)

    def _turn(self) -> None:
        self._start_ready()
        self._cancel_requested()
        self._fail_overdue()
        self._finish.try_again()
        for executor in self._executors.all:
            for event in executor.poll():
                self._handle(event)

    def _start_ready(self) -> None:
        wait_s = IDLE_WAIT_S if self._executors.are_idle else 0.0
        while True:
            try:
                job = self._prepare.ready.get(timeout=wait_s) if wait_s else self._prepare.ready.get_nowait()
            except queue.Empty:
                return
            if job is not None:
                self._start(job)
            wait_s = 0.0

    def _start(self, job: HeldJob) -> None:
        if job.failure is not None:
            self._fail(job, job.failure)
        elif job.start_running():  # unless it was canceled while it was ready
            self._pace.begin(job.execution_id, job.record.params.best_of)
            self._executors.of(job.kind).start(job)

    def _cancel_requested(self) -> None:
        for job in self._held.take_cancel_requests():
            if self._end(job):
                log.info("canceling job %s", job.job_id)
                self._finish.cancel(job)

    def _fail_overdue(self) -> None:
        for job in self._held.all():
            if job.held_s > self._job_timeout_s and job.phase is Phase.RUNNING:
                self._fail(job, DeadlineExceeded(f"the job did not finish within {self._job_timeout_s:g} s"))

    def _fail(self, job: HeldJob, failure: JobFailure) -> None:
        if self._end(job):
            self._finish.fail(job, failure)

    def _end(self, job: HeldJob) -> bool:
        """Start the end of a job, wherever it is; ``False`` if it is ending already."""
        is_running = job.phase is Phase.RUNNING
        if not job.start_ending():
            return False
        if is_running:
            self._pace.end(job.execution_id)
            self._executors.of(job.kind).stop(job.execution_id)
        return True

    def _handle(self, event: Event) -> None:
        job = self._held.get(event.execution_id)
        if job is None or job.phase is Phase.ENDING:
            return
        match event:
            case Progressed():
                if job.is_clock_stopped:
                    job.restart_clock()
                self._report.note(job, event.step, event.steps, event.preview)
                if self._snapshot_every and event.step % (self._snapshot_every * job.record.params.best_of) == 0:
                    self._report.note_snapshot(job, self._executors.of(job.kind).save(job.execution_id))
            case Noted():
                self._report.note_document(job, event.document)
            case Loading():
                self._note_loading(job, event)
            case Finished() | Failed():
                self._handle_end(job, event)

    def _handle_end(self, job: HeldJob, event: Finished | Failed) -> None:
        job.start_ending()
        used = self._pace.end(job.execution_id)
        if isinstance(event, Finished):
            self._finish.succeed(job, event, used)
        else:
            self._finish.fail(job, event.failure)

    def _note_loading(self, job: HeldJob, event: Loading) -> None:
        """Report what the job waits for; its deadline begins anew after a download, which may take hours."""
        if event.done_bytes is not None:
            job.stop_clock()
        elif job.is_clock_stopped:
            job.restart_clock()
        self._report.note_loading(job, LoadingNow(event.name, event.done_bytes, event.total_bytes))

    def _drain(self) -> None:
        self._prepare.stop()
        for job in self._held.all():
            if job.phase is Phase.RUNNING and job.is_clock_stopped:  # a download takes longer than this worker may
                self._requeue(job)
        deadline = time.monotonic() + DRAIN_S
        while len(self._held) and time.monotonic() < deadline:
            self._turn()
        self._finish.close()  # first, so that no job that has its result is requeued
        for job in self._held.all():
            self._requeue(job)

    def _requeue(self, job: HeldJob) -> None:
        self._keep(job)
        self._end(job)
        log.info("requeuing job %s", job.job_id)
        try:
            self._consumer.requeue(job)
        except RedisError as error:
            log.warning("job %s will be delivered again when its execution expires: %s", job.job_id, error)

    def _keep(self, job: HeldJob) -> None:
        """Keep what is drawn of the job for the worker that goes on; if that fails, it begins again."""
        snapshot = self._executors.of(job.kind).save(job.execution_id) if job.phase is Phase.RUNNING else None
        try:
            if snapshot is not None:
                self._consumer.ledger.keep_snapshot(job.job_id, job.execution_id, snapshot)
        except RedisError as error:
            log.warning("what is drawn of job %s was not kept: %s", job.job_id, error)
