"""Looking at images as a piece of work of the engine: one forward, which rows of the same model share."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import torch
from PIL.Image import Image
from torch import Tensor

from models.diffusion.devices import synchronize
from models.errors import DrawingFailed, JobFailure
from models.jobs.vision import seeing_cost_key
from models.vision.model import FEATURES, VisionModel


class Seeing:
    """Shows images of one job to a vision model, in one step.

    Args:
        inputs: some of :meth:`VisionModel.prepare`, of one shape: float32 [n, 3, height, width].
        what: what is read from the forward; rows that read other things share it all the same.
    """

    step, steps = 0, 1
    batch_sizes: tuple[int, ...] = ()
    step_cost_key: Hashable = None

    def __init__(self, model: VisionModel, inputs: Tensor, what: str) -> None:
        self._model, self._images, self._what = model, inputs, what
        self._output: Tensor | None = None
        self.device = model.device

    @property
    def group_key(self) -> Hashable:
        return self._model, self._images.shape[1:]

    @property
    def cost_key(self) -> Hashable:
        return seeing_cost_key(self._model.spec.name)

    @property
    def backend(self) -> str:
        """What runs the model, by its name; for features before pooling it is torch."""
        return "eager" if self._what == FEATURES else self._model.backend

    @property
    def inputs(self) -> int:
        return len(self._images)

    def forward(self, batch: Sequence[Seeing]) -> list[Tensor | JobFailure]:
        """What each piece of work reads of the shared forward, one row for each of its images, on the device.

        Waits for the device, because the engine learns from the time that a forward takes.
        """
        wanted = dict.fromkeys(each._what for each in batch)
        read = self._model.outputs(torch.cat([each._images for each in batch]), wanted)
        parts = {what: read[what].split([each.inputs for each in batch]) for what in wanted}
        synchronize(self.device)
        return [parts[each._what][index] for index, each in enumerate(batch)]

    def advance(self, batch: Sequence[Seeing], outputs: Sequence[Tensor]) -> list[JobFailure | None]:
        return [each._take(output) for each, output in zip(batch, outputs, strict=True)]

    def _take(self, output: Tensor) -> JobFailure | None:
        self.step = 1
        self._output = output.float().cpu()
        is_finite = bool(torch.isfinite(self._output).all())
        return None if is_finite else DrawingFailed("the output of the vision model is not finite", "model")

    def expect(self, output: Tensor) -> Tensor | None:
        """Always ``None``: there are no previews."""
        return None

    def preview(self, expected: Sequence[Tensor]) -> list[Image]:
        return []

    def finish(self, batch: Sequence[Seeing]) -> list[Tensor | JobFailure]:
        """Float32 on the CPU, one row for each image."""
        return [each._output for each in batch if each._output is not None]
