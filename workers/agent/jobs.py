"""Running jobs for an agent: submitted for the key that the agent works for, within its budget, and waited for."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from anyio import to_thread

from models.errors import FieldProblem, InvalidTicket, PhotogramError, StorageUnavailable
from models.jobs.cost import Cost
from models.jobs.options import JobOptions
from models.jobs.params import DRAWN_SEED_MAX, DrawRequest, JobParams, JobRequest
from models.jobs.records import JobRecord, JobStatus
from models.jobs.sources import sources_of, with_sources
from models.jobs.warnings import warnings_of
from service.backbone.admission import QueueFull
from service.backbone.agent_jobs import Use
from service.backbone.allowances import LimitReached
from service.jobs.caller import Caller
from service.jobs.errors import ImageGone, JobNotFound
from service.jobs.service import JobService
from workers.agent.steps import RecordedSteps

_WAIT_S = 30.0
_AGAIN_S, _AGAIN_MAX_S = 1.0, 30.0
"""How long to wait before a job is submitted again that a limit of the key or of the queue refused; it doubles."""
TAG = "agent"


class JobRefused(PhotogramError):
    """A job of the agent cannot be done, or failed; the message is for the planner."""


@dataclass(frozen=True)
class Done:
    """A job that succeeded."""

    record: JobRecord
    images: tuple[bytes, ...]
    """The files of its images."""


class AgentJobs:
    """The jobs of one agent job.

    Args:
        caller: reads the key that the agent works for; its limits hold for these jobs as for all others.
        read: the bytes of a file of the workspace.
        seed: that of the agent job; seeds that a call leaves open follow from it.
        model: the model that draws where a call names none.
    """

    def __init__(
        self,
        jobs: JobService,
        caller: Callable[[], Caller],
        steps: RecordedSteps,
        read: Callable[[str], Awaitable[bytes]],
        *,
        job_id: str,
        seed: int,
        model: str | None,
        priority: int,
    ) -> None:
        self._jobs, self._caller, self._steps, self._read = jobs, caller, steps, read
        self._job_id, self._seed, self._model, self._priority = job_id, seed, model, priority
        self._running: set[str] = set()

    async def run(self, key: str, request: JobRequest, *, draws: bool) -> Done:
        """Run a job as the step ``key``; the same step is the same job, whoever runs it again.

        Args:
            draws: whether the budget counts its images.

        Raises:
            JobRefused: it cannot be done, or failed.
            BudgetSpent: the budget has no room for it.
        """
        child_id = str(uuid.uuid5(uuid.NAMESPACE_OID, f"photogram agent {self._job_id} {key}"))
        complete = self._completed(key, await self._with_images(request))
        self._running.add(child_id)
        record = await self._submitted(key, child_id, complete, draws=draws)
        record = await self._ended(record)
        self._running.discard(child_id)
        if record.status is not JobStatus.SUCCEEDED:
            raise JobRefused(record.error_message or "the job was canceled")
        return Done(record, await self._images(record))

    async def _ended(self, record: JobRecord) -> JobRecord:
        """The job when it has ended; it is canceled when the time of the budget is over."""
        try:
            while not record.status.is_terminal:
                if self._steps.seconds_left <= 0:
                    await self._jobs.abandon([record.job_id])
                    self._steps.require_time()
                wait_s = min(_WAIT_S, max(self._steps.seconds_left, 0.0))
                record = await self._jobs.wait(await self._owner(), record.job_id, wait_s)
        except JobNotFound as error:
            raise JobRefused("the job was deleted") from error
        return record

    async def cancel_running(self) -> None:
        """Cancel the jobs that run, because nobody needs them any more."""
        await self._jobs.abandon(tuple(self._running))

    async def _owner(self) -> Caller:
        return await to_thread.run_sync(self._caller)

    async def _images(self, record: JobRecord) -> tuple[bytes, ...]:
        try:
            return tuple(await to_thread.run_sync(self._jobs.read_images, record))
        except ImageGone as error:
            raise JobRefused(str(error)) from error

    async def _submitted(self, key: str, child_id: str, request: JobRequest, *, draws: bool) -> JobRecord:
        """The job in the ledger; while a limit refuses it, it is submitted again for as long as the budget has time."""
        pause_s = _AGAIN_S

        async def reserve(params: JobParams, cost: Cost) -> None:
            images = params.best_of if draws else 0
            await self._steps.spend(f"{key} job", Use(steps=0, images=images, step_px=cost.step_px))

        options = JobOptions(tags=(TAG,), metadata={TAG: self._job_id})
        while True:
            try:
                caller = await self._owner()
                accepted = await self._jobs.submit(caller, request, job_id=child_id, options=options, reserve=reserve)
            except InvalidTicket as error:
                raise JobRefused(str(error)) from error
            except (QueueFull, LimitReached, StorageUnavailable) as error:
                if self._steps.seconds_left < pause_s:
                    raise JobRefused(f"the job was not accepted in time: {error}") from error
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _AGAIN_MAX_S)
            else:
                return accepted.record

    async def _with_images(self, request: JobRequest) -> JobRequest:
        """``request`` with the files of the workspace stored, which it names as its images."""
        stored: dict[str, str] = {}
        problems: list[FieldProblem] = []
        for path, name, _ in sources_of(request):
            try:
                stored[path] = (await to_thread.run_sync(self._jobs.store_image, await self._read(name))).source
            except PhotogramError as error:
                problems.append(FieldProblem(path, str(error)))
        if problems:
            raise JobRefused(str(InvalidTicket(problems)))
        return with_sources(request, stored)

    def _completed(self, key: str, request: JobRequest) -> JobRequest:
        """``request`` with what follows from the agent job where it leaves that open: seed, model and priority."""
        found: dict[str, Any] = {"priority": self._priority}
        if isinstance(request, DrawRequest):
            found |= {"seed": self._seed_of(key), "model": self._model}
        missing = {name: value for name, value in found.items() if getattr(request, name, "") is None}
        return replace(request, **missing)

    def _seed_of(self, key: str) -> int:
        digest = hashlib.sha256(f"{self._seed} {key}".encode()).digest()
        return int.from_bytes(digest[:8]) % (DRAWN_SEED_MAX + 1)


def facts_of(done: Done, files: Mapping[str, int | None]) -> dict[str, Any]:
    """What a planner is told of a job that succeeded: the same, whenever the job runs again.

    Args:
        files: where its images are saved, with their seeds.
    """
    record = done.record
    images = [
        {"file": name, "width": image.width, "height": image.height, "seed": seed}
        for (name, seed), image in zip(files.items(), record.images, strict=True)
    ]
    warnings = warnings_of(record.params)
    if images:
        return {"images": images, "warnings": warnings} if warnings else {"images": images}
    return dict(record.document) if isinstance(record.document, dict) else {}
