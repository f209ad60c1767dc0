"""``GET /metrics`` of this gateway, and ``GET /metrics/cluster`` of what all gateways share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector
from starlette.concurrency import run_in_threadpool

from service.api.auth import authenticate_request, require_scope
from service.api.documentation import problems
from service.api.errors import ErrorCode
from service.api.proxies import client_host
from service.api.state import Gateway, GatewayState
from service.backbone.addresses import AddressSet
from service.backbone.key_records import Scope
from service.backbone.metrics import REGISTRY

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus' text format."""
_DOCUMENTED = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
    **problems(ErrorCode.UNAUTHORIZED, ErrorCode.MISSING_SCOPE, ErrorCode.LEDGER_UNAVAILABLE),
}
_SECURITY: dict[str, Any] = {"security": [{}, {"Bearer": []}, {"X-API-Key": []}]}
"""No key from where metrics are open, otherwise an administrator's."""

router = APIRouter(tags=["health"])


class _Fixed(Collector):
    """Metrics that were read already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


@router.get(
    "/metrics", operation_id="getMetrics", summary="Metrics of this gateway", response_class=Response,
    responses=_DOCUMENTED, openapi_extra=_SECURITY,
)  # fmt: skip
async def get_metrics(request: Request, gateway: GatewayState) -> Response:
    """What this gateway process counts, for Prometheus. Every gateway is asked for its own."""
    await _require_reader(request, gateway)
    return Response(await run_in_threadpool(generate_latest, REGISTRY), media_type=CONTENT_TYPE)


@router.get(
    "/metrics/cluster", operation_id="getClusterMetrics", summary="Metrics of queues and workers",
    response_class=Response, responses=_DOCUMENTED, openapi_extra=_SECURITY,
)  # fmt: skip
async def get_cluster_metrics(request: Request, gateway: GatewayState) -> Response:
    """Queues, work that waits, and workers, for Prometheus. Every gateway answers the same, so one is asked."""
    await _require_reader(request, gateway)
    registry = CollectorRegistry()
    registry.register(_Fixed(await gateway.cluster_metrics.read()))
    return Response(await run_in_threadpool(generate_latest, registry), media_type=CONTENT_TYPE)


async def _require_reader(request: Request, gateway: Gateway) -> None:
    """Raise :class:`ApiError` unless the address or the API key of the request may read metrics."""
    if client_host(request.scope) not in AddressSet(gateway.settings.metrics_open_to):
        await authenticate_request(request, gateway)
        require_scope(request, Scope.ADMIN)
