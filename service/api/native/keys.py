"""The routes that manage API keys and what they own; all need the scope ``admin``."""

from __future__ import annotations

import time
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.concurrency import run_in_threadpool

from service.api.auth import Administrator
from service.api.bodies import read_body, read_optional_body, require_json_type
from service.api.documentation import json_body
from service.api.images import base_url
from service.api.native.errors import CREATING_KEY, DELETING_KEY, QUERYING_JOB, READING_KEY, READING_KEYS
from service.api.native.key_schemas import (
    IssuedKeyView,
    KeyBody,
    KeyChanges,
    KeyList,
    KeyView,
    RotateBody,
    issued_view,
    key_view,
)
from service.api.native.schemas import JobListView, JobsDeletedView, ListQuery, NoQuery
from service.api.native.usage import UsageView, usage_of, usage_view
from service.api.native.views import list_view
from service.api.state import Gateway, GatewayState
from service.backbone.key_records import KeyRecord, KeyRules
from service.backbone.key_store import require_known
from service.jobs.caller import Caller

router = APIRouter(tags=["keys"])
OPENAPI_MODELS = (KeyBody, KeyChanges, RotateBody)

_EXAMPLE = {"name": "marketing", "scopes": ["submit"], "limits": {"max_in_flight": 20, "units_per_day": 50000}}
_READING_JOBS = QUERYING_JOB | READING_KEY | {404: QUERYING_JOB[404]}


@router.get("/v1/keys", operation_id="listKeys", summary="List the API keys", responses=READING_KEYS)
async def list_keys(gateway: GatewayState, admin: Administrator) -> KeyList:
    """All keys, also those that have expired or were revoked."""
    records = await run_in_threadpool(gateway.key_store.all)
    used_at = await run_in_threadpool(gateway.key_store.used_at)
    return KeyList(keys=[key_view(record, used_at.get(record.key_id)) for record in records])


@router.post(
    "/v1/keys",
    operation_id="createKey",
    summary="Create an API key",
    status_code=201,
    openapi_extra=json_body(KeyBody, _EXAMPLE),
    responses=CREATING_KEY,
)
async def create_key(request: Request, gateway: GatewayState, admin: Administrator) -> IssuedKeyView:
    """A new key. Its secret, `key`, is shown this once."""
    require_json_type(request.headers)
    body = await read_body(request, KeyBody)
    rules = body.applied_to(KeyRules(name=body.name), time.time())
    require_known(rules, gateway.catalog.current())
    issued = await run_in_threadpool(gateway.key_store.create, rules)
    if body.enhance_prompt is not None:
        await gateway.preferences.change(issued.record.key_id, {"enhance_prompt": body.enhance_prompt})
    return issued_view(issued.key, key_view(issued.record, None))


@router.get("/v1/keys/{key_id}", operation_id="getKey", summary="Read an API key", responses=READING_KEY)
async def get_key(gateway: GatewayState, admin: Administrator, key_id: str) -> KeyView:
    """The key without its secret."""
    return await _view(gateway, await run_in_threadpool(gateway.key_store.get, key_id))


@router.patch(
    "/v1/keys/{key_id}",
    operation_id="changeKey",
    summary="Change an API key",
    openapi_extra=json_body(KeyChanges, {"weight": 4, "limits": {"max_in_flight": 40}}),
    responses=CREATING_KEY,
)
async def change_key(request: Request, gateway: GatewayState, admin: Administrator, key_id: str) -> KeyView:
    """What is left out stays. Requests follow the new rules within five seconds, and jobs that wait keep their turn."""
    require_json_type(request.headers)
    body = await read_body(request, KeyChanges)

    def changed(rules: KeyRules) -> KeyRules:
        new = body.applied_to(rules, time.time())
        if body.model_fields_set & {"models", "kinds"}:
            require_known(new, gateway.catalog.current())
        return new

    return await _view(gateway, await run_in_threadpool(gateway.key_store.change, key_id, changed))


@router.post(
    "/v1/keys/{key_id}/rotate",
    operation_id="rotateKey",
    summary="Give an API key a new secret",
    openapi_extra=json_body(RotateBody, {"grace_s": 3600}, is_required=False),
    responses=CREATING_KEY,
)
async def rotate_key(request: Request, gateway: GatewayState, admin: Administrator, key_id: str) -> IssuedKeyView:
    """The id stays, and so does all that the key owns. The old secret works for `grace_s` more seconds."""
    body = await read_optional_body(request, RotateBody)
    issued = await run_in_threadpool(gateway.key_store.rotate, key_id, body.grace_s)
    return issued_view(issued.key, await _view(gateway, issued.record))


@router.post("/v1/keys/{key_id}/revoke", operation_id="revokeKey", summary="Revoke an API key", responses=READING_KEY)
async def revoke_key(gateway: GatewayState, admin: Administrator, key_id: str) -> KeyView:
    """The key is refused within five seconds, for good. What it owns stays."""
    return await _view(gateway, await run_in_threadpool(gateway.key_store.revoke, key_id))


@router.delete(
    "/v1/keys/{key_id}",
    operation_id="deleteKey",
    summary="Delete an API key",
    status_code=204,
    responses=DELETING_KEY,
)
async def delete_key(gateway: GatewayState, admin: Administrator, key_id: str) -> None:
    """Remove a key that owns no jobs (any more)."""
    await run_in_threadpool(gateway.key_store.delete, key_id)


@router.get(
    "/v1/keys/{key_id}/usage",
    operation_id="getKeyUsage",
    summary="Read the usage of an API key",
    responses=READING_KEY,
)
async def get_key_usage(gateway: GatewayState, admin: Administrator, key_id: str) -> UsageView:
    """As `GET /v1/usage` answers that key."""
    record = await run_in_threadpool(gateway.key_store.get, key_id)
    allowance = record.rules.allowance.or_else(gateway.settings.key_allowance)
    return usage_view(await usage_of(gateway, key_id), allowance.effective)


@router.get(
    "/v1/keys/{key_id}/jobs",
    operation_id="listKeyJobs",
    summary="List the jobs of an API key",
    responses=_READING_JOBS,
)
async def list_key_jobs(
    request: Request,
    gateway: GatewayState,
    admin: Administrator,
    key_id: str,
    query: Annotated[ListQuery, Query()],
) -> JobListView:
    """As `GET /v1/jobs` answers that key, also if it has been revoked."""
    await run_in_threadpool(gateway.key_store.get, key_id)
    page = await gateway.jobs.list(Caller(key_id), query.to_query(), limit=query.limit, cursor=query.to_cursor())
    return list_view(page, base_url(request, gateway))


@router.delete(
    "/v1/keys/{key_id}/jobs",
    operation_id="deleteKeyJobs",
    summary="Delete the jobs of an API key",
    responses=READING_KEY,
)
async def delete_key_jobs(
    gateway: GatewayState, admin: Administrator, key_id: str, query: Annotated[NoQuery, Query()]
) -> JobsDeletedView:
    """Delete all jobs of the key, each as `DELETE /v1/jobs/{id}`. A request that fails can be repeated."""
    await run_in_threadpool(gateway.key_store.get, key_id)
    found = await gateway.jobs.delete_all(Caller(key_id))
    return JobsDeletedView(deleted=found.deleted, running=found.running)


async def _view(gateway: Gateway, record: KeyRecord) -> KeyView:
    used_at = await run_in_threadpool(gateway.key_store.used_at)
    return key_view(record, used_at.get(record.key_id))
