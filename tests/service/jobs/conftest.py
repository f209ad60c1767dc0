"""A job service over a real, empty Valkey, as the gateway opens it, without the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import Redis

from models.jobs.urls import FetchPolicy
from service.backbone.catalog_file import CatalogFile
from service.backbone.connections import connect_async
from service.backbone.inputs import InputStore
from service.backbone.ledger import Ledger
from service.backbone.listing import JobListing
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.preferences import Preferences
from service.backbone.queue import Intake
from service.backbone.store import FileStore, ImageStore
from service.backbone.watch import JobWatcher
from service.backbone.webhooks.endpoints import WebhookStore
from service.jobs.images import ImageIntake
from service.jobs.service import JobService

MAX_QUEUED = 5


@pytest.fixture
async def jobs(redis: Redis, redis_url: str, tmp_path: Path) -> AsyncIterator[JobService]:
    connection = connect_async(redis_url, "test")
    watcher = JobWatcher(connection, 3600)
    listening = asyncio.create_task(watcher.listen())
    files = FileStore(tmp_path / "files")
    images, inputs = ImageStore(tmp_path / "images"), InputStore(tmp_path / "inputs")
    yield JobService(
        catalog=CatalogFile(tmp_path / "catalog.toml"),
        intake=Intake(connection, MAX_QUEUED),
        watcher=watcher,
        preferences=Preferences(connection),
        images=images,
        files=files,
        image_intake=ImageIntake(inputs, images, 100_000, FetchPolicy()),
        webhooks=WebhookStore(redis, FetchPolicy()),
        ledger=Ledger(redis, 3600),
        public_url="https://example.org",
        listing=JobListing(connection, watcher),
        owned_jobs=OwnedJobs(redis, images, files, 3600),
    )
    while not listening.done():  # the Redis client may swallow a cancellation while it connects
        listening.cancel()
        await asyncio.wait([listening], timeout=0.5)
    await connection.aclose(close_connection_pool=True)
