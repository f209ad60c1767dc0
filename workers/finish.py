"""The last stage: threads that store the results of a job and write its end, without holding up the loop."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL.Image import Image as PilImage
from redis.exceptions import RedisError

from models.errors import InternalFailure, JobFailure, ModelUnavailable
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.results import FileOutput, Image, StoredFile
from models.media import png
from service.backbone.store import FileStore, ImageStore
from workers.consumer import Consumer
from workers.executors import Finished
from workers.held_jobs import HeldJob
from workers.output_files import checked_files

log = logging.getLogger(__name__)

THREADS = 2


class Finish:
    """Ends jobs in ``ENDING``; each method returns at once."""

    def __init__(self, consumer: Consumer, images: ImageStore, files: FileStore) -> None:
        self._consumer, self._images, self._files = consumer, images, files
        self._noted: dict[str, str | None] = {}
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="finish")

    def succeed(self, job: HeldJob, finished: Finished) -> None:
        """Store the results and end the job as succeeded."""
        self._submit(job, lambda: self._succeed(job, finished))

    def fail(self, job: HeldJob, failure: JobFailure) -> None:
        """End the job as failed."""
        self._submit(job, lambda: self._fail(job, failure))

    def cancel(self, job: HeldJob) -> None:
        """End the job as canceled."""
        self._submit(job, lambda: self._consumer.cancel(job))

    def close(self) -> None:
        """Wait until the end of every job that was handed in is written."""
        self._threads.shutdown()

    def _submit(self, job: HeldJob, work: Callable[[], None]) -> None:
        self._threads.submit(self._guarded, job, work)

    def _guarded(self, job: HeldJob, work: Callable[[], None]) -> None:
        try:
            work()
        except RedisError as error:
            log.warning("job %s will be delivered again when its execution expires: %s", job.job_id, error)
            self._consumer.release(job)
        except JobFailure as failure:
            self._fail_or_release(job, failure)
        except Exception:
            log.exception("the result of job %s could not be stored", job.job_id)
            self._fail_or_release(job, InternalFailure("the result of the job could not be stored"))

    def _fail_or_release(self, job: HeldJob, failure: JobFailure) -> None:
        """End the job as failed; if that fails too, its execution expires and the job is delivered again."""
        try:
            self._consumer.fail(job, failure)
        except Exception:
            log.exception("job %s will be delivered again when its execution expires", job.job_id)
            self._consumer.release(job)

    def _fail(self, job: HeldJob, failure: JobFailure) -> None:
        if failure.detail is not None:
            log.warning("job %s failed: %s (%s)", job.job_id, failure, failure.detail)
        if isinstance(failure, ModelUnavailable) and job.spec is not None and job.record.params.needs_only_its_model:
            self._note_problem(job.spec.name, str(failure))
        self._consumer.fail(job, failure)

    def _note_problem(self, model: str, problem: str | None) -> None:
        """Write the model's problem, or that it has none, unless that is what this worker wrote last."""
        if self._noted.get(model, "") != problem:
            self._consumer.ledger.note_model_problem(model, problem)
            self._noted[model] = problem

    def _succeed(self, job: HeldJob, finished: Finished) -> None:
        began_at, output = time.monotonic(), finished.output
        checked = checked_files(output.files)
        images = self._store_images(output.images, job.record)
        files = self._store_files(checked)
        is_stored = False
        try:
            timings = dict(finished.timings)
            timings["finish_s"] = timings.get("finish_s", 0.0) + time.monotonic() - began_at
            rounded = {stage: round(seconds, 4) for stage, seconds in timings.items()}
            is_stored = self._consumer.succeed(job, images, rounded, output.document, files)
        finally:
            if not is_stored:
                self._remove(images[1:], files)
        if job.spec is not None:
            self._note_problem(job.spec.name, None)

    def _store_images(self, images: Sequence[PilImage], record: JobRecord) -> list[Image]:
        """Store the images, the first one under the id that the ticket has for it."""
        stored = []
        for index, image in enumerate(images):
            image_id = str(uuid.uuid4()) if index else record.image_id
            self._images.write(image_id, _encoded(image, record))
            stored.append(Image(image_id, image.width, image.height))
        return stored

    def _store_files(self, files: Sequence[FileOutput]) -> list[StoredFile]:
        stored = []
        for file in files:
            file_id = str(uuid.uuid4())
            self._files.write(file_id, file.data)
            stored.append(StoredFile(file_id, file.name, file.media_type, len(file.data)))
        return stored

    def _remove(self, images: Sequence[Image], files: Sequence[StoredFile]) -> None:
        """Remove results that no record names; the first image stays, which another execution may have written."""
        for image in images:
            self._images.remove(image.image_id)
        for file in files:
            self._files.remove(file.file_id)


def _encoded(image: PilImage, record: JobRecord) -> bytes:
    """The image as PNG, with the parameters that it was generated with, and the user's prompt if that is another."""
    drawn, original = record.drawn_params, None
    if isinstance(record.params, DrawParams) and isinstance(drawn, DrawParams) and drawn.prompt != record.params.prompt:
        original = record.params.prompt
    return png.encode(image, record.kind, drawn, original)
