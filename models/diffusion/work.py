"""The seam between the engine and what it does for a row: pieces of work, and the checkpoints that they wait for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.errors import JobFailure
from models.jobs.params import JobParams


@dataclass(frozen=True, kw_only=True)
class Task:
    """One job, as the engine is given it."""

    kind: str
    params: JobParams
    catalog: Catalog
    """As it was when the job was taken; says where models and helpers are."""
    images: Mapping[str, Image]
    """By source: everything that ``params.sources`` names."""


class Work(Protocol):
    """A piece of a row's way that takes one or more ticks, one forward at each.

    Pieces with equal ``group_key`` may share a forward. What comes of one must not depend on the others.
    """

    step: int
    """Steps taken so far."""

    @property
    def steps(self) -> int:
        """Steps in all."""

    @property
    def group_key(self) -> Hashable:
        """What must be equal in one forward."""

    @property
    def sort(self) -> Hashable:
        """What decides how long a forward of so many inputs takes."""

    @property
    def inputs(self) -> int:
        """How many inputs the piece adds to a forward."""

    @property
    def effort(self) -> Hashable:
        """What decides, besides, how long the forward of the step to come takes; not all steps need be alike."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    def forward(self, batch: Sequence[Self]) -> list[torch.Tensor | JobFailure]:
        """The model's output for each piece in ``batch``, ``self`` among them; any exception fails the whole call."""

    def advance(self, output: torch.Tensor) -> None:
        """Take one step with what :meth:`forward` gave."""

    def preview(self, output: torch.Tensor) -> Image | None:
        """A look at what the piece is heading for, if it can tell; to be asked before :meth:`advance`."""

    def finish(self, batch: Sequence[Self]) -> list[Any]:
        """What has come of each piece in ``batch``, all of them done; failures stand in their places."""


@dataclass(frozen=True)
class Load:
    """A wish for something that is read from disk once and then kept for all rows."""

    key: Hashable
    """What decides the weights: equal keys share them."""
    name: str
    """What is loaded, in words."""
    load: Callable[[], Any]
    """Reads it; called in a thread that may take its time."""


Plan = Generator[Load | Work, Any, Image]
"""A row's way from task to image.

It yields what it needs next and is sent what came of it: for a :class:`Load` what was loaded, for a piece of work what
its ``finish`` gave. What lies between is preparation. It returns the image.
"""
