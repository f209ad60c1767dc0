"""Traces of the whole service: gateway and worker are processes of their own, and export to one collector."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.e2e.conftest import KEY, Stack
from tests.polling import until
from tests.trace_collector import Collector
from tests.webhook_receiver import Receiver

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_job_has_one_trace_of_gateway_and_worker(data_with_tiny: Path, stacks: list[Stack]) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    with Collector() as collector, Receiver() as receiver:
        stacks.append(stack := Stack(data_with_tiny, PHOTOGRAM_WEBHOOK_PRIVATE="1", **collector.variables))
        with httpx.Client(base_url=stack.url, headers=headers, timeout=20) as client:
            client.post("/v1/webhooks", json={"url": receiver.url, "events": ["job.finished"]}).raise_for_status()
            body = {"kind": "txt2img", "params": {"prompt": "x"}}
            job_id = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]
        names = {"POST /v1/jobs", "job txt2img", "queue", "prepare", "engine", "store", "webhook job.finished"}
        until(lambda: names <= collector.of(TRACE).keys(), 60, lambda: f"{collector.spans} {stack.errors[-5:]}")
        spans = {name: span for name, span in collector.of(TRACE).items() if name in names}
        assert {span.attributes["photogram.job.id"] for span in spans.values()} == {job_id}
        of_gateway = {name for name, span in spans.items() if span.service == "photogram-gateway"}
        assert of_gateway == {"POST /v1/jobs", "webhook job.finished"}
        assert {span.service for span in spans.values()} == {"photogram-gateway", "photogram-worker"}
        assert stack.stop() == 0
