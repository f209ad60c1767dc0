"""Postprocessing of finished images as pieces of work for the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from models.diffusion.devices import synchronize
from models.diffusion.failures import attempt
from models.errors import JobFailure


class ImageWork(ABC):
    """A piece of work that makes an image, in steps of one input each."""

    steps: int
    """The number of steps in all, at least 1."""
    step: int = 0
    """The number of steps taken so far."""

    device = torch.device("cpu")
    """The device on which outputs are put together."""
    inputs = 1
    batch_sizes = ()
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

    def advance(self, batch: Sequence[ImageWork], outputs: Sequence[Tensor]) -> list[JobFailure | None]:
        return [attempt(partial(each.take_step, output)) for each, output in zip(batch, outputs, strict=True)]

    @abstractmethod
    def take_step(self, output: Tensor) -> None:
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
    """Takes batches on the CPU and returns batches on its device; an output must not depend on the other inputs."""

    @abstractmethod
    def next_input(self) -> Tensor:
        """The input of ``model`` for the next step: uint8 [1, 3, h, w] on the CPU."""

    def forward(self, batch: Sequence[Postprocess]) -> list[Tensor | JobFailure]:
        """The model's output [1, 3, height, width], on its device, for the next step of each piece of work.

        Waits for the device, because the engine learns from the time that a forward takes.
        """
        outputs = self.model(torch.cat([each.next_input() for each in batch]))
        synchronize(outputs.device)
        return list(outputs.split(1))
