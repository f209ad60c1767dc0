"""The diffusion engine as an executor of jobs; the only module of the worker that imports torch or the engine."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable

import torch
from redis.exceptions import RedisError

from models.catalog.catalog import ModelSpec
from models.diffusion import events
from models.diffusion.calibration import calibrate
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.failures import attempt
from models.diffusion.load_requests import weights_of
from models.downloads.on_disk import is_hub_offline, is_on_disk
from models.errors import JobFailure, ModelUnavailable
from service.backbone.catalog_file import CatalogFile
from service.backbone.ledger import Ledger
from service.backbone.metrics import REGISTRY
from service.backbone.settings import Settings, SettingsError
from workers.candidates import Candidates
from workers.engine_metrics import EngineMetrics, observe_step
from workers.executors import PREFETCH, Event, Failed, Finished
from workers.held_jobs import HeldJob
from workers.warm import WorkerStatus

log = logging.getLogger(__name__)

Loader = Callable[..., Checkpoint]
"""As :func:`~models.diffusion.checkpoint_loading.load_checkpoint`."""


def open_diffusion(
    settings: Settings, catalog: CatalogFile, ledger: Ledger, load: Loader = load_checkpoint
) -> EngineExecutor:
    """An engine on the device that ``settings`` names.

    Raises:
        SettingsError: there is no such device.
    """
    device = pick_device(settings.device)
    log.info("models run on %s", describe_device(device))

    def load_and_note(spec: ModelSpec) -> Checkpoint:
        try:
            checkpoint = load(
                spec, device, backend=settings.backend, cache=settings.backends_folder,
                packages=settings.packages_folder,
            )  # fmt: skip
        except ModelUnavailable as error:
            advice = f"photogram models check {shlex.quote(spec.name)} says more"
            raise ModelUnavailable(f"{error}; {advice}", error.field, detail=error.detail) from error
        _note_backend(ledger, checkpoint)
        return checkpoint

    budget_bytes = _budget_bytes(settings, device)
    engine = Engine(
        load_and_note,
        device=device,
        capacity=Capacity(settings.rows),
        budget_bytes=budget_bytes,
        observer=observe_step,
        packages=settings.packages_folder,
    )
    REGISTRY.register(EngineMetrics(engine))
    return EngineExecutor(engine, catalog, ledger, describe_device(device))


class EngineExecutor:
    """Runs jobs as rows of the engine: one row for each candidate of a job's image, which mostly is one.

    The rows of a job share forwards with each other as with those of other jobs, and are shared out by owner and weight
    like these; the engine does not know that they belong together.
    """

    longest_call_s = 0.0
    """A device that hangs keeps its jobs held, which the heartbeat notices."""

    def __init__(self, engine: Engine, catalog: CatalogFile, ledger: Ledger, device: str) -> None:
        self._engine, self._catalog, self._ledger, self._device = engine, catalog, ledger, device
        self._jobs: dict[str, Candidates] = {}
        """By execution id."""
        self._job_of: dict[str, Candidates] = {}
        """By the id of each row."""
        self._unmeasured: Checkpoint | None = None

    @property
    def room(self) -> int:
        """How many more rows the engine could admit soon.

        A job whose candidates wait counts at least as one of the jobs that are taken ahead, but never as all of them:
        the jobs of other API keys behind it share the device with it.
        """
        waiting = self._engine.waiting_ids
        jobs = {id(self._job_of.get(row_id)) for row_id in waiting}
        return max(max(PREFETCH, self._engine.joining_soon) - len(waiting), PREFETCH - len(jobs))

    @property
    def is_idle(self) -> bool:
        """Whether the engine has no rows."""
        return self._engine.is_idle

    def start(self, job: HeldJob) -> None:
        """Let the job join the engine as a row for each of its candidates."""
        candidates, record = Candidates(job), job.record
        self._jobs[job.execution_id] = candidates
        for row in candidates.new_rows():
            self._job_of[row.row_id] = candidates
            self._engine.add_row(row.row_id, row.task, row.is_watched, row.snapshot, record.owner, record.weight)

    def save(self, execution_id: str) -> bytes | None:
        """What is drawn of the job."""
        candidates = self._jobs.get(execution_id)
        saved = None if candidates is None else attempt(lambda: candidates.save(self._engine.save_row))
        return None if isinstance(saved, JobFailure) else saved

    def stop(self, execution_id: str) -> None:
        """Remove the rows of the job."""
        candidates = self._jobs.pop(execution_id, None)
        for row_id in [] if candidates is None else candidates.row_ids:
            self._job_of.pop(row_id, None)
            self._engine.cancel_row(row_id)

    def poll(self) -> list[Event]:
        """Run one step of the engine."""
        found = (self._joined(event) for event in self._engine.step())
        return [event for event in found if event is not None]

    def _joined(self, event: events.Event) -> Event | None:
        """``event`` as one of its job; what ends the job removes its rows, whose later events say nothing."""
        candidates = self._job_of.get(event.row_id)
        joined = None if candidates is None else candidates.joined(event)
        if isinstance(joined, Finished | Failed):
            self.stop(joined.execution_id)
        return joined

    def close(self) -> None:
        """End the engine's threads."""
        self._engine.close()

    def status(self) -> WorkerStatus:
        """The loaded models of the catalog, whether the engine would admit another row soon, and its device."""
        loaded, catalog = self._engine.loaded, self._catalog.current()
        names = [model for model, spec in catalog.items() if weights_of(spec) in loaded]
        has_room = self._engine.waiting < self._engine.joining_soon
        return WorkerStatus(names, has_room=has_room, device=self._device)

    def load_default(self) -> None:
        """Load the default model; if it cannot be loaded, other models may still work.

        A model that must be downloaded first is left to the first job that uses it: the worker would take no jobs
        until the hub has sent gigabytes, or has not answered for minutes.
        """
        catalog = self._catalog.current()
        spec = catalog[catalog.default]
        if not is_on_disk(spec) and not is_hub_offline():
            log.warning("the default model %s is not on this machine: its first job downloads it", spec.name)
            return
        try:
            self._unmeasured = self._engine.load(spec)
        except JobFailure as failure:
            log.error("the default model %s cannot be loaded: %s (%s)", catalog.default, failure, failure.detail)
            self._ledger.note_model_problem(catalog.default, str(failure))
        else:
            self._ledger.note_model_problem(catalog.default, None)

    def measure_default(self, is_over: Callable[[], bool]) -> None:
        """Let the engine find the batch size of the default model, until ``is_over()``."""
        checkpoint, self._unmeasured = self._unmeasured, None
        if checkpoint is not None:
            calibrate(checkpoint, self._engine.capacity, is_over=is_over)


