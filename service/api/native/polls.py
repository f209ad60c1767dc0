"""Plain polls of a job, without FastAPI's routing and dependencies, which take longer than reading the record does.

``GET /v1/jobs/{job_id}`` without a query and a ``Prefer`` header is by far the most frequent request. ``routes.py`` has
the same operation with these, and documents it.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from models.jobs.records import JobRecord, JobStatus
from service.api.auth import authenticate_request
from service.api.images import base_url
from service.api.native.views import job_view
from service.api.state import Gateway
from service.jobs.caller import Caller

JOB_PATH = "/v1/jobs/{job_id}"
_TERMINAL = {status.value.encode() for status in JobStatus if status.is_terminal}


async def answer_poll(request: Request, gateway: Gateway, caller: Caller, job_id: str) -> Response:
    """The job as it is now, as a ``JobView``; raises :class:`~service.jobs.errors.JobNotFound`."""
    fields, base = await gateway.jobs.find_fields(caller, job_id), base_url(request, gateway)

    def record() -> JobRecord:
        return gateway.jobs.read(job_id, fields)

    place = None if fields.get(b"status") in _TERMINAL else await gateway.places.of(job_id, fields[b"status"], record)

    def render(record: JobRecord) -> bytes:
        return job_view(record, base, place).model_dump_json().encode()

    shown = {**fields, b"place": repr(place).encode()}
    body = gateway.answers.of(job_id, base, shown, record, render)
    return Response(body, media_type="application/json")


async def _poll(request: Request) -> Response:
    gateway: Gateway = request.state.gateway
    caller = await authenticate_request(request, gateway)
    return await answer_poll(request, gateway, caller, request.path_params["job_id"])


class _PollRoute(Route):
    """Matches nothing but plain polls: other methods, and requests that may wait, are left to later routes."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["query_string"]:
            return Match.NONE, {}
        if any(name == b"prefer" for name, _ in scope["headers"]):
            return Match.NONE, {}
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


POLLS = _PollRoute(JOB_PATH, _poll, methods=["GET"], include_in_schema=False)
"""The route of plain polls, which an application must have before all other routes."""
