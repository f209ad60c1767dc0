"""Whether results and uploads can be stored in S3 now."""

from __future__ import annotations

import time

import obstore
from obstore.store import S3Store

from models.errors import StorageUnavailable
from service.backbone.objects.s3_client import failed_since, using_s3
from service.backbone.storage import CACHED_S, StorageMonitor

PROBE = ".probe"
"""The name of the object that checks write."""
PROBE_TIMEOUT_S = 5.0
"""The limit of one request of a check, which is not repeated."""
GOOD_FOR_S = 15.0
"""How long a store that was found to work is not asked again, unless an operation fails in this process."""


class S3Monitor(StorageMonitor):
    """Checks a bucket: it writes an empty object at first and after a failure, then asks for it regularly.

    A write costs more than a question where requests are paid for, and the question finds a service that is down. An
    operation of this process that fails makes the next check due at once; while the store is down, checks are regular.

    Args:
        bucket: with short time limits, and without retries.
    """

    def __init__(self, bucket: S3Store) -> None:
        super().__init__([])
        self._bucket, self._is_proven = bucket, False

    def note_failure(self) -> None:
        """Something could not be stored: from now on, only a write shows that the store works again."""
        self._is_proven, self._checked_at = False, float("-inf")

    @property
    def is_checked(self) -> bool:
        """As :attr:`StorageMonitor.is_checked`; the outcome that the store works holds until an operation fails."""
        return super().is_checked and not self._is_doubtful

    @property
    def _is_doubtful(self) -> bool:
        return self._is_proven and failed_since(self._checked_at)

    @property
    def _valid_s(self) -> float:
        return GOOD_FOR_S if self._is_proven else CACHED_S

    def _check_again(self) -> None:
        """Check the store; whoever asks while another thread does so is told the last outcome, and does not wait."""
        is_first = self._checked_at == float("-inf") and self._write_problem is None
        if not self._lock.acquire(blocking=is_first):
            return
        try:
            if not self.is_checked:
                earlier, self._write_problem = self._write_problem, self._find_write_problem()
                self._is_proven = self._write_problem is None
                self._checked_at = time.monotonic()
                self._log_change(earlier, self._write_problem)
        finally:
            self._lock.release()

    def _find_write_problem(self) -> str | None:
        try:
            if self._is_proven and not self._is_doubtful:
                self._ask()
            else:
                prove(self._bucket)
        except StorageUnavailable as error:
            return str(error)
        return None

    def _ask(self) -> None:
        try:
            with using_s3():
                obstore.head(self._bucket, PROBE)
        except FileNotFoundError:  # so the service answers
            return


def prove(bucket: S3Store) -> None:
    """Write a small object, which stays; raises :class:`StorageUnavailable`."""
    try:
        with using_s3():
            obstore.put(bucket, PROBE, b"")
    except FileNotFoundError as error:
        raise StorageUnavailable("the S3 storage cannot be used: it does not know the bucket") from error
