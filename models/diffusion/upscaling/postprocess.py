"""Postprocessing of finished images as pieces of work for the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence

import torch
from PIL import Image
from torch import Tensor

from models.errors import JobFailure


class ImageWork(ABC):
    """A piece of work that makes an image, in steps of one input each."""

    steps: int
    """The number of steps in all, at least 1."""
    step: int = 0
    """The number of steps taken so far."""

    device = torch.device("cpu")
    """The device of the image; a model may be on another one."""
    inputs = 1
    step_cost_key = None

    @property
    def is_done(self) -> bool:
        """Whether all steps are taken."""
        return self.step == self.steps

    @property
    def cost_key(self) -> Hashable:
        return self.group_key

    @property
    @abstractmethod
    def group_key(self) -> Hashable:
        """Equal for pieces of work that can share a forward."""

    @abstractmethod
    def advance(self, output: Tensor) -> None:
        """Take one step with the output of ``forward`` for it; raises :class:`DrawingFailed` if that is no image."""

    @abstractmethod
    def image(self) -> Image.Image:
        """The resulting RGB image, once all steps are taken."""

    def expect(self, output: Tensor) -> Tensor | None:
        """Always ``None``: the input image is known, and there are no previews."""
        return None

    def preview(self, expected: Sequence[Tensor]) -> list[Image.Image]:
        return []

    def finish(self, batch: Sequence[ImageWork]) -> list[Image.Image]:
        return [each.image() for each in batch]


class Postprocess(ImageWork):
    """A piece of work on one image; each step is one input of ``model``, which other rows share."""

    model: Callable[[Tensor], Tensor]
    """Takes and returns batches; an output must not depend on the other inputs of the batch."""

    @abstractmethod
    def next_input(self) -> Tensor:
        """The input of ``model`` for the next step: uint8 [1, 3, h, w] on the CPU."""

    def forward(self, batch: Sequence[Postprocess]) -> list[Tensor | JobFailure]:
        """The model's output [1, 3, height, width] for the next step of each piece of work."""
        outputs = self.model(torch.cat([each.next_input() for each in batch]))
        return list(outputs.split(1))
