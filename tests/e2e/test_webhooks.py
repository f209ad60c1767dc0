"""Webhooks of the whole service: the gateway, the worker and the receiver are killed, and every job's end is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.short_lived import free_port
from tests.e2e.conftest import Stack
from tests.e2e.test_gateway_restart import gateway_of
from tests.polling import until
from tests.webhook_receiver import Receiver, slow


@pytest.fixture
def stack(data_with_tiny: Path, stacks: list[Stack]) -> Stack:
    stacks.append(started := Stack(data_with_tiny, PHOTOGRAM_WEBHOOK_PRIVATE="1"))
    return started


def finished(receiver: Receiver) -> dict[str, str]:
    """The status of each job whose end was told."""
    return {got.event["data"]["id"]: got.event["data"]["status"] for got in receiver.got if got.type == "job.finished"}


def test_every_end_of_a_job_is_told_whoever_is_killed(stack: Stack) -> None:
    port = free_port()
    with stack.client() as client:
        events = ["job.started", "job.finished"]
        endpoint = client.webhooks.add(f"http://127.0.0.1:{port}/hook", events)
        jobs = [client.submit("an apple", num_inference_steps=40).id for _ in range(6)]
        until(lambda: client.webhooks.attempts(endpoint.id), 60)  # while nobody receives
        stack.workers()[0].kill()
        with Receiver(port=port) as receiver:
            receiver.always = slow(0.5)
            receiver.wait_for(1, 60)
            gateway_of(stack).kill()  # during an attempt
            jobs += [client.submit("an apple").id for _ in range(2)]
            expected = dict.fromkeys(jobs, "succeeded")
            until(lambda: finished(receiver) == expected, 200, lambda: f"{receiver.types()} {stack.errors[-5:]}")
            ids: dict[tuple[str, str], set[str]] = {}
            for got in receiver.got:
                assert got.verified(endpoint.secret)
                ids.setdefault((got.event["data"]["id"], got.type), set()).add(got.headers["webhook-id"])
            assert all(len(each) == 1 for each in ids.values())  # what comes twice has one id
            assert {job_id for job_id, kind in ids if kind == "job.finished"} == set(jobs)
