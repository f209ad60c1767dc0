"""Jobs on finished images, as the engine sees them: steps, each of which takes part in a forward with others'."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence

import torch
from PIL import Image
from torch import Tensor

from models.errors import JobFailure


class Postprocess(ABC):
    """One job on one image. Each step is one input of ``model``; nothing else is shared with other jobs."""

    model: Callable[[Tensor], Tensor]
    """Takes and gives batches; no output depends on the other inputs of the batch."""
    steps: int
    """Steps in all, at least 1."""
    step: int = 0
    """Steps taken."""

    device = torch.device("cpu")
    """Where the image is; the model may be elsewhere."""
    inputs = 1
    effort = None

    @property
    def is_done(self) -> bool:
        """Whether :meth:`image` is final."""
        return self.step == self.steps

    @property
    def sort(self) -> Hashable:
        """What decides how long a forward takes."""
        return self.group_key

    @property
    @abstractmethod
    def group_key(self) -> Hashable:
        """Equal for jobs whose next steps can share a forward."""

    @abstractmethod
    def next_input(self) -> Tensor:
        """What the step to come gives to ``model``: uint8 [1, 3, h, w] on the CPU."""

    @abstractmethod
    def advance(self, output: Tensor) -> None:
        """Take one step with its part of the model's output [1, 3, height, width].

        Raises:
            DrawingFailed: the output is not finite.
        """

    @abstractmethod
    def image(self) -> Image.Image:
        """The RGB image that came of it; to be asked for when the job is done."""

    def forward(self, batch: Sequence[Postprocess]) -> list[Tensor | JobFailure]:
        """One output [1, 3, height, width] for the next step of each job; they all have the same ``group_key``."""
        outputs = self.model(torch.cat([each.next_input() for each in batch]))
        return list(outputs.split(1))

    def preview(self, output: Tensor) -> Image.Image | None:
        """None: the image is known already, only smaller."""
        return None

    def finish(self, batch: Sequence[Postprocess]) -> list[Image.Image]:
        """Each job's image."""
        return [each.image() for each in batch]
