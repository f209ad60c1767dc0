"""One worker: its parts joined for one queue, started, and stopped by a signal."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from redis.exceptions import RedisError

from models.errors import PhotogramError
from models.jobs.agents import AGENT_QUEUE
from models.jobs.finetuning import TRAINING_QUEUE
from models.jobs.kinds import DIFFUSION_QUEUE, JobKind, job_kinds
from models.media.pixel_budget import PixelBudget
from service.backbone.catalog_file import CatalogFile
from service.backbone.connections import connect, wait_until_writable
from service.backbone.lasting_imports import lasting_imports
from service.backbone.ledger import Ledger
from service.backbone.objects.opening import FILES, IMAGES, open_monitor, open_stores
from service.backbone.provenance import Signing
from service.backbone.settings import Settings
from workers.consumer import Consumer
from workers.executors import PREFETCH, DiffusionExecutor, Executors
from workers.fetch import FetchLimits
from workers.fetching.gate import FetchGate
from workers.fingerprinting import by_eyes, none_of
from workers.finish import Finish
from workers.functions import THREADS, FunctionExecutor, JobFunction, load_functions
from workers.heartbeat import Heartbeat
from workers.held_jobs import HeldJobs
from workers.images import ImageLoader
from workers.loop import JobLoop
from workers.maintenance import Maintenance
from workers.marking import Marking
from workers.metrics import MetricsPublisher
from workers.prepare import OTHER_KEYS_MAX, Prepare, ReadyQueue
from workers.rewriting import Rewriting, rewriter_of
from workers.rq_adapter import RqAdapter
from workers.safety import Safety
from workers.warm import WarmRouting

log = logging.getLogger(__name__)

DiffusionOpener = Callable[[Settings, CatalogFile, Ledger], DiffusionExecutor]


class UnknownQueue(PhotogramError):
    """No registered job kind uses the queue."""


@dataclass(frozen=True)
class _Worker:
    adapter: RqAdapter
    maintenance: Maintenance
    heartbeat: Heartbeat
    loop: JobLoop
    metrics: MetricsPublisher
    executors: Executors
    diffusion: DiffusionExecutor | None


def run(
    settings: Settings,
    redis_url: str,
    name: str,
    queue_name: str = DIFFUSION_QUEUE,
    open_diffusion: DiffusionOpener | None = None,
) -> None:
    """Take jobs from one queue and run them until SIGINT or SIGTERM.

    Args:
        open_diffusion: opens the diffusion engine if a job kind of the queue needs it; ``None`` is the ordinary one.

    Raises:
        UnknownQueue: no job kind uses the queue.
        FunctionMissing: the function of a job kind cannot be imported.
        SettingsError, CatalogError: the settings or the catalog are not valid.
    """
    kinds = _kinds_of(queue_name)
    with connect(redis_url, name) as connection:
        wait_until_writable(connection)
    worker = _build(settings, redis_url, name, kinds, open_diffusion)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: worker.loop.request_stop())
    try:
        if worker.diffusion is not None:
            worker.diffusion.load_default()
        _live(worker)
    finally:
        worker.executors.close()


def _kinds_of(queue_name: str) -> list[JobKind]:
    """The kinds that a worker of this queue runs; kinds that nothing can run have neither plan nor function."""
    runnable = [kind for kind in job_kinds() if kind.plan is not None or kind.function is not None]
    kinds = [kind for kind in runnable if kind.queue == queue_name]
    if not kinds:
        queues = ", ".join(sorted({kind.queue for kind in runnable}))
        raise UnknownQueue(f"no job kind uses the queue {queue_name!r}; the queues are: {queues}")
    return kinds


def _build(
    settings: Settings, redis_url: str, name: str, kinds: list[JobKind], open_diffusion: DiffusionOpener | None
) -> _Worker:
    queue_name = kinds[0].queue
    connection, catalog, held = connect(redis_url, name), CatalogFile(settings.catalog_path), HeldJobs()
    ledger, ready = Ledger(connection, settings.record_ttl_s), ReadyQueue()
    functions = load_functions(kinds)
    has_plans = any(kind.plan is not None for kind in kinds)
    diffusion = (open_diffusion or _open_diffusion)(settings, catalog, ledger) if has_plans else None
    routing = None if diffusion is None else WarmRouting(connection, name, queue_name, diffusion.status)
    adapter = RqAdapter(connection, name, queue_name, held)
    gate = FetchGate(connection, queue_name)
    consumer = Consumer(adapter, ledger, held, kinds, catalog.current, gate, routing)
    maintenance = Maintenance(connection, adapter, ledger, held, routing)
    stores, storage = open_stores(settings), open_monitor(settings, (IMAGES, FILES))
    signing = Signing(settings, connection)
    signing.open_at_start()
    marking = Marking(signing, stores.images, stores.inputs, settings.provenance)
    safety = Safety(settings, catalog.current)
    trains = queue_name == TRAINING_QUEUE
    timeout_s = _timeout_s(settings, queue_name)
    fingerprints = by_eyes if settings.search else none_of
    finish = Finish(
        consumer, stores.images, stores.files, marking, timeout_s, storage, safety, fingerprints=fingerprints
    )

    def can_store() -> bool:
        return not finish.is_keeping and storage.write_problem() is None

    limits = FetchLimits(max_bytes=settings.max_input_bytes, **vars(settings.fetch_policy))
    budget = PixelBudget(settings.decoding_px)
    loader = ImageLoader(stores.inputs, stores.images, limits, budget, settings.cost_limits)
    function_executor = _function_executor(settings, functions, ready, loader.open, queue_name)
    executors = Executors(diffusion, function_executor)
    rewriting = Rewriting(lambda: rewriter_of(settings, redis_url, name))
    others = 0 if trains else OTHER_KEYS_MAX
    prepare = Prepare(consumer, loader, rewriting, lambda: executors.room, ready, can_store, safety, others)
    heartbeat = Heartbeat(maintenance, consumer, prepare, timeout_s, lambda: executors.longest_call_s)
    loop = JobLoop(consumer, prepare, executors, finish, timeout_s, settings.snapshot_every)
    metrics = MetricsPublisher(connection, name, lambda: len(held))
    return _Worker(adapter, maintenance, heartbeat, loop, metrics, executors, diffusion)


def _timeout_s(settings: Settings, queue_name: str) -> float:
    """How long one try of a job of the queue may take."""
    special = {TRAINING_QUEUE: settings.training_timeout_s, AGENT_QUEUE: settings.agent_timeout_s}
    return special.get(queue_name, settings.job_timeout_s)


def _function_executor(
    settings: Settings,
    functions: Mapping[str, JobFunction],
    ready: ReadyQueue,
    open_source: Callable[[str], BinaryIO],
    queue_name: str,
) -> FunctionExecutor | None:
    """What calls ``functions``, if there are any.

    A worker that trains runs one job, one of agents runs many, which mostly wait; both leave others in the queue.
    """
    if not functions:
        return None
    special = {TRAINING_QUEUE: (1, 0), AGENT_QUEUE: (settings.agents, 0)}
    threads, ahead = special.get(queue_name, (THREADS, PREFETCH))
    return FunctionExecutor(
        functions, lambda: ready.put(None), threads, ahead=ahead, open_source=open_source, settings=settings
    )


def _open_diffusion(settings: Settings, catalog: CatalogFile, ledger: Ledger) -> DiffusionExecutor:
    """The ordinary engine; its import takes seconds and memory that workers without an engine must not spend."""
    with lasting_imports():
        from models.diffusion.quiet import silence_libraries

        silence_libraries()
        from workers.diffusion import open_diffusion

    return open_diffusion(settings, catalog, ledger)


def _live(worker: _Worker) -> None:
    worker.adapter.bootstrap("WARNING")
    worker.maintenance.beat()
    worker.heartbeat.start()
    worker.metrics.start()
    log.info("worker %s (pid %d) takes jobs from %s", worker.adapter.name, os.getpid(), worker.adapter.queue.name)
    try:
        worker.loop.run()
    finally:
        worker.metrics.stop()
        worker.heartbeat.stop()
        sign_off(worker.maintenance, worker.adapter)


def sign_off(maintenance: Maintenance, adapter: RqAdapter) -> None:
    """Take the worker off the lists of workers; without Redis, these forget it by themselves."""
    try:
        maintenance.sign_off()
        adapter.teardown()
    except RedisError as error:
        log.warning("this worker stays on the lists of workers for a while: %s", error)
