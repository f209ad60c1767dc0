"""The spans of requests, jobs and webhooks, made with the OpenTelemetry SDK; only processes that trace import this.

Names and attributes follow OpenTelemetry's semantic conventions where there are any; ``photogram.job.id`` is the id of
the job. Neither prompts nor keys are in any attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.backbone.tracing import TRACEPARENT

JOB_ID = "photogram.job.id"
_NS = 1_000_000_000
_PROPAGATOR = TraceContextTextMapPropagator()


class RequestSpan:
    """One request; it is exported if it submitted a job or may have changed something, since clients poll a lot."""

    def __init__(self, span: Span) -> None:
        self._span, self._has_jobs = span, False

    def carry(self, job_id: str) -> str:
        """The ``traceparent`` for the record of a job that this request submits."""
        if not self._has_jobs:
            self._span.set_attribute(JOB_ID, job_id)
        self._has_jobs = True
        return _traceparent(self._span)

    def end(self, method: str, route: str, status: int) -> None:
        """End the request; ``route`` is a pattern, and no path."""
        if method in ("GET", "HEAD", "OPTIONS") and not self._has_jobs:
            return  # what is not ended is not exported
        self._span.update_name(f"{method} {route}")
        self._span.set_attributes(
            {"http.request.method": method, "http.route": route, "http.response.status_code": status}
        )
        if status >= 500:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()


class Spans:
    """Makes spans and exports them from a thread of its own; what an unreachable collector does not take is dropped."""

    def __init__(self, service: str) -> None:
        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: service}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("photogram")

    def close(self) -> None:
        """Export what is left."""
        self._provider.shutdown()

    def request(self, traceparent: str | None) -> RequestSpan:
        """The span of a request that begins now, in the trace of ``traceparent`` if that is valid."""
        return RequestSpan(self._tracer.start_span("request", _context(traceparent), SpanKind.SERVER))

    def job(self, record: Mapping[str, str], timings: Mapping[str, Any]) -> None:
        """The spans of a job that has ended, from its record: the job, its time in the queue, and its stages.

        Of the stages, a record has the durations: preparing begins when the job starts, storing ends with the job, and
        drawing, or the function of the kind, ends where storing begins.
        """
        times = [_ns(record.get(f"{name}_at")) for name in ("created", "started", "finished")]
        created, started, finished = times
        if created is None or finished is None or TRACEPARENT not in record:
            return
        span = self._tracer.start_span(f"job {record.get('kind')}", _context(record[TRACEPARENT]), start_time=created)
        span.set_attributes({JOB_ID: record.get("job_id", ""), "photogram.job.status": record.get("status", "")})
        if record.get("error_code"):
            span.set_attribute("error.type", record["error_code"])
            span.set_status(Status(StatusCode.ERROR))
        context = set_span_in_context(span)
        self._stage("queue", context, record, created, started or finished)
        if started is not None:
            stored = finished - _duration_ns(timings, "finish_s")
            drawn = _duration_ns(timings, "denoise_s") or _duration_ns(timings, "run_s")
            for name, begin, end in (
                ("prepare", started, started + _duration_ns(timings, "prepare_s")),
                ("engine", stored - drawn, stored),
                ("store", stored, finished),
            ):
                if end > begin:
                    self._stage(name, context, record, begin, end)
        span.end(finished)

    def webhook(self, traceparent: str, job_id: str, event: str, began: float, status: int | None) -> None:
        """The span of an attempt at a webhook that ends now; ``began`` is in seconds since the epoch."""
        span = self._tracer.start_span(
            f"webhook {event}", _context(traceparent), SpanKind.CLIENT, start_time=int(began * _NS)
        )
        span.set_attribute(JOB_ID, job_id)
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if status is None or status >= 400:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def _stage(self, name: str, context: Context, record: Mapping[str, str], begin: int, end: int) -> None:
        span = self._tracer.start_span(name, context, start_time=begin)
        span.set_attribute(JOB_ID, record.get("job_id", ""))
        span.end(end)


def _context(traceparent: str | None) -> Context:
    """The context of what comes within ``traceparent``; an empty one, which begins a trace, if that is not valid."""
    return _PROPAGATOR.extract({TRACEPARENT: traceparent} if traceparent else {}, Context())


def _traceparent(span: Span) -> str:
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, set_span_in_context(span, Context()))
    return carrier[TRACEPARENT]


def _ns(seconds: str | None) -> int | None:
    try:
        return None if seconds is None else int(float(seconds) * _NS)
    except ValueError:
        return None


def _duration_ns(timings: Mapping[str, Any], name: str) -> int:
    seconds = timings.get(name)
    return int(seconds * _NS) if isinstance(seconds, int | float) else 0
