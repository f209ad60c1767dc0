"""A budget in pixels for decoded images, and memory that is given back to the system after large ones."""

from __future__ import annotations

import ctypes
import gc
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection

from PIL.Image import Image

LARGE_PX = 1 << 20
"""From this many pixels on, memory is given back to the system after a release."""
_SMALL_SHARE = 64
"""What needs less than the budget divided by this never waits, so that large images do not hold up small ones."""
_POLL_S = 0.01
_COLLECT_AFTER_S = 1.0
"""After waiting so long, garbage is collected; then after twice as long, and so on."""
_SETTLE_S = 0.3
"""How long after a release memory is given back; the images themselves are freed just after it."""


class PixelBudget:
    """Counts the pixels of images in memory: whoever would make them too many waits, in order.

    What is larger than the whole budget waits until it is alone. Releases may come from anywhere, also from the
    garbage collector.

    Args:
        limit_px: how many pixels there may be at the same time.
    """

    def __init__(self, limit_px: int) -> None:
        self._limit_px = limit_px
        self._held_px = 0
        self._waiting: deque[Lease] = deque()
        self._lock = threading.Lock()
        self._released: queue.SimpleQueue[int] = queue.SimpleQueue()
        """Unlike a lock, it can be used by a finalizer that interrupts any other use of it."""

    @property
    def held_px(self) -> int:
        """The pixels held now."""
        with self._lock:
            return self._count()

    def acquire(self, px: int, is_wanted: Callable[[], bool] = lambda: True) -> Lease | None:
        """Wait until ``px`` more pixels may be in memory; blocking. ``None`` once ``is_wanted`` is false."""
        lease = self.request(px)
        collect_at, pause_s = time.monotonic() + _COLLECT_AFTER_S, _COLLECT_AFTER_S
        while not lease.try_start():
            if not is_wanted():
                lease.release()
                return None
            if time.monotonic() > collect_at:  # what failed may have left images in a cycle with its traceback
                gc.collect()
                pause_s *= 2
                collect_at = time.monotonic() + pause_s
            time.sleep(_POLL_S)
        return lease

    def request(self, px: int) -> Lease:
        """A place in the queue for ``px`` pixels; they are held from the first :meth:`Lease.try_start` that succeeds.

        For callers that cannot block: they ask again and again, and release the lease if they give up.
        """
        lease = Lease(self, px)
        with self._lock:
            self._waiting.append(lease)
        return lease

    def _try_start(self, lease: Lease) -> bool:
        with self._lock:
            held = self._count()
            is_small = lease.px * _SMALL_SHARE < self._limit_px
            is_next = self._waiting[0] is lease and (not held or held + lease.px <= self._limit_px)
            if not is_small and not is_next:
                return False
            self._waiting.remove(lease)
            self._held_px += lease.px
            return True

    def _forget(self, lease: Lease) -> None:
        with self._lock:
            if lease in self._waiting:
                self._waiting.remove(lease)

    def _release(self, px: int) -> None:
        self._released.put(px)
        if px >= LARGE_PX:
            give_memory_back_soon()

    def _count(self) -> int:
        while not self._released.empty():
            self._held_px -= self._released.get()
        return self._held_px


class Lease:
    """A part of a :class:`PixelBudget`."""

    def __init__(self, budget: PixelBudget, px: int) -> None:
        self.px = px
        self._budget = budget
        self._is_held = False

    def try_start(self) -> bool:
        """Hold the pixels, if there is room for them now and nobody asked earlier."""
        self._is_held = self._is_held or self._budget._try_start(self)
        return self._is_held

    def release(self) -> None:
        """Hold nothing any more."""
        if self._is_held:
            self._budget._release(self.px)
            self.px = 0
        else:
            self._budget._forget(self)

    def keep(self, images: Collection[Image], further_px: int = 0) -> None:
        """Hold only the pixels of ``images`` from now on, those of each for as long as anything refers to it.

        Args:
            further_px: pixels that are held as long as the first image, for the result that is made of it.
        """
        kept = [image.width * image.height for image in images]
        for image, px in zip(images, [px + further_px * (not index) for index, px in enumerate(kept)], strict=True):
            weakref.finalize(image, self._budget._release, px).atexit = False
        self._budget._release(self.px - sum(kept) - (further_px if kept else 0))
        self.px = 0


class _Trimmer:
    """Gives freed memory back to the system, once for many requests that come at about the same time."""

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def request(self) -> None:
        """As :func:`give_memory_back_soon`."""
        self._requests.put(None)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            self._requests.get()
            time.sleep(_SETTLE_S)
            while not self._requests.empty():
                self._requests.get()
            give_memory_back()


def give_memory_back() -> None:
    """Return freed memory to the system, where the C library can: glibc keeps much of it otherwise."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


_trimmer = _Trimmer()


def give_memory_back_soon() -> None:
    """Return freed memory to the system in a moment, once for all who ask until then; may be called by a finalizer."""
    _trimmer.request()
