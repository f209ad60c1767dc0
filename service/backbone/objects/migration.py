"""Copies all objects of one place to another, verified, and again from where it stopped."""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, auto

from service.backbone.files import PRIVATE, Modes
from service.backbone.objects.opening import IMAGES, KINDS, Opener
from service.backbone.objects.protocol import ObjectStore, StoredObject

THREADS = 4
LARGE_BYTES = 32 << 20
"""Of larger objects, one at a time is held in memory."""
_WAITING_MAX = 64


class Outcome(Enum):
    """What became of one object."""

    COPIED = auto()
    PRESENT = auto()
    """It had been copied before."""
    GONE = auto()
    """It was removed from the source in the meantime."""
    DIFFERENT = auto()
    """The target has another object of this name, which was left alone."""


@dataclass
class Progress:
    """How far a migration has come."""

    total: int = 0
    """The objects of the source when it began."""
    total_bytes: int = 0
    done: int = 0
    done_bytes: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    different: list[str] = field(default_factory=list)
    """Names of the objects of which the target has another one, at most 100."""


class Migration:
    """Copies images, files and uploads; nothing is removed or replaced.

    Each object that is copied, or is there already, is read back from the target, and its size and SHA-256 are compared
    with the source. Stored objects never change, so that a server may run meanwhile; what it stores in the source after
    the migration has begun is copied by the next one.

    Args:
        modes: the permissions of images, if the target is a folder.
    """

    def __init__(self, source: Opener, target: Opener, modes: Modes = PRIVATE) -> None:
        self._source, self._target, self._modes = source, target, modes
        self._large = threading.Lock()
        self.progress = Progress()

    def count(self) -> Progress:
        """Count the objects of the source; raises :class:`StorageUnavailable`."""
        for kind in KINDS:
            for found in self._source(kind).list():
                self.progress.total += 1
                self.progress.total_bytes += found.size_bytes
        return self.progress

    def run(self, tell: Callable[[Progress], None]) -> Progress:
        """Copy everything, and ``tell`` after each object; raises :class:`StorageUnavailable`."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="migrate") as pool:
            waiting: deque[tuple[str, StoredObject, Future[Outcome]]] = deque()
            try:
                for kind, found, target in self._all():
                    waiting.append((kind, found, pool.submit(self._copy, found, target)))
                    while len(waiting) >= _WAITING_MAX:
                        self._note(*waiting.popleft(), tell)
                while waiting:
                    self._note(*waiting.popleft(), tell)
            finally:
                for _, _, future in waiting:
                    future.cancel()
        return self.progress

    def _all(self) -> Iterator[tuple[str, StoredObject, ObjectStore]]:
        for kind in KINDS:
            target = self._target(kind, self._modes if kind == IMAGES else PRIVATE)
            for found in self._source(kind).list():
                yield kind, found, target

    def _note(self, kind: str, found: StoredObject, future: Future[Outcome], tell: Callable[[Progress], None]) -> None:
        outcome, progress = future.result(), self.progress
        progress.outcomes[outcome] += 1
        progress.done += 1
        progress.done_bytes += found.size_bytes
        if outcome is Outcome.DIFFERENT and len(progress.different) < 100:
            progress.different.append(f"{kind}/{found.name}")
        tell(progress)

    def _copy(self, found: StoredObject, target: ObjectStore) -> Outcome:
        if found.size_bytes <= LARGE_BYTES:
            return _copied(found, target)
        with self._large:
            return _copied(found, target)


def _copied(found: StoredObject, target: ObjectStore) -> Outcome:
    outcome = Outcome.PRESENT
    if target.find(found.name) is None:
        try:
            target.create(found.name, found.read())
        except FileNotFoundError:
            return Outcome.GONE
        outcome = Outcome.COPIED
    written = target.find(found.name)
    try:
        is_same = written is not None and written.size_bytes == found.size_bytes and _hash(written) == _hash(found)
    except FileNotFoundError:
        return Outcome.GONE
    return outcome if is_same else Outcome.DIFFERENT


def _hash(found: StoredObject) -> bytes:
    return hashlib.sha256(found.read()).digest()
