"""The routes for deliveries of webhooks: those that wait, those that were given up, and sending one again."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool

from service.api.auth import CurrentCaller
from service.api.native.errors import READING_WEBHOOK, USING_WEBHOOK
from service.api.native.webhook_schemas import DeliveryList, DeliveryQuery, DeliveryView, delivery_view
from service.api.native.webhooks import WebhookHolder
from service.api.state import GatewayState

router = APIRouter(tags=["webhooks"])


@router.get(
    "/v1/webhook-deliveries",
    operation_id="listWebhookDeliveries",
    summary="List deliveries that were given up, or that wait",
    responses=READING_WEBHOOK,
)
async def list_deliveries(
    gateway: GatewayState, caller: CurrentCaller, query: Annotated[DeliveryQuery, Query()]
) -> DeliveryList:
    """Those that were given up are kept for seven days, the newest 1,000 of the API key."""
    listed = gateway.outbox.dead if query.status == "dead" else gateway.outbox.pending
    found = await run_in_threadpool(listed, caller.key_id, query.limit)
    return DeliveryList(deliveries=[delivery_view(delivery) for delivery in found])


@router.get(
    "/v1/webhook-deliveries/{delivery_id}",
    operation_id="getWebhookDelivery",
    summary="Read a delivery",
    responses=READING_WEBHOOK,
)
async def get_delivery(gateway: GatewayState, caller: CurrentCaller, delivery_id: str) -> DeliveryView:
    """The delivery, until seven days after its end."""
    return delivery_view(await run_in_threadpool(gateway.outbox.get, caller.key_id, delivery_id))


@router.post(
    "/v1/webhook-deliveries/{delivery_id}/replay",
    operation_id="replayWebhookDelivery",
    summary="Send a delivery again",
    status_code=202,
    responses=USING_WEBHOOK,
)
async def replay_delivery(gateway: GatewayState, caller: WebhookHolder, delivery_id: str) -> DeliveryView:
    """Send it again at once, under the same `webhook-id`, and with all its attempts if that fails."""
    return delivery_view(await run_in_threadpool(gateway.outbox.replay, caller.key_id, delivery_id))