def pick_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first GPU, or the CPU if there is none.

    Raises:
        SettingsError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"PHOTOGRAM_DEVICE: there is no device {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(f"PHOTOGRAM_DEVICE: there is no device {name!r}; GPUs here: {torch.cuda.device_count()}")
    return device


def describe_device(device: torch.device) -> str:
    """The device with the name of its model and, if it is one of those that were chosen for the worker, which."""
    if device.type != "cuda":
        return str(device)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    return f"{device} ({torch.cuda.get_device_name(device)}{'' if chosen is None else f'; of {chosen}'})"


def _note_backend(ledger: Ledger, checkpoint: Checkpoint) -> None:
    """Write the model's backend for the model listing; if Redis cannot be reached, jobs run all the same."""
    denoiser = checkpoint.denoiser
    try:
        ledger.note_model_backend(checkpoint.spec.name, denoiser.name, denoiser.relative_error)
    except RedisError as error:
        log.warning("the backend of %s could not be noted: %s", checkpoint.spec.name, error)


def _budget_bytes(settings: Settings, device: torch.device) -> int:
    """How much memory cached models may take: as set, or this worker's part of half of the device's memory."""
    if settings.model_bytes is not None:
        return settings.model_bytes
    if device.type == "cuda":
        whole = int(torch.cuda.get_device_properties(device).total_memory)
    else:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return whole // 2 // settings.device_workers
