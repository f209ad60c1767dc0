"""From exceptions to job failures, without references that would keep tensors in the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from models.errors import DrawingFailed, InternalFailure, JobFailure, OutOfMemory

log = logging.getLogger(__name__)

T = TypeVar("T")


def attempt(work: Callable[[], T]) -> T | JobFailure:
    """Return the result of ``work``, or its exception as a failure.

    The failure has no traceback, because the frames of a traceback would keep tensors alive.
    """
    try:
        return work()
    except Exception as error:
        failure = as_failure(error)
    failure.__cause__ = failure.__context__ = None
    return failure.with_traceback(None)


def as_failure(error: Exception) -> JobFailure:
    """``error`` as a ``JobFailure``; unexpected errors are logged with their traceback, and not shown to clients."""
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
    """Whether the device or the machine was out of memory; on a CPU, only the message of torch's error says so."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def detail_of(error: Exception) -> str:
    """The type and the first line of an error of a library, for the ``detail`` of a failure."""
    return f"{type(error).__name__}: {summary(error)}"


def summary(error: Exception, limit: int = 300) -> str:
    """The first line of the error's message, cut to ``limit`` characters."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__


def release_memory(device: torch.device) -> None:
    """Return the memory that torch caches to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
