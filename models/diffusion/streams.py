"""The device's streams: steps compute on the default stream, side work on one of its own beside them.

A stream is a queue of work on a CUDA device; streams do not wait for one another by themselves, and the memory of a
dropped tensor is given at once to the next tensor of the stream that it was made on. So each crossing has a rule:

- *From the steps to side work* (final latents, previews): the side stream waits, on the device, for an event that the
  steps' thread recorded after its last call (:meth:`Streams.beside`). ``record_stream`` is not needed, since side work
  holds its inputs until a copy to the host has shown that its stream has read them.
- *From side work to the steps* (encoded prompts, first latents, masks, conditions): the side thread waits, on the host,
  until its stream is done, and only then the row may take steps. An event wait in the steps' stream would hold up all
  other rows. The steps drop these tensors while their own stream may still read them, so that each is kept by
  ``record_stream`` (:meth:`Streams.hand_over`).
- *From the loader to both* (weights): the loader's thread waits, on the host, until a model is complete
  (:meth:`Streams.settle`). Side work that still reads the weights of a dropped model belongs to a canceled row.

Side work never waits for the steps' queue otherwise. On a CPU there is one queue, and all of this does nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, is_dataclass
from typing import Any, Protocol

import torch

Mark = Any
"""A point in the queue of a stream: a CUDA event, or on a CPU the time in seconds on the monotonic clock."""


class Streams(Protocol):
    """The queues of one device."""

    has_side: bool
    """Whether side work computes beside the steps."""

    def mark(self) -> Mark:
        """The point that the caller's stream has been given work up to."""

    def elapsed_s(self, begin: Mark, end: Mark) -> float | None:
        """The device's seconds between two marks; ``None`` if the device has not passed ``end`` yet."""

    def beside(self, after: Mark | None) -> AbstractContextManager[None]:
        """Compute on the side stream within the block, after the work that ``after`` marks."""

    def hand_over(self, value: object) -> None:
        """Wait until the side stream is done, and let the steps use the tensors in ``value``; called on that stream."""

    def settle(self) -> None:
        """Wait until the work that the caller's stream was given is done."""


def open_streams(device: torch.device) -> Streams:
    """The streams of ``device``."""
    return CudaStreams(Cuda(device)) if device.type == "cuda" else OneQueue()


class OneQueue:
    """A CPU: whoever calls computes at once."""

    has_side = False

    def mark(self) -> Mark:
        return time.monotonic()

    def elapsed_s(self, begin: Mark, end: Mark) -> float | None:
        seconds: float = end - begin
        return seconds

    def beside(self, after: Mark | None) -> AbstractContextManager[None]:
        return nullcontext()

    def hand_over(self, value: object) -> None:
        pass

    def settle(self) -> None:
        pass


class Cuda:
    """The calls of CUDA that streams need, in one place, so that a test without a GPU can record them."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def current_stream(self) -> Any:
        """The calling thread's stream: the default one, which all threads share, or that of a block of :meth:`on`."""
        return torch.cuda.current_stream(self._device)

    def new_stream(self) -> Any:
        """A stream that does not wait for the default one."""
        return torch.cuda.Stream(self._device)

    def on(self, stream: Any) -> AbstractContextManager[None]:
        """Let the calling thread use ``stream`` within the block."""
        context: AbstractContextManager[None] = torch.cuda.stream(stream)
        return context

    def event(self) -> Any:
        """An event that is not recorded yet; a thread that waits for it sleeps, and leaves the core to the steps."""
        return torch.cuda.Event(enable_timing=True, blocking=True)

    def owns(self, tensor: torch.Tensor) -> bool:
        """Whether ``tensor`` is in the device's memory."""
        return tensor.is_cuda

    def keep(self, tensor: torch.Tensor, stream: Any) -> None:
        """Reuse the memory of ``tensor``, once it is dropped, only after ``stream`` has done what it was given."""
        tensor.record_stream(stream)

    def pinned(self, like: torch.Tensor) -> torch.Tensor:
        """Page-locked host memory, which the device copies to without the host; torch keeps it for later calls."""
        return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)


class CudaStreams:
    """A CUDA device: the stream that is current in the engine's thread, and one for side work."""

    has_side = True

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._steps, self._side = cuda.current_stream(), cuda.new_stream()

    def mark(self) -> Mark:
        event = self._cuda.event()
        event.record(self._cuda.current_stream())
        return event

    def elapsed_s(self, begin: Mark, end: Mark) -> float | None:
        return begin.elapsed_time(end) / 1000 if end.query() else None

    @contextmanager
    def beside(self, after: Mark | None) -> Iterator[None]:
        with self._cuda.on(self._side):
            if after is not None:
                self._side.wait_event(after)
            yield

    def hand_over(self, value: object) -> None:
        for tensor in filter(self._cuda.owns, tensors_in(value)):
            self._cuda.keep(tensor, self._steps)
        self.settle()

    def settle(self) -> None:
        self.mark().synchronize()


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """The tensors in ``value``: itself, or in its elements or the fields of dataclasses, but not those of models."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        yield from tensors_in(tuple(value.values()))
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
    elif is_dataclass(value) and not isinstance(value, type):
        yield from tensors_in([getattr(value, field.name) for field in fields(value)])


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """``tensor`` in the host's memory; the one wait for a batch of results. On a CPU ``tensor`` itself."""
    return copied_to_host(tensor, Cuda(tensor.device)) if tensor.is_cuda else tensor


def copied_to_host(tensor: torch.Tensor, cuda: Cuda) -> torch.Tensor:
    """A copy of ``tensor`` in pinned memory, once it is complete; waits for the caller's stream only."""
    copy, done = cuda.pinned(tensor), cuda.event()
    copy.copy_(tensor, non_blocking=True)
    done.record(cuda.current_stream())
    done.synchronize()
    return copy


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``tensor``, of the host, on ``device``; the copy takes its turn in the caller's stream, and nobody waits for it.

    A copy from memory that is not pinned would wait until the stream has done all that it was given before.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
