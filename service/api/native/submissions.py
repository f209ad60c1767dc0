"""Submitting one job, also without FastAPI's routing and dependencies, which take longer than accepting a job does.

``routes.py`` has the same operations with these, and documents them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from models.errors import ProblemCode
from models.jobs.records import JOB_ID_PATTERN
from service.api.auth import authenticate_request, require_scope
from service.api.bodies import parse_json, parsed, received_json, require_json_type
from service.api.errors import invalid_field, renamed_problems
from service.api.images import base_url
from service.api.job_bodies import parse_job
from service.api.native.headers import after_wait, preferred_wait_s, with_cancel_after
from service.api.native.polls import JOB_PATH
from service.api.native.translate import wire_name
from service.api.native.views import job_view
from service.api.state import Gateway
from service.backbone.key_records import Scope as KeyScope
from service.jobs.caller import Caller

JOBS_PATH = "/v1/jobs"
IDEMPOTENCY_KEY_CHARS_MAX = 255


@dataclass(frozen=True)
class JobHeaders:
    """What the headers of a request that submits a job say."""

    prefer: Sequence[str] | None = None
    cancel_after: str | None = None
    idempotency_key: str | None = None


async def submit_job(
    request: Request, gateway: Gateway, caller: Caller, said: JobHeaders, job_id: str | None = None
) -> Response:
    """Queue the job in the body, and answer with it as a ``JobView``.

    Args:
        job_id: the id that the client chose.

    Raises:
        ApiError: the body is not JSON, or too large.
        InvalidTicket, AlreadyUsed, QueueFull, LimitReached, StorageUnavailable: as ``JobService.submit``.
    """
    if job_id is not None and not JOB_ID_PATTERN.fullmatch(job_id):
        raise invalid_field("job_id", "must be 1 to 64 letters, digits, - and _", ProblemCode.MALFORMED)
    wait_s = preferred_wait_s(said.prefer)
    require_json_type(request.headers)
    data = await received_json(request, has_images=True)
    body = await parsed(data, lambda data: parse_job(parse_json(data)))
    options = with_cancel_after(body.to_options(), said.cancel_after)
    our_url = base_url(request, gateway)
    with renamed_problems(wire_name):
        accepted = await gateway.jobs.submit(
            caller,
            body.to_request(),
            our_url=our_url,
            job_id=job_id,
            idempotency_key=said.idempotency_key,
            webhook=body.to_webhook(),
            options=options,
        )
    record = await after_wait(request, gateway, caller, accepted.record, wait_s)
    status = 202 if accepted.is_new and not record.status.is_terminal else 200
    headers = {"Location": f"{JOBS_PATH}/{record.job_id}"}
    if wait_s is not None:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return Response(job_view(record, our_url).model_dump_json(), status, headers, "application/json")


async def _submit(request: Request) -> Response:
    gateway: Gateway = request.state.gateway
    caller = await authenticate_request(request, gateway)
    require_scope(request, KeyScope.SUBMIT)
    headers = request.headers
    said = JobHeaders(headers.getlist("prefer"), headers.get("cancel-after"), headers.get("idempotency-key"))
    return await submit_job(request, gateway, caller, said, request.path_params.get("job_id"))


class _SubmissionRoute(Route):
    """Matches what the documented route takes; a wrong ``Idempotency-Key`` is left to that one, which refuses it."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http" or scope["method"] not in (self.methods or ()):
            return Match.NONE, {}
        keys = [value for name, value in scope["headers"] if name == b"idempotency-key"]
        if any(not 1 <= len(key) <= IDEMPOTENCY_KEY_CHARS_MAX for key in keys) or len(keys) > 1:
            return Match.NONE, {}
        match, child_scope = super().matches(scope)
        return match, {**child_scope, "route": self}


SUBMISSIONS = (
    _SubmissionRoute(JOBS_PATH, _submit, methods=["POST"], include_in_schema=False),
    _SubmissionRoute(JOB_PATH, _submit, methods=["PUT"], include_in_schema=False),
)
"""The routes that submit one job, which an application must have before all other routes."""
