"""CUDA's streams and events without a GPU: tensors stay on the CPU, and every call is recorded in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from models.diffusion import decoding, engine, preview
from models.diffusion.streams import CudaStreams, copied_to_host

Call = tuple[str, ...]


@dataclass(eq=False)
class FakeStream:
    name: str
    calls: list[Call]

    def wait_event(self, event: FakeEvent) -> None:
        self.calls.append((self.name, "waits for", event.name))


@dataclass(eq=False)
class FakeEvent:
    """Passed as soon as it is recorded, unless ``cuda.is_behind``."""

    name: str
    cuda: FakeCuda

    def record(self, stream: FakeStream) -> None:
        self.cuda.calls.append((stream.name, "records", self.name))

    def synchronize(self) -> None:
        self.cuda.calls.append(("host", "waits for", self.name))

    def query(self) -> bool:
        return not self.cuda.is_behind

    def elapsed_time(self, end: FakeEvent) -> float:
        return self.cuda.elapsed_ms


@dataclass
class FakeCuda:
    """Stands for :class:`models.diffusion.streams.Cuda`."""

    calls: list[Call] = field(default_factory=list)
    kept: list[torch.Tensor] = field(default_factory=list)
    is_behind: bool = False
    elapsed_ms: float = 250.0
    _events: int = 0
    _current: threading.local = field(default_factory=threading.local)

    def __post_init__(self) -> None:
        self.steps = FakeStream("steps", self.calls)

    def current_stream(self) -> FakeStream:
        return getattr(self._current, "stream", self.steps)

    def new_stream(self) -> FakeStream:
        return FakeStream("side", self.calls)

    @contextmanager
    def on(self, stream: FakeStream) -> Iterator[None]:
        before, self._current.stream = self.current_stream(), stream
        try:
            yield
        finally:
            self._current.stream = before

    def event(self) -> FakeEvent:
        self._events += 1
        return FakeEvent(f"event {self._events}", self)

    def owns(self, tensor: torch.Tensor) -> bool:
        return True

    def keep(self, tensor: torch.Tensor, stream: FakeStream) -> None:
        self.calls.append((stream.name, "keeps", str(id(tensor))))
        self.kept.append(tensor)

    def pinned(self, like: torch.Tensor) -> torch.Tensor:
        self.calls.append(("host", "pins", str(like.nbytes)))
        return torch.empty_like(like)

    def host_waits(self) -> list[Call]:
        return [call for call in self.calls if call[:2] == ("host", "waits for")]

    def copies(self) -> list[Call]:
        return [call for call in self.calls if call[:2] == ("host", "pins")]


def install(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """Let engines take the CPU for a CUDA device, whose calls are recorded."""
    cuda: Any = FakeCuda()
    monkeypatch.setattr(engine, "open_streams", lambda device: CudaStreams(cuda))
    for module in (decoding, preview):
        monkeypatch.setattr(module, "to_host", lambda tensor: copied_to_host(tensor, cuda))
    fake: FakeCuda = cuda
    return fake
