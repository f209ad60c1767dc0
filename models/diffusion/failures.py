"""From exceptions to job failures, without references that would keep tensors in the device's memory."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from models.errors import DeviceLost, DrawingFailed, InternalFailure, JobFailure, OutOfMemory, PhotogramError

log = logging.getLogger(__name__)

T = TypeVar("T")

_OUT_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|STATUS_ALLOC_FAILED")
"""In messages of the driver, of torch's CPU allocator, and of cuBLAS and cuDNN; torch has a class for its own only."""
_DEVICE_LOST = re.compile(
    r"illegal (memory access|instruction|address)|misaligned address|(invalid|global/shared) address space"
    r"|invalid program counter"
    r"|device-side assert|unspecified launch failure|launch timed out|hardware stack error|uncorrectable (ECC|NVLink)"
    r"|CUDA error: unknown error|GPU is lost|device(\(s\))? is/are busy or unavailable|fallen off the bus",
    re.IGNORECASE,
)
"""CUDA's errors that persist: every later call of the process fails as well (CUDA runtime API, ``cudaError``)."""


def attempt(work: Callable[[], T]) -> T | JobFailure:
    """Return the result of ``work``, or its exception as a failure.

    The failure has no traceback, because the frames of a traceback would keep tensors alive.

    Raises:
        DeviceLost: this process can no longer use the device.
    """
    try:
        return work()
    except Exception as error:
        failure = as_failure(error)
    failure.__cause__ = failure.__context__ = None
    return failure.with_traceback(None)


def as_failure(error: Exception) -> JobFailure:
    """``error`` as a ``JobFailure``; unexpected errors are logged with their traceback, and not shown to clients.

    Raises:
        DeviceLost: this process can no longer use the device.
    """
    if is_device_lost(error):
        raise DeviceLost(summary(error)) from error
    if isinstance(error, JobFailure):
        return error
    if is_out_of_memory(error):
        return OutOfMemory("the job does not fit into the device's memory")
    if isinstance(error, ValueError | NotImplementedError):
        log.warning("a row was refused", exc_info=error)
        return DrawingFailed("the model or the sampler cannot draw with these settings", detail=detail_of(error))
    log.error("a row failed", exc_info=error)
    return InternalFailure("the job failed unexpectedly; the worker's log has details", detail=detail_of(error))


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device or the machine was out of memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and bool(_OUT_OF_MEMORY.search(str(error)))


def is_device_lost(error: BaseException) -> bool:
    """Whether ``error``, or an error that caused it, leaves the device unusable for this process."""
    return any(
        isinstance(each, DeviceLost) or (isinstance(each, RuntimeError) and _DEVICE_LOST.search(str(each)) is not None)
        for each in _with_causes(error)
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def reason_of(error: Exception, otherwise: str) -> str:
    """What clients may read of ``error``: the message of one of our own errors, or ``otherwise`` for a library's."""
    return str(error) if isinstance(error, PhotogramError) else otherwise


def detail_of(error: Exception) -> str | None:
    """The type and the first line of an error of a library, for the ``detail`` of a failure; our own have theirs."""
    if isinstance(error, PhotogramError):
        return getattr(error, "detail", None)
    return f"{type(error).__name__}: {summary(error)}"


def summary(error: Exception, limit: int = 300) -> str:
    """The first line of the error's message, cut to ``limit`` characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__


def release_memory(device: torch.device) -> None:
    """Return the memory that torch caches to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
