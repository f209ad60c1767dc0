"""The routes that show the progress of the API key's own calls, and end them early."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from models.jobs.records import JobRecord, JobStatus
from service.api.auth import BasicSubmitter, CurrentBasicCaller
from service.api.bodies import read_body
from service.api.documentation import json_body
from service.api.sdapi.errors import QUERYING, SENDING_JSON, STOPPING
from service.api.sdapi.progress.schemas import SdProgressView, TaskBody, TaskView
from service.api.sdapi.progress.views import progress_view, running_calls, task_view
from service.api.state import Gateway, GatewayState

router = APIRouter(tags=["a1111"])


@router.get("/sdapi/v1/progress", operation_id="sdProgress", summary="Read the progress", responses=QUERYING)
async def get_progress(
    gateway: GatewayState,
    caller: CurrentBasicCaller,
    skip_current_image: Annotated[bool, Query(description="Whether to leave out the preview.")] = False,
) -> SdProgressView:
    """The progress of the oldest running call of the API key. Calls of other keys are never shown."""
    calls = await running_calls(gateway, caller)
    if not calls:
        return SdProgressView()
    oldest = calls[0]
    preview = None if skip_current_image else await gateway.callers.preview(oldest.current.job_id)
    return progress_view(oldest, preview)


@router.post(
    "/internal/progress",
    operation_id="sdTaskProgress",
    summary="Read the progress of one call",
    openapi_extra=json_body(TaskBody, {"id_task": "task(my-own-id)", "id_live_preview": -1}),
    responses=SENDING_JSON,
)
async def get_task_progress(request: Request, gateway: GatewayState, caller: CurrentBasicCaller) -> TaskView:
    """The progress of the call with that `force_task_id`, if this API key made it."""
    body = await read_body(request, TaskBody)
    calls = await running_calls(gateway, caller)
    found = next((each for each in calls if each.call_state.task_id == body.id_task), None)
    if found is None:
        has_ended = await gateway.callers.has_ended(caller.key_id, body.id_task)
        return TaskView(completed=has_ended, textinfo=None if has_ended else "Waiting...")
    return task_view(found, *await _preview(gateway, body, found.current))


async def _preview(gateway: Gateway, body: TaskBody, current: JobRecord) -> tuple[str | None, int]:
    """The newest preview and its id, the current step; no preview if the client has this one already."""
    if not body.live_preview or current.step == body.id_live_preview:
        return None, body.id_live_preview
    preview = await gateway.callers.preview(current.job_id)
    return preview, body.id_live_preview if preview is None else current.step


@router.post("/sdapi/v1/interrupt", operation_id="sdInterrupt", summary="Interrupt all calls", responses=STOPPING)
async def interrupt(gateway: GatewayState, caller: BasicSubmitter) -> dict[str, str]:
    """Cancel the jobs of all calls of this API key. The calls answer with the images that have finished."""
    for each in await running_calls(gateway, caller):
        for record in each.records:
            await gateway.watcher.cancel(record.job_id)
    return {}


@router.post("/sdapi/v1/skip", operation_id="sdSkip", summary="Skip the current image", responses=STOPPING)
async def skip(gateway: GatewayState, caller: BasicSubmitter) -> None:
    """Cancel the running job of the oldest call of this API key. The call continues with its other images."""
    for each in (await running_calls(gateway, caller))[:1]:
        for record in each.records:
            if record.status is JobStatus.RUNNING:
                await gateway.watcher.cancel(record.job_id)
