"""How any exception becomes the one row's failure, without keeping the device's memory alive."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch

from models.errors import DrawingFailed, InternalFailure, JobFailure, OutOfMemory

log = logging.getLogger(__name__)

T = TypeVar("T")


def attempt(work: Callable[[], T]) -> T | JobFailure:
    """The result of ``work``, or why there is none. The failure holds no traceback, whose frames would hold tensors."""
    try:
        return work()
    except Exception as error:
        failure = as_failure(error)
    failure.__cause__ = failure.__context__ = None
    return failure.with_traceback(None)


def as_failure(error: Exception) -> JobFailure:
    """``error`` in Photogram's terms; what nobody foresaw is logged with its traceback."""
    if isinstance(error, JobFailure):
        return error
    if is_out_of_memory(error):
        return OutOfMemory("the job does not fit into the device's memory")
    if isinstance(error, ValueError | NotImplementedError):
        log.warning("a row was refused", exc_info=error)
        return DrawingFailed(summary(error))
    log.error("a row failed", exc_info=error)
    return InternalFailure(f"{type(error).__name__}: {summary(error)}")


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device, or the machine, had no memory left. On a CPU torch says so in the message alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def summary(error: Exception, limit: int = 300) -> str:
    """The first line of the message, ``limit`` characters at most."""
    lines = str(error).strip().splitlines()
    return lines[0][:limit] if lines else type(error).__name__


def release_memory(device: torch.device) -> None:
    """Give the memory that torch keeps in store back to the device."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
