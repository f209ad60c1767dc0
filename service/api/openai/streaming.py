"""Images as server-sent events: previews while a job runs, then its image once it has succeeded."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from models.jobs.records import JobRecord, JobStatus
from service.api.errors import ApiError, to_api_error
from service.api.openai.errors import describe, failed_job
from service.api.openai.response_format import ResponseFormat
from service.api.openai.schemas import ImageFields, Usage
from service.api.openai.translate import wire_name
from service.api.openai.views import draw_params, shown_quality, shown_size
from service.api.sse import FROM_THE_START, KEEP_ALIVE, KEEP_ALIVE_S, EventStream, frame
from service.api.state import Gateway
from service.api.stopping import GatewayStops

GENERATION, EDIT = "image_generation", "image_edit"


@dataclass(frozen=True)
class Stream:
    """The events of the jobs of one request."""

    gateway: Gateway
    name: str
    """``GENERATION`` or ``EDIT``, with which the names of the events begin."""
    fields: ImageFields
    response_format: ResponseFormat

    async def events(self, records: list[JobRecord]) -> AsyncIterator[str]:
        """The events of all jobs, one job after the other; an error ends the stream."""
        for record in records:
            async with aclosing(self._previews(record)) as previews:  # type: ignore[type-var]
                async for preview in previews:
                    yield preview
            try:
                yield await self._completed(record)
            except ApiError as error:
                yield _error_frame(error)
                return

    async def _previews(self, record: JobRecord) -> AsyncIterator[str]:
        """At most ``partial_images`` previews, evenly spread over the steps of the job."""
        sent = 0
        async with aclosing(self.gateway.watcher.events(record.job_id, FROM_THE_START, KEEP_ALIVE_S)) as events:
            async for event in events:
                if event is None:
                    yield KEEP_ALIVE
                elif event.kind == "preview" and sent < self.response_format.partial_images:
                    preview = json.loads(event.data)
                    if await self._is_due(record, preview["step"], sent):
                        yield await self._partial(record, preview["image"], sent)
                        sent += 1

    async def _is_due(self, record: JobRecord, step: int, sent: int) -> bool:
        """Whether the next preview is due at ``step``; the worker reports the number of steps once it is known."""
        current = await self.gateway.watcher.read(record.job_id) or record
        return step * (self.response_format.partial_images + 1) >= current.steps * (sent + 1)

    async def _partial(self, record: JobRecord, data_url: str, index: int) -> str:
        params = draw_params(record)
        size = (params.width, params.height)
        file = await self.response_format.preview(self.gateway.decoding, data_url, size)
        return self._frame("partial_image", record, file, partial_image_index=index)

    async def _completed(self, record: JobRecord) -> str:
        finished = await self.gateway.watcher.read(record.job_id) or record
        if finished.status is not JobStatus.SUCCEEDED:
            raise failed_job(finished, wire_name)
        (png,) = await run_in_threadpool(self.gateway.jobs.read_images, finished)
        (image,) = finished.images
        file = await self.response_format.encoded(self.gateway.conversions, image.image_id, png)
        return self._frame("completed", finished, file, usage=Usage().model_dump())

    def _frame(self, kind: str, record: JobRecord, file: bytes, **more: Any) -> str:
        name = f"{self.name}.{kind}"
        return frame(name, {
            "type": name,
            "b64_json": base64.b64encode(file).decode(),
            "background": "opaque",
            "created_at": int(record.finished_at or record.created_at),
            "output_format": self.response_format.file_format,
            "quality": shown_quality(self.fields),
            "size": shown_size(draw_params(record)),
            **more,
        })  # fmt: skip


class JobStream(EventStream):
    """A response that streams the events of jobs; unfinished jobs are canceled if the client disconnects."""

    def __init__(self, stream: Stream, records: list[JobRecord]) -> None:
        super().__init__(stream.events(records), _error_frame(to_api_error(GatewayStops())))
        self._gateway = stream.gateway
        self._job_ids = [record.job_id for record in records]
        self._watched = self._job_ids if stream.response_format.partial_images else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; uvicorn cancels this call if the client disconnects."""
        try:
            async with self._gateway.leases.renewing(self._job_ids), self._gateway.viewers.watching(self._watched):
                await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._gateway.jobs.abandon(self._job_ids)


def _error_frame(error: ApiError) -> str:
    return frame("error", {"type": "error", "error": dict(describe(error)[1])})
