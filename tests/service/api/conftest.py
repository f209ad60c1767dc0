"""The gateway as a real server on a real port, and a worker's hand that finishes jobs without drawing anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from PIL import Image as PilImage
from redis import Redis

from models.errors import DrawingFailed
from models.jobs.results import Image
from models.jobs.rewrite import Rewrite
from service.api.app import create_app
from service.backbone.keys import add_key, make_key
from service.backbone.ledger import Ledger
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from tests.serving import serving
from tests.waiting import waiting_jobs

EXECUTION = "execution-1"


@pytest.fixture(scope="session")
def serve() -> Callable[[FastAPI], Any]:
    """Serves an application while a ``with`` block lasts; gives its URL."""
    return serving


@pytest.fixture(scope="session")
def server_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the server that tests share."""
    return tmp_path_factory.mktemp("gateway")


class NoSender:
    """Stands in for a sender of webhooks."""

    def __init__(self, *_: object) -> None:
        """Open nothing."""

    def start(self) -> None:
        """Send nothing."""

    def stop(self) -> None:
        """Nothing runs."""


@pytest.fixture(scope="session")
def server_url(valkey_url: str, server_data: Path) -> Iterator[str]:
    """The server that tests share. It sends no webhooks, because it would take those of other tests' servers."""
    settings = Settings(redis_url=valkey_url, data=server_data, max_body_bytes=100_000, max_queued=50)
    with ExitStack() as running:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.api.app.Sender", NoSender)
            url = running.enter_context(serving(create_app(settings)))
        yield url


@pytest.fixture
def anonymous(server_url: str, redis: Redis) -> Iterator[httpx.Client]:
    """A client without a key; the ledger is empty."""
    with httpx.Client(base_url=server_url, timeout=20) as client:
        yield client


@pytest.fixture
def client(server_url: str, key: str) -> Iterator[httpx.Client]:
    """A client with a key; the ledger is empty."""
    with httpx.Client(base_url=server_url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:
        yield client


@pytest.fixture
def stranger(server_url: str, redis: Redis) -> Iterator[httpx.Client]:
    """A client with another key."""
    other = make_key()
    add_key(redis, other, "other")
    with httpx.Client(base_url=server_url, headers={"X-API-Key": other}, timeout=20) as client:
        yield client


@pytest.fixture
def queued(redis: Redis) -> Callable[[], int]:
    """How many jobs wait."""
    return lambda: len(waiting_jobs(redis))


@dataclass
class Hand:
    """Does to jobs what a worker does."""

    ledger: Ledger
    store: ImageStore

    def start(self, job_id: str) -> None:
        assert self.ledger.start(job_id, EXECUTION) == 0

    def progress(self, job_id: str, step: int, preview: str | None = None) -> None:
        assert self.ledger.progress(job_id, EXECUTION, step, 20, preview=preview) in ("go", "watched")

    def rewrite(self, job_id: str, rewrite: Rewrite) -> None:
        assert self.ledger.note_rewrite(job_id, EXECUTION, rewrite)

    def succeed(
        self, job_id: str, color: str = "black", fingerprint: str | None = None, backends: Sequence[str] = ()
    ) -> None:
        image_id = self.ledger.read(job_id).image_id
        buffer = BytesIO()
        PilImage.new("RGB", (128, 128), color).save(buffer, "PNG")
        assert self.store.write(image_id, buffer.getvalue())
        timings = {"prepare_s": 0.1, "denoise_s": 1.0, "finish_s": 0.1}
        images = [Image(image_id, 128, 128, len(buffer.getvalue()))]
        kept = None if fingerprint is None else {image_id: fingerprint}
        assert self.ledger.succeed(job_id, EXECUTION, images, timings, fingerprints=kept, backends=backends)

    def fail(self, job_id: str) -> None:
        assert self.ledger.fail(job_id, EXECUTION, DrawingFailed("the image is all\nNaN – sorry"))

    def draw(self, job_id: str, color: str = "black") -> None:
        self.start(job_id)
        self.succeed(job_id, color)


@pytest.fixture
def worker(redis: Redis, server_data: Path) -> Hand:
    """A worker's hand."""
    return Hand(Ledger(redis, 3600), ImageStore(server_data / "images"))


def job_body(**params: Any) -> dict[str, Any]:
    return {"kind": "txt2img", "params": {"prompt": "a red apple", **params}}


@pytest.fixture
def body() -> Callable[..., dict[str, Any]]:
    """The body of a native request."""
    return job_body


@pytest.fixture
def new_job(client: httpx.Client) -> Callable[..., str]:
    """Queues a job; gives its id."""

    def post(**params: Any) -> str:
        answer = client.post("/v1/jobs", json=job_body(**params))
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    return post
