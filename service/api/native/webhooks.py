"""The routes for the webhook endpoints and the signing secret of an API key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool

from service.api.auth import CurrentCaller, Submitter
from service.api.bodies import read_body, read_optional_body, require_json_type
from service.api.documentation import json_body
from service.api.native.errors import (
    CHANGING_WEBHOOK,
    CREATING_WEBHOOK,
    MAKING_SECRET,
    READING,
    READING_WEBHOOK,
    USING_WEBHOOK,
)
from service.api.native.webhook_schemas import (
    AttemptList,
    EndpointBody,
    EndpointChanges,
    EndpointList,
    EndpointView,
    NewEndpointView,
    QueuedTest,
    SecretBody,
    SecretView,
    attempt_view,
    endpoint_view,
)
from service.api.state import GatewayState
from service.backbone.webhooks.endpoints import WebhooksForbidden
from service.backbone.webhooks.events import Event
from service.jobs.caller import Caller

router = APIRouter(tags=["webhooks"])
OPENAPI_MODELS = (EndpointBody, EndpointChanges, SecretBody)

_EXAMPLE = {"url": "https://example.org/photogram", "events": ["job.finished"]}


async def _holder(caller: Submitter) -> Caller:
    if not caller.webhooks:
        raise WebhooksForbidden("this API key may have no webhooks")
    return caller


WebhookHolder = Annotated[Caller, Depends(_holder)]
"""The holder of a key that may have webhooks and has the scope ``submit``."""


@router.get("/v1/webhooks", operation_id="listWebhooks", summary="List the webhook endpoints", responses=READING)
async def list_webhooks(gateway: GatewayState, caller: CurrentCaller) -> EndpointList:
    """The endpoints of the API key, also those that are switched off."""
    found = await run_in_threadpool(gateway.webhooks.all, caller.key_id)
    return EndpointList(webhooks=[endpoint_view(endpoint) for endpoint in found])


@router.post(
    "/v1/webhooks",
    operation_id="createWebhook",
    summary="Add a webhook endpoint",
    status_code=201,
    openapi_extra=json_body(EndpointBody, _EXAMPLE),
    responses=CREATING_WEBHOOK,
)
async def create_webhook(request: Request, gateway: GatewayState, caller: WebhookHolder) -> NewEndpointView:
    """Have events of all jobs of the API key sent to a URL. The first endpoint makes the signing secret."""
    require_json_type(request.headers)
    body = await read_body(request, EndpointBody)
    events = [Event(event) for event in body.events]
    made = await run_in_threadpool(gateway.webhooks.create, caller.key_id, body.url, events, body.description)
    return NewEndpointView(secret=made.secret, **dict(endpoint_view(made.endpoint)))


@router.post(
    "/v1/webhooks/secret",
    operation_id="rotateWebhookSecret",
    summary="Make a signing secret",
    status_code=201,
    openapi_extra=json_body(SecretBody, {"grace_s": 86400}, is_required=False),
    responses=MAKING_SECRET,
)
async def rotate_secret(request: Request, gateway: GatewayState, caller: WebhookHolder) -> SecretView:
    """Make the secret that signs all webhooks of the API key, or replace it."""
    body = await read_optional_body(request, SecretBody)
    return SecretView(secret=await run_in_threadpool(gateway.webhooks.rotate_secret, caller.key_id, body.grace_s))


@router.get(
    "/v1/webhooks/{webhook_id}",
    operation_id="getWebhook",
    summary="Read a webhook endpoint",
    responses=READING_WEBHOOK,
)
async def get_webhook(gateway: GatewayState, caller: CurrentCaller, webhook_id: str) -> EndpointView:
    """The endpoint, and how it fares."""
    return endpoint_view(await run_in_threadpool(gateway.webhooks.get, caller.key_id, webhook_id))


@router.patch(
    "/v1/webhooks/{webhook_id}",
    operation_id="changeWebhook",
    summary="Change a webhook endpoint",
    openapi_extra=json_body(EndpointChanges, {"is_on": True}),
    responses=CHANGING_WEBHOOK,
)
async def change_webhook(
    request: Request, gateway: GatewayState, caller: WebhookHolder, webhook_id: str
) -> EndpointView:
    """Change it, or switch it off or on. What waits to be sent goes to the new URL."""
    require_json_type(request.headers)
    body = await read_body(request, EndpointChanges)

    def change() -> EndpointView:
        events = None if body.events is None else [Event(event) for event in body.events]
        return endpoint_view(
            gateway.webhooks.change(
                caller.key_id, webhook_id, url=body.url, events=events, description=body.description, is_on=body.is_on
            )
        )

    return await run_in_threadpool(change)


@router.delete(
    "/v1/webhooks/{webhook_id}",
    operation_id="deleteWebhook",
    summary="Delete a webhook endpoint",
    status_code=204,
    responses=USING_WEBHOOK,
)
async def delete_webhook(gateway: GatewayState, caller: WebhookHolder, webhook_id: str) -> None:
    """Delete it. What waits to be sent to it is dropped."""
    await run_in_threadpool(gateway.webhooks.delete, caller.key_id, webhook_id)


@router.post(
    "/v1/webhooks/{webhook_id}/test",
    operation_id="testWebhook",
    summary="Send a test event",
    status_code=202,
    responses=USING_WEBHOOK,
)
async def test_webhook(gateway: GatewayState, caller: WebhookHolder, webhook_id: str) -> QueuedTest:
    """Queue an event `webhook.test` for the endpoint, also if it is off. Its attempts show what came of it."""

    def queue() -> str:
        gateway.webhooks.get(caller.key_id, webhook_id)
        return gateway.outbox.test(caller.key_id, webhook_id)

    return QueuedTest(delivery_id=await run_in_threadpool(queue))


@router.get(
    "/v1/webhooks/{webhook_id}/attempts",
    operation_id="listWebhookAttempts",
    summary="List the last attempts at a webhook endpoint",
    responses=READING_WEBHOOK,
)
async def list_attempts(gateway: GatewayState, caller: CurrentCaller, webhook_id: str) -> AttemptList:
    """The last 50 attempts, the newest first."""
    await run_in_threadpool(gateway.webhooks.get, caller.key_id, webhook_id)
    found = await run_in_threadpool(gateway.outbox.attempts, caller.key_id, webhook_id)
    return AttemptList(attempts=[attempt_view(attempt) for attempt in found])
