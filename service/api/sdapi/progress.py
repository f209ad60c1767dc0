"""How far a key's own calls are, and how they are ended early."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from models.jobs.records import JobRecord, JobStatus
from service.api.auth import CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import READING, answers
from service.api.sdapi.fields import TASK_ID, SdBody
from service.api.state import Gateway, GatewayState
from service.backbone.callers import Call
from service.jobs.caller import Caller

router = APIRouter(tags=["a1111"])

_BEGUN = 0.01
"""What A1111 counts for having begun at all; 0 is only shown when nothing is done."""


class StateView(BaseModel):
    """A1111's state of the one call that it works on."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = Field(default=0, description="Images of the call; 0 if there is none.")
    job_timestamp: str = "0"
    job_no: int = Field(default=0, description="Images that are over.")
    sampling_step: int = 0
    sampling_steps: int = 0


class SdProgressView(BaseModel):
    """How far the key's oldest call is."""

    progress: float = Field(default=0, description="0 to 1; 0 if there is no call.")
    eta_relative: float = Field(default=0, description="Seconds that are left, if it goes on as so far.")
    state: StateView = StateView()
    current_image: str | None = Field(default=None, description="A preview in Base64, without a `data:` prefix.")
    textinfo: str | None = Field(default=None, description="What the image waits for before its first step.")
    current_task: str | None = None


class TaskBody(SdBody):
    """Which task is asked for."""

    id_task: str = Field(pattern=TASK_ID, description="The `force_task_id` of a call.")
    id_live_preview: int = Field(-1, description="The preview that the client has.")
    live_preview: bool = True


class TaskView(BaseModel):
    """How far one call is."""

    active: bool = False
    queued: bool = False
    completed: bool = False
    progress: float | None = None
    eta: float | None = None
    live_preview: str | None = Field(default=None, description="A `data:` URL.")
    id_live_preview: int = -1
    textinfo: str | None = None


@dataclass(frozen=True)
class _UnderWay:
    """A call and its jobs, not all of which are over."""

    call: Call
    records: list[JobRecord]

    @property
    def current(self) -> JobRecord:
        """The first job that is drawn, or else that waits."""
        waiting = [record for record in self.records if not record.status.is_terminal]
        return next((record for record in waiting if record.status is JobStatus.RUNNING), waiting[0])

    @property
    def progress(self) -> float:
        return min(_BEGUN + sum(map(_share, self.records)) / len(self.records), 1.0)

    @property
    def left_s(self) -> float:
        elapsed_s = time.time() - self.call.started_at
        return elapsed_s / self.progress - elapsed_s


def _share(record: JobRecord) -> float:
    return 1.0 if record.status.is_terminal else min(record.step / max(record.steps, 1), 1.0)


async def _under_way(gateway: Gateway, caller: Caller) -> list[_UnderWay]:
    """The key's calls, the oldest first, but those that lost the gateway that waited for them and are over."""
    found = []
    for call in await gateway.callers.calls(caller.key_id):
        read = await asyncio.gather(*(gateway.watcher.read(job_id) for job_id in call.job_ids))
        records = [record for record in read if record is not None]
        if not all(record.status.is_terminal for record in records):
            found.append(_UnderWay(call, records))
    return found


@router.get(
    "/sdapi/v1/progress", operation_id="sdProgress", summary="How far my call is", responses=answers(401, 422, 503)
)
async def get_progress(
    gateway: GatewayState,
    caller: CurrentBasicCaller,
    skip_current_image: Annotated[bool, Query(description="Leave the preview out.")] = False,
) -> SdProgressView:
    """How far the key's oldest call is; other keys' calls are never shown."""
    calls = await _under_way(gateway, caller)
    if not calls:
        return SdProgressView()
    oldest = calls[0]
    preview = None if skip_current_image else await gateway.callers.preview(oldest.current.job_id)
    return SdProgressView(
        progress=oldest.progress,
        eta_relative=oldest.left_s,
        state=_state(oldest),
        current_image=None if preview is None else preview.partition(",")[2],
        textinfo=oldest.current.loading,
        current_task=oldest.call.task_id,
    )


def _state(under_way: _UnderWay) -> StateView:
    call, records, current = under_way.call, under_way.records, under_way.current
    return StateView(
        interrupted=any(record.is_cancel_requested for record in records),
        job=f"scripts_{call.name}",
        job_count=len(records),
        job_timestamp=datetime.fromtimestamp(call.started_at).strftime("%Y%m%d%H%M%S"),
        job_no=sum(record.status.is_terminal for record in records),
        sampling_step=current.step,
        sampling_steps=current.steps,
    )


@router.post(
    "/internal/progress",
    operation_id="sdTaskProgress",
    summary="How far a task of mine is",
    openapi_extra=json_body(TaskBody, {"id_task": "task(my-own-id)", "id_live_preview": -1}),
    responses=answers(401, 413, 422, 503),
)
async def get_task_progress(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> TaskView:
    """How far the call with that `force_task_id` is, if this key made it."""
    body = await read_body(request, TaskBody)
    found = [each for each in await _under_way(gateway, caller) if each.call.task_id == body.id_task]
    if not found:
        is_over = await gateway.callers.has_ended(caller.key_id, body.id_task)
        return TaskView(completed=is_over, textinfo=None if is_over else "Waiting...")
    task, is_queued = found[0], found[0].current.status is JobStatus.QUEUED
    preview, preview_id = await _preview(gateway, body, task.current)
    return TaskView(
        active=not is_queued,
        queued=is_queued,
        progress=task.progress,
        eta=task.left_s,
        live_preview=preview,
        id_live_preview=preview_id,
        textinfo=task.current.loading,
    )


async def _preview(gateway: Gateway, body: TaskBody, current: JobRecord) -> tuple[str | None, int]:
    """The image's newest preview and its number, the step it was asked at; none if the client has it already."""
    if not body.live_preview or current.step == body.id_live_preview:
        return None, body.id_live_preview
    preview = await gateway.callers.preview(current.job_id)
    return preview, body.id_live_preview if preview is None else current.step


@router.post("/sdapi/v1/interrupt", operation_id="sdInterrupt", summary="End my calls", responses=READING)
async def interrupt(gateway: GatewayState, caller: CurrentBasicCaller) -> dict[str, str]:
    """Cancel the images of all calls of this key; the calls answer with those that are drawn already."""
    for each in await _under_way(gateway, caller):
        for record in each.records:
            await gateway.watcher.cancel(record.job_id)
    return {}


@router.post("/sdapi/v1/skip", operation_id="sdSkip", summary="Leave my current image out", responses=READING)
async def skip(gateway: GatewayState, caller: CurrentBasicCaller) -> None:
    """Cancel what is being drawn for the key's oldest call, which goes on with its other images."""
    for each in (await _under_way(gateway, caller))[:1]:
        for record in each.records:
            if record.status is JobStatus.RUNNING:
                await gateway.watcher.cancel(record.job_id)
