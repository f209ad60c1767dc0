"""``photogram worker``: one worker process, against the Redis at ``REDIS_URL``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable

import torch
from diffusers.utils import logging as diffusers_logging
from redis.exceptions import RedisError
from transformers.utils import logging as transformers_logging

from models.catalog.catalog import ModelSpec
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.load_requests import weights_of
from models.errors import CatalogError, JobFailure
from service.backbone.catalog_file import CatalogFile
from service.backbone.connections import connect
from service.backbone.inputs import InputStore
from service.backbone.ledger import Ledger
from service.backbone.logs import configure_logging
from service.backbone.settings import Settings, SettingsError
from service.backbone.store import ImageStore
from workers.batch_worker import BatchWorker
from workers.drawing import Drawing
from workers.fetch import FetchLimits
from workers.finish import Finish
from workers.heartbeat import Heartbeat
from workers.images import ImageLoader
from workers.rewriting import Rewriting, rewriter_of
from workers.warm import Standing

log = logging.getLogger(__name__)

Loader = Callable[..., Checkpoint]
"""As :func:`~models.diffusion.checkpoint_loading.load_checkpoint`."""


def main(argv: list[str] | None = None) -> int:
    """Run a worker until SIGINT or SIGTERM; gives the exit code."""
    parser = argparse.ArgumentParser(prog="photogram worker", description="Draw jobs from the queue at REDIS_URL.")
    parser.add_argument("--name", default=f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}", help="a name of its own")
    options = parser.parse_args(argv)
    configure_logging("worker")
    quiet_libraries()
    try:
        settings = Settings.from_environment()
    except SettingsError as error:
        print(f"photogram worker: {error}", file=sys.stderr)
        return 2
    if settings.redis_url is None:
        print("photogram worker: set REDIS_URL to the Redis that the gateway uses", file=sys.stderr)
        return 2
    try:
        run(settings, settings.redis_url, options.name)
    except (SettingsError, CatalogError) as error:
        print(f"photogram worker: {error}", file=sys.stderr)
        return 2
    return 0


def run(settings: Settings, redis_url: str, name: str, load: Loader = load_checkpoint) -> None:
    """Load the default model with ``load``, then take and draw jobs until a signal comes."""
    device = pick_device(settings.device)
    catalog = CatalogFile(settings.catalog_path)
    connection = connect(redis_url, name)
    ledger = Ledger(connection, settings.record_ttl_s)

    def load_noted(spec: ModelSpec) -> Checkpoint:
        checkpoint = load(spec, device, backend=settings.backend, cache=settings.backends_folder)
        _note_backend(ledger, checkpoint)
        return checkpoint

    engine = Engine(
        load_noted, device=device, capacity=Capacity(settings.rows), budget_bytes=budget_bytes(settings, device)
    )

    def standing() -> Standing:
        loaded, known = engine.loaded, catalog.current()
        names = [model for model, spec in known.items() if weights_of(spec) in loaded]
        return Standing(names, has_room=engine.waiting == 0)

    worker = BatchWorker(connection, ledger, name, catalog.current, standing)
    images = ImageStore(settings.images_folder)
    limits = FetchLimits(max_bytes=settings.max_input_bytes, allow_private=settings.fetch_private)
    loader = ImageLoader(InputStore(settings.inputs_folder), images, limits)
    rewriting = Rewriting(lambda: rewriter_of(settings, redis_url, name))
    drawing = Drawing(worker, engine, loader, rewriting, Finish(worker, images), settings.job_timeout_s)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: drawing.request_stop())
    _load_default(engine, catalog, ledger)
    try:
        _live(worker, drawing, Heartbeat(worker, settings.job_timeout_s))
    finally:
        engine.close()


def quiet_libraries() -> None:
    """No progress bars, and nothing below an error: what a checkpoint lacks, its loading says in one line of ours."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()


def pick_device(wanted: str) -> torch.device:
    """The device to draw on; ``auto`` is the first GPU, or the CPU where there is none.

    Raises:
        SettingsError: ``wanted`` is no name of a device.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.device(wanted)
    except RuntimeError as error:
        raise SettingsError(f"PHOTOGRAM_DEVICE: there is no device {wanted!r}") from error


def _load_default(engine: Engine, catalog: CatalogFile, ledger: Ledger) -> None:
    """Warm up; a default model that cannot be loaded is noted, other models may still work."""
    known = catalog.current()
    try:
        calibrate(engine.load(known[known.default]), engine.capacity)
    except JobFailure as failure:
        log.error("the default model %s cannot be loaded: %s", known.default, failure)
        ledger.note_model_problem(known.default, str(failure))
    else:
        ledger.note_model_problem(known.default, None)


def _note_backend(ledger: Ledger, checkpoint: Checkpoint) -> None:
    """Tell the model listing what computes the model; that Redis is away is no reason not to draw."""
    denoiser = checkpoint.denoiser
    try:
        ledger.note_model_backend(checkpoint.spec.name, denoiser.name, denoiser.relative_error)
    except RedisError as error:
        log.warning("the backend of %s was not noted: %s", checkpoint.spec.name, error)


def budget_bytes(settings: Settings, device: torch.device) -> int:
    """How much of what was loaded may be kept: as set, else half of the device's memory."""
    if settings.model_bytes is not None:
        return settings.model_bytes
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory // 2)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _live(worker: BatchWorker, drawing: Drawing, heartbeat: Heartbeat) -> None:
    worker.bootstrap("WARNING")
    worker.beat()
    heartbeat.start()
    log.info("worker %s (pid %d) takes jobs", worker.name, os.getpid())
    try:
        drawing.run()
    finally:
        heartbeat.stop()
        worker.sign_off()
        worker.teardown()


if __name__ == "__main__":
    sys.exit(main())
