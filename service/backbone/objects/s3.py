"""Objects in a bucket of an S3 service, through obstore (https://developmentseed.org/obstore)."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import obstore
from obstore.store import S3Store

from models.errors import StorageUnavailable
from service.backbone.objects.protocol import StoredObject
from service.backbone.objects.s3_client import using_s3

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PART_BYTES = 8 << 20
"""Larger objects are sent in parts of this size."""
PARTS_AT_ONCE = 4
PIECE_BYTES = 1 << 20
"""How much of an object that is being read is held in memory; smaller ones are read by one request."""
TOUCH_AFTER_S = 3600.0
"""An object that is younger is not touched: S3 cannot change the time of an object without writing it again."""
_LIST_CHUNK = 1000


@dataclass(frozen=True)
class S3Object(StoredObject):
    """An object in a bucket."""

    bucket: S3Store
    key: str
    """Its name with that of its store, below the prefix of the bucket."""

    def open(self) -> BinaryIO:
        """The object, which is read in pieces when it is large."""
        if self.size_bytes <= PIECE_BYTES:
            return io.BytesIO(self.read())
        return io.BufferedReader(cast(io.RawIOBase, _Ranges(self)), PIECE_BYTES)

    def read(self) -> bytes:
        """Its bytes, by one request."""
        with using_s3():
            return bytes(obstore.get(self.bucket, self.key).bytes())

    def read_range(self, start: int, end: int) -> bytes:
        """The bytes from ``start`` up to ``end``."""
        with using_s3():
            return bytes(obstore.get_range(self.bucket, self.key, start=start, end=end))

    def link(self, expires_s: int) -> str:
        """A presigned URL."""
        with using_s3():
            return obstore.sign(self.bucket, "GET", self.key, timedelta(seconds=expires_s))


class _Ranges(io.RawIOBase):
    """An object as a file; each read is a request for a range of it."""

    def __init__(self, found: S3Object) -> None:
        super().__init__()
        self._object, self._position = found, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._object.size_bytes}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        end = min(self._position + len(target), self._object.size_bytes)
        if end <= self._position:
            return 0
        data = self._object.read_range(self._position, end)
        target[: len(data)] = data
        self._position += len(data)
        return len(data)


class S3Objects:
    """Objects whose keys begin with ``folder`` in a bucket (:class:`~.protocol.ObjectStore`).

    Args:
        folder: without slashes at its ends.
        place: the URL of the bucket, with its prefix.
    """

    age_error_s = TOUCH_AFTER_S

    def __init__(self, bucket: S3Store, folder: str, place: str) -> None:
        self._bucket, self._folder = bucket, folder
        self.place = f"{place.rstrip('/')}/{folder}"

    def create(self, name: str, data: bytes) -> bool:
        """Send the object, unless there is one.

        One that is sent in one part is also refused by the service if another one was sent in the meantime, by the
        services that know conditional writes.
        """
        found = self.find(name)
        if found is not None:
            return _has_contents(found, data)
        try:
            self._send(name, data, is_new=len(data) <= PART_BYTES)
        except FileExistsError:
            found = self.find(name)
            return found is not None and _has_contents(found, data)
        return True

    def put(self, name: str, data: bytes) -> None:
        """Send the object."""
        self._send(name, data)

    def _send(self, name: str, data: bytes, *, is_new: bool = False) -> None:
        try:
            with using_s3():
                obstore.put(
                    self._bucket,
                    self._key(name),
                    data,
                    attributes={"Content-Type": _media_type(name)},
                    mode="create" if is_new else "overwrite",
                    chunk_size=PART_BYTES,
                    max_concurrency=PARTS_AT_ONCE,
                )
        except FileNotFoundError as error:
            raise StorageUnavailable("the S3 storage cannot be used: it does not know the bucket") from error

    def find(self, name: str) -> S3Object | None:
        """The object of that name."""
        try:
            with using_s3():
                return self._object(obstore.head(self._bucket, self._key(name)))
        except FileNotFoundError:
            return None

    def touch(self, name: str) -> bool:
        """Send the object again if it is older than :data:`TOUCH_AFTER_S`."""
        found = self.find(name)
        if found is None:
            return False
        if time.time() - found.modified_at > TOUCH_AFTER_S:
            try:
                self.put(name, found.read())
            except FileNotFoundError:  # it was swept this moment
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove the object."""
        try:
            with using_s3():
                obstore.delete(self._bucket, self._key(name))
        except FileNotFoundError:
            return

    def list(self, after: str = "") -> Iterator[S3Object]:
        """The objects, a thousand of them by each request."""
        offset = self._key(after) if after else None
        with using_s3():
            pages = iter(obstore.list(self._bucket, self._folder, offset=offset, chunk_size=_LIST_CHUNK))
        while True:
            with using_s3():
                page = next(pages, None)
            if page is None:
                return
            # some services begin at the first name if there is no object of the name ``after``
            yield from (each for each in map(self._object, page) if each.name > after)

    def remove_partial(self, older_than_s: float) -> int:
        """None: parts of uploads that were broken off are removed by a lifecycle rule of the bucket."""
        return 0

    def _key(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _object(self, meta: Any) -> S3Object:
        key = meta["path"]
        name, modified_at = key.removeprefix(f"{self._folder}/"), meta["last_modified"].timestamp()
        return S3Object(name, meta["size"], modified_at, self._bucket, key)


def _has_contents(found: S3Object, data: bytes) -> bool:
    return found.size_bytes == len(data) and found.read() == data


def _media_type(name: str) -> str:
    return "image/png" if name.endswith(".png") else "application/octet-stream"
