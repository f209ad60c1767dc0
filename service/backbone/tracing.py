"""OpenTelemetry traces of jobs: off, and nothing of them imported, unless an OTLP endpoint is set.

A trace has the request that submitted a job, the job with its stages, and its webhooks. What the later parts need of
the request is its ``traceparent`` (W3C Trace Context), which intake keeps in the job's record.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.backbone.spans import RequestSpan, Spans

log = logging.getLogger(__name__)

TRACEPARENT = "traceparent"
"""The header, and the field of a job's record."""
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_REQUEST: ContextVar[RequestSpan | None] = ContextVar("request_span", default=None)


@dataclass
class _Process:
    spans: Spans | None = None


_process = _Process()


def start_tracing(service: str, environment: Mapping[str, str]) -> None:
    """Export the spans of this process from now on, if the standard variables ``OTEL_*`` name an endpoint.

    Args:
        service: the ``service.name`` of the spans, unless ``OTEL_SERVICE_NAME`` gives another one.
    """
    is_wanted = any(environment.get(name) for name in _ENDPOINTS) and environment.get("OTEL_TRACES_EXPORTER") != "none"
    if not is_wanted or environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from service.backbone.spans import Spans
    except ImportError:
        log.warning("there are no traces: OpenTelemetry is not installed (pip install 'photogram-server[traces]')")
        return
    _process.spans = Spans(environment.get("OTEL_SERVICE_NAME") or service)
    log.info("traces are exported")


def stop_tracing() -> None:
    """Export what is left, and stop."""
    if _process.spans is not None:
        _process.spans.close()
        _process.spans = None


def spans() -> Spans | None:
    """What makes spans; ``None`` if there are no traces."""
    return _process.spans


def set_request(span: RequestSpan | None) -> None:
    """Let what is accepted in this context belong to the request of ``span``."""
    _REQUEST.set(span)


def carried_fields(job_id: str) -> dict[str, str]:
    """What the record of a job holds of the request that submits it now."""
    span = _REQUEST.get()
    return {} if span is None else {TRACEPARENT: span.carry(job_id)}
