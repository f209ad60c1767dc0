"""Traces of jobs, read by a collector: one trace from the request to the webhook, and nothing of those who poll."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from models.errors import DrawingFailed
from service.api.app import create_app
from service.backbone.keyspace import record_key
from service.backbone.settings import Settings
from service.backbone.tracing import start_tracing, stop_tracing
from tests.polling import until
from tests.service.api.conftest import EXECUTION, Hand, job_body
from tests.trace_collector import Collector
from tests.webhook_receiver import Receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as opened:
        yield opened


@pytest.fixture(scope="module")
def traced_url(collector, serve, valkey_url, server_data) -> Iterator[str]:
    """A gateway that exports traces; its hand of a worker does so from the same process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in collector.variables.items():
            patch.setenv(name, value)
        start_tracing("photogram-gateway", collector.variables)
    settings = Settings(redis_url=valkey_url, data=server_data, webhook_private=True)
    with serve(create_app(settings)) as url:
        yield url
    stop_tracing()


@pytest.fixture
def traced(traced_url: str, key: str, collector: Collector) -> Iterator[httpx.Client]:
    collector.spans.clear()
    with httpx.Client(base_url=traced_url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        yield client


def test_one_trace_leads_from_the_request_to_the_webhook(traced, collector, worker: Hand):
    assert traced.post("/v1/webhooks/secret", json={}).is_success
    collector.spans.clear()
    with Receiver() as receiver:
        body = job_body(prompt="a secret garden") | {"webhook": {"url": receiver.url, "events": ["job.finished"]}}
        answer = traced.post("/v1/jobs", json=body, headers={"traceparent": PARENT})
        assert answer.status_code == 202, answer.text
        job_id = answer.json()["id"]
        worker.start(job_id)
        began = float(worker.ledger.connection.hget(record_key(job_id), "started_at"))
        worker.ledger.connection.hset(record_key(job_id), "started_at", repr(began - 2.0))  # the hand takes no time
        worker.ledger.connection.hset(record_key(job_id), "created_at", repr(began - 5.0))
        worker.succeed(job_id)
        receiver.wait_for(1)
    names = {"POST /v1/jobs", "job txt2img", "queue", "prepare", "engine", "store", "webhook job.finished"}
    until(lambda: collector.of(TRACE).keys() == names, 10, lambda: str(collector.spans))
    spans = collector.of(TRACE)
    request, job = spans["POST /v1/jobs"], spans["job txt2img"]
    assert request.parent_id == "00f067aa0ba902b7"
    assert job.parent_id == spans["webhook job.finished"].parent_id == request.span_id
    stages = [spans[name] for name in ("queue", "prepare", "engine", "store")]
    assert {span.parent_id for span in stages} == {job.span_id}
    assert [round((span.ended - span.began) / 1e9, 1) for span in stages] == [3.0, 0.1, 1.0, 0.1]
    assert all(job.began <= span.began <= span.ended <= job.ended for span in stages)
    assert {span.attributes["photogram.job.id"] for span in spans.values()} == {job_id}
    assert job.attributes["photogram.job.status"] == "succeeded"
    assert "garden" not in str(collector.spans)


def test_a_failure_is_one_and_a_job_that_never_started_has_no_stages(traced, collector, worker: Hand):
    failed, canceled = (traced.post("/v1/jobs", json=job_body()).json()["id"] for _ in range(2))
    worker.start(failed)
    worker.ledger.fail(failed, EXECUTION, DrawingFailed("no"))
    traced.post(f"/v1/jobs/{canceled}/cancel")
    until(lambda: sum(span.name == "job txt2img" for span in collector.spans) == 2, 10)
    jobs = {span.attributes["photogram.job.id"]: span for span in collector.spans if span.name == "job txt2img"}
    assert jobs[failed].is_error and jobs[failed].attributes["error.type"] == DrawingFailed.code
    assert not jobs[canceled].is_error and jobs[canceled].attributes["photogram.job.status"] == "canceled"
    assert jobs[failed].trace_id != jobs[canceled].trace_id
    assert sorted(collector.of(jobs[canceled].trace_id)) == ["POST /v1/jobs", "job txt2img", "queue"]


def test_requests_that_only_read_have_no_span(traced, collector):
    for _ in range(5):
        assert traced.get("/v1/jobs", headers={"traceparent": PARENT}).status_code == 200
    assert traced.post("/v1/jobs", json=job_body()).status_code == 202
    until(lambda: collector.spans, 10)
    assert [span.name for span in collector.spans] == ["POST /v1/jobs"]


@pytest.mark.parametrize("sent", [
    "", "x" * 5000, "00-0-0-0", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"ff-{TRACE}-00f067aa0ba902b7-01",
    f"{PARENT}-more", "00-\xe4-1-01",
])  # fmt: skip
def test_a_traceparent_that_is_not_valid_begins_a_new_trace(traced, collector, sent):
    answer = traced.post("/v1/jobs", json=job_body(), headers={b"traceparent": sent.encode("latin-1")})
    assert answer.status_code == 202
    until(lambda: collector.spans, 10)
    assert collector.spans[0].parent_id == "" and collector.spans[0].trace_id not in (TRACE, "0" * 32)


def test_without_an_endpoint_no_exporter_is_imported():
    program = """
import sys
import service.api.app, workers.finish
from service.backbone.tracing import spans, start_tracing
for environment in ({}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}):
    start_tracing("test", environment)
assert spans() is None
assert "service.backbone.spans" not in sys.modules
assert not [name for name in sys.modules if name.startswith("opentelemetry.exporter")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)
