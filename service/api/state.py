"""The state of a running gateway: its connections, and the services that use them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, TypedDict

from fastapi import Depends, Request
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.language.breaker import CircuitBreaker
from models.language.client import LanguageEngine
from models.language.rewriting import Rewriter
from service.api.answers import Answers
from service.api.conversions import Conversions
from service.api.decoding import Decoding
from service.api.inspecting import Inspector
from service.api.language_probe import LanguageProbe
from service.api.stopping import Stopping
from service.api.stored_files import StoreReads
from service.api.sweeping import handle_due_regularly, sweep_regularly
from service.api.throttling import WrongKeys
from service.backbone.callers import Callers
from service.backbone.catalog_file import CatalogFile
from service.backbone.cluster_metrics import ClusterMetrics
from service.backbone.connections import WriteProbe, connect, connect_async
from service.backbone.due import DueJobs
from service.backbone.key_store import KeyStore
from service.backbone.keys import KeyRing
from service.backbone.language import open_engine, open_rewriter
from service.backbone.leases import Leases
from service.backbone.objects.opening import KINDS, Stores, open_monitor, open_stores
from service.backbone.place_feed import PlaceFeed
from service.backbone.places import Places
from service.backbone.preferences import Preferences
from service.backbone.provenance import Signing
from service.backbone.queue_counts import Queues
from service.backbone.retention import Retention
from service.backbone.settings import Settings, SettingsError
from service.backbone.storage import StorageMonitor
from service.backbone.viewers import Viewers
from service.backbone.watch import JobWatcher
from service.backbone.webhooks.endpoints import WebhookStore
from service.backbone.webhooks.outbox import Outbox
from service.jobs.opening import open_jobs
from service.jobs.service import JobService

if TYPE_CHECKING:
    from service.backbone.image_search import ImageSearch

_CANCEL_AGAIN_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """Everything that routes use."""

    settings: Settings
    redis: Redis
    """A connection for blocking calls, in a thread."""
    catalog: CatalogFile
    keys: KeyRing
    key_store: KeyStore
    jobs: JobService
    watcher: JobWatcher
    answers: Answers
    cluster_metrics: ClusterMetrics
    places: Places
    place_feed: PlaceFeed
    queues: Queues
    decoding: Decoding
    signing: Signing
    conversions: Conversions
    inspector: Inspector
    stores: Stores
    reads: StoreReads
    """For all reads of the stores that a response waits for."""
    storage: StorageMonitor
    ledger_writes: WriteProbe
    callers: Callers
    preferences: Preferences
    engine: LanguageEngine | None
    """``None`` if no language engine is configured, or it is switched off."""
    language_probe: LanguageProbe | None
    rewriter: Rewriter
    wrong_keys: WrongKeys
    viewers: Viewers
    leases: Leases
    """Of the jobs of calls that wait here; they end with their caller, and with this process."""
    image_search: Callable[[], ImageSearch]
    """Its first call imports numpy, which takes a moment and memory that a gateway without searches saves."""
    webhooks: WebhookStore
    outbox: Outbox
    breaker: CircuitBreaker
    """For conversations with the engine; the rewriter has its own."""


class State(TypedDict):
    """What the lifespan adds to the state of every request."""

    gateway: Gateway
    stopping: Stopping


def _open_search(connection: AsyncRedis, watcher: JobWatcher) -> ImageSearch:
    from service.backbone.image_index import ImageIndex
    from service.backbone.image_search import ImageSearch

    return ImageSearch(connection, watcher, ImageIndex(connection))


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """The gateway with its connections open; they are closed when the block ends.

    Raises:
        SettingsError: no ``REDIS_URL`` is set.
        CatalogError: the catalog is invalid.
    """
    if settings.redis_url is None:
        raise SettingsError("REDIS_URL must say where Redis listens")
    catalog = CatalogFile(settings.catalog_path)
    blocking_connection = connect(settings.redis_url, "photogram-gateway-blocking")
    connection = connect_async(settings.redis_url, "photogram-gateway")
    watcher = JobWatcher(connection, settings.record_ttl_s)
    preferences, engine = Preferences(connection), open_engine(settings)
    stores, storage = open_stores(settings), open_monitor(settings, KINDS, settings.min_free_bytes)
    images, reads = stores.images, StoreReads()
    signing, decoding = Signing(settings, blocking_connection), Decoding(settings.decoding_px // 2)
    webhooks = WebhookStore(blocking_connection, settings.webhook_policy)
    places = Places(connection)
    place_feed = PlaceFeed(places, watcher)
    feeding = asyncio.create_task(place_feed.run())
    listening = asyncio.create_task(watcher.listen())
    sweeping = asyncio.create_task(sweep_regularly(Retention(blocking_connection, stores, settings)))
    due = asyncio.create_task(handle_due_regularly(DueJobs(blocking_connection, settings.record_ttl_s)))
    try:
        yield Gateway(
            settings=settings,
            catalog=catalog,
            keys=KeyRing(connection),
            key_store=KeyStore(blocking_connection),
            redis=blocking_connection,
            jobs=open_jobs(
                settings,
                connection,
                blocking_connection,
                catalog=catalog,
                watcher=watcher,
                stores=stores,
                storage=storage,
            ),
            watcher=watcher,
            decoding=decoding,
            answers=Answers(),
            cluster_metrics=ClusterMetrics(connection, shows_keys=settings.metrics_by_key),
            places=places,
            place_feed=place_feed,
            queues=Queues(connection),
            signing=signing,
            conversions=Conversions(decoding, images, reads, signing),
            inspector=Inspector(signing),
            stores=stores,
            reads=reads,
            storage=storage,
            ledger_writes=WriteProbe(connection),
            callers=Callers(connection),
            preferences=preferences,
            engine=engine,
            language_probe=None if engine is None else LanguageProbe(engine),
            rewriter=open_rewriter(settings, engine, connection),
            wrong_keys=WrongKeys(settings.wrong_keys_per_minute),
            viewers=Viewers(connection),
            leases=Leases(connection),
            image_search=cache(partial(_open_search, connection, watcher)),
            webhooks=webhooks,
            outbox=Outbox(blocking_connection),
            breaker=CircuitBreaker(),
        )
    finally:
        sweeping.cancel()
        feeding.cancel()
        due.cancel()
        while not listening.done():  # the Redis client may swallow a cancellation while it connects
            listening.cancel()
            await asyncio.wait([listening], timeout=_CANCEL_AGAIN_S)
        if engine is not None:
            await engine.aclose()
        await connection.aclose(close_connection_pool=True)
        blocking_connection.close()


async def _gateway(request: Request) -> Gateway:
    gateway: Gateway = request.state.gateway
    return gateway


GatewayState = Annotated[Gateway, Depends(_gateway)]
"""The gateway's state, for a route's signature."""
