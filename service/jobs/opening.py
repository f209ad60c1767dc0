"""Opens the job service of a process, as the settings describe it."""

from __future__ import annotations

from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from service.backbone.catalog_file import CatalogFile
from service.backbone.ledger import Ledger
from service.backbone.listing import JobListing
from service.backbone.objects.opening import Stores
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.preferences import Preferences
from service.backbone.queue import Intake
from service.backbone.settings import Settings
from service.backbone.storage import StorageMonitor
from service.backbone.watch import JobWatcher
from service.backbone.webhooks.endpoints import WebhookStore
from service.jobs.images import ImageIntake
from service.jobs.service import JobService


def open_jobs(
    settings: Settings,
    connection: AsyncRedis,
    blocking_connection: Redis,
    *,
    catalog: CatalogFile,
    watcher: JobWatcher,
    stores: Stores,
    storage: StorageMonitor,
) -> JobService:
    """The job service.

    Args:
        connection: for the running event loop; ``blocking_connection`` is for threads.
        watcher: one that listens.
    """
    image_intake = ImageIntake(
        stores.inputs,
        stores.images,
        settings.max_input_bytes,
        settings.fetch_policy,
        storage,
        archive_max_bytes=settings.max_body_bytes,
    )
    return JobService(
        catalog=catalog,
        intake=Intake(connection, settings.max_queued, settings.record_ttl_s, settings.redis_wait_replicas),
        watcher=watcher,
        preferences=Preferences(connection),
        images=stores.images,
        files=stores.files,
        image_intake=image_intake,
        webhooks=WebhookStore(blocking_connection, settings.webhook_policy),
        ledger=Ledger(blocking_connection, settings.record_ttl_s),
        public_url=settings.public_url,
        storage=storage,
        limits=settings.cost_limits,
        provenance=settings.provenance,
        retention_s=settings.image_ttl_s,
        listing=JobListing(connection, watcher),
        owned_jobs=OwnedJobs(blocking_connection, stores.images, stores.files, settings.record_ttl_s),
    )
