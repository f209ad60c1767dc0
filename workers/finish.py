"""The last stage: threads that encode the image, store it, and close the job in the ledger and then in RQ."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from PIL.Image import Image as PilImage
from redis.exceptions import RedisError

from models.diffusion.events import Finished
from models.errors import InternalFailure, JobFailure, ModelUnavailable
from models.jobs.params import DrawParams
from models.jobs.records import Image, JobRecord
from models.media import png
from service.backbone.store import ImageStore
from workers.batch_worker import BatchWorker
from workers.slots import Slot

log = logging.getLogger(__name__)

THREADS = 2


class Finish:
    """Ends jobs without holding up the device."""

    def __init__(self, worker: BatchWorker, store: ImageStore) -> None:
        self._worker, self._store = worker, store
        self._noted: dict[str, str | None] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="finish")

    def succeed(self, slot: Slot, finished: Finished) -> None:
        """Store the image and end the job as succeeded."""
        self._submit(slot, lambda: self._succeed(slot, finished))

    def fail(self, slot: Slot, failure: JobFailure) -> None:
        """End the job as failed."""
        self._submit(slot, lambda: self._fail(slot, failure))

    def cancel(self, slot: Slot) -> None:
        """End the job as canceled."""
        self._submit(slot, lambda: self._worker.cancel(slot))

    def close(self) -> None:
        """Wait until everything handed in is written."""
        self._threads.shutdown()

    def _submit(self, slot: Slot, work: Callable[[], None]) -> None:
        self._threads.submit(self._guarded, slot, work)

    def _guarded(self, slot: Slot, work: Callable[[], None]) -> None:
        try:
            work()
        except RedisError as error:
            log.warning("job %s is left to be delivered anew: %s", slot.job_id, error)
            self._worker.abandon(slot)
        except Exception:
            log.exception("job %s could not be finished", slot.job_id)
            self._fail_or_abandon(slot)

    def _fail_or_abandon(self, slot: Slot) -> None:
        """Say that finishing failed; if even that fails, the execution expires and the job is delivered anew."""
        try:
            self._worker.fail(slot, InternalFailure("the image was drawn but could not be stored"))
        except Exception:
            log.exception("job %s is left to be delivered anew", slot.job_id)
            self._worker.abandon(slot)

    def _fail(self, slot: Slot, failure: JobFailure) -> None:
        if isinstance(failure, ModelUnavailable) and slot.spec is not None and _needs_only_its_model(slot):
            self._note_problem(slot.spec.name, str(failure))
        self._worker.fail(slot, failure)

    def _note_problem(self, model: str, problem: str | None) -> None:
        """Tell the ledger what was last found out about the model, unless it was told already."""
        if self._noted.get(model, "") != problem:
            self._worker.ledger.note_model_problem(model, problem)
            self._noted[model] = problem

    def _succeed(self, slot: Slot, finished: Finished) -> None:
        started = time.monotonic()
        record, image = slot.record, finished.result
        self._store.write(record.image_id, _encoded(image, record))
        timings = {
            "prepare_s": round(finished.prepare_s, 4),
            "denoise_s": round(finished.denoise_s, 4),
            "finish_s": round(finished.finish_s + time.monotonic() - started, 4),
        }
        stored = Image(record.image_id, image.width, image.height)
        self._worker.succeed(slot, [stored], timings)
        if slot.spec is not None:
            self._note_problem(slot.spec.name, None)


def _encoded(image: PilImage, record: JobRecord) -> bytes:
    """The image's file, with what it was drawn from in it, and what the user wrote if that is another prompt."""
    drawn, original = record.drawn_params, None
    if isinstance(record.params, DrawParams) and isinstance(drawn, DrawParams) and drawn.prompt != record.params.prompt:
        original = record.params.prompt
    return png.encode(image, record.kind, drawn, original)


def _needs_only_its_model(slot: Slot) -> bool:
    """Whether what is missing can be nothing but the model: no LoRA, ControlNet, upscaler or refiner."""
    params = slot.record.params
    return isinstance(params, DrawParams) and not any(
        (params.loras, params.controls, params.second_pass, params.refiner)
    )
