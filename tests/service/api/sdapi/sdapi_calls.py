"""Calls that wait for their images, in a thread of their own, and the jobs that come of them."""

from __future__ import annotations

import base64
import threading
import time
from io import BytesIO
from typing import Any

import httpx
from PIL import Image
from redis import Redis

from models.jobs.records import JobRecord
from tests.waiting import waiting_jobs

QUEUE_KEY = "rq:queue:photogram"


def image(size: tuple[int, int] = (32, 32)) -> str:
    buffer = BytesIO()
    Image.effect_noise(size, 80).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


class Calls:
    """Sends calls that wait, and finishes the jobs that they make."""

    def __init__(self, client: httpx.Client, worker: Any, redis: Redis) -> None:
        self.client, self.worker, self.redis = client, worker, redis

    def queued(self, count: int = 1) -> list[str]:
        for _ in range(300):
            ids = waiting_jobs(self.redis)
            if len(ids) >= count:
                return ids
            time.sleep(0.01)
        raise AssertionError("nothing was queued")

    def begin(self, path: str, **body: Any) -> tuple[threading.Thread, list[httpx.Response]]:
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(self.client.post(path, json=body)))
        thread.start()
        return thread, answers

    def jobs(self, path: str, count: int = 1, **body: Any) -> tuple[list[JobRecord], dict[str, Any]]:
        """The jobs of a call that succeeded, and its answer."""
        thread, answers = self.begin(path, **body)
        ids = self.queued(count) if not answers else []
        records = [self.worker.ledger.read(job_id) for job_id in ids]
        for job_id in ids:
            self.worker.draw(job_id)
        self.redis.delete(QUEUE_KEY)
        thread.join()
        assert answers[0].status_code == 200, answers[0].text
        assert len(records) == count
        return records, answers[0].json()

    def job(self, path: str, **body: Any) -> JobRecord:
        (record,), _ = self.jobs(f"/sdapi/v1/{path}", **{"prompt": "a cat", **body})
        return record
