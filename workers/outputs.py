"""The output of one execution on its way into the stores; storing it can be tried again until there is space."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from models.errors import StorageUnavailable
from models.jobs.records import JobRecord
from models.jobs.results import FileOutput, Image, JobOutput, StoredFile
from service.backbone.store import FileStore, ImageStore
from workers.marking import Marking
from workers.output_files import checked_files


class StoredOutput:
    """Stores the images and files of a job; what is stored already is not stored again.

    The first image gets the id that the ticket has for it, unless an earlier execution has stored another image there:
    what a link shows never changes. All other ids are new, so that no execution can overwrite the result of another.

    Args:
        records: for each image, the record that its file tells of; ``record`` for all if there are none.
        marking: encodes the images.
        check: called between pieces of the images' encoding; what it raises ends it.
    """

    def __init__(
        self,
        output: JobOutput,
        record: JobRecord,
        images: ImageStore,
        files: FileStore,
        marking: Marking,
        *,
        records: Sequence[JobRecord] = (),
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._record = record
        self._image_store, self._file_store = images, files
        self._waiting = [
            (image.width, image.height, marking.encode(image, told, check))
            for image, told in zip(output.images, records or [record] * len(output.images), strict=True)
        ]
        self._waiting_files = checked_files(output.files)
        self.images: list[Image] = []
        self.files: list[StoredFile] = []

    def store(self) -> None:
        """Store what is not stored yet; raises :class:`StorageUnavailable`."""
        while self._waiting:
            width, height, data = self._waiting[0]
            self.images.append(Image(self._store_image(data), width, height, len(data)))
            del self._waiting[0]
        while self._waiting_files:
            file = self._waiting_files[0]
            self.files.append(_stored(file, self._file_store.add(file.data)))
            del self._waiting_files[0]

    def _store_image(self, data: bytes) -> str:
        own_id = self._record.image_id
        return own_id if not self.images and self._image_store.write(own_id, data) else self._image_store.add(data)

    def discard(self, *, is_deleted: bool = False) -> None:
        """Remove what no record names.

        The image under the job's own id stays: another execution may have stored the same one, and clients of old APIs
        know its link. It goes when the job does, and with the rest if the job ``is_deleted`` already.
        """
        with suppress(OSError, StorageUnavailable):  # a store that cannot be written keeps them
            for image in self.images:
                if is_deleted or image.image_id != self._record.image_id:
                    self._image_store.remove(image.image_id)
            for file in self.files:
                self._file_store.remove(file.file_id)


def _stored(file: FileOutput, file_id: str) -> StoredFile:
    return StoredFile(file_id, file.name, file.media_type, len(file.data))
