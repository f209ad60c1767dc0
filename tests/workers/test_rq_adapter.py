"""What the adapter relies on in RQ, and how long its executions live."""

from __future__ import annotations

import inspect

import pytest
from rq.queue import Queue
from rq.worker import BaseWorker

from workers.heartbeat import HEARTBEAT_S
from workers.rq_adapter import EXECUTION_TTL_S


def test_an_execution_outlives_several_missed_heartbeats() -> None:
    assert EXECUTION_TTL_S > 3 * HEARTBEAT_S


@pytest.mark.parametrize(
    ("owner", "name", "parameters"),
    [
        (BaseWorker, "prepare_execution", ["self", "job"]),
        (BaseWorker, "prepare_job_execution", ["self", "job", "remove_from_intermediate_queue"]),
        (BaseWorker, "_finalize_success", ["self", "job", "queue", "execution", "return_value"]),
        (BaseWorker, "maintain_heartbeats", ["self", "job", "execution"]),
        (BaseWorker, "request_stop_execution", ["self", "execution_id"]),
        (BaseWorker, "get_heartbeat_ttl", ["self", "job", "working_time"]),
        (Queue, "enqueue_job", ["self", "job", "pipeline", "at_front", "unique"]),
    ],
)
def test_rq_has_the_methods_that_the_adapter_calls(owner: type, name: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(owner, name)).parameters) == parameters
