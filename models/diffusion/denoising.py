"""One image's latents on their way from noise: the same steps in the same order as the plain pipeline takes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image

from models.diffusion.backends.deepcache import takes_full_step
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.controlnet import ControlGuide
from models.diffusion.decoding import decode
from models.diffusion.denoiser import Conditioning
from models.diffusion.forwards import predict
from models.diffusion.row import drawing_sort
from models.diffusion.sampling import Scheduler, predict_original
from models.errors import JobFailure


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Keeps the part of an image that is not masked: it is put back after each step, as noisy as the rest.

    As ``StableDiffusionInpaintPipeline`` does for UNets that take no mask.
    """

    mask: torch.Tensor
    """[1, 1, h, w], 1 where the image is drawn anew."""
    original: torch.Tensor
    """The latents of the image, without noise."""
    noise: torch.Tensor


@dataclass(eq=False, kw_only=True)
class Denoising:
    """A piece of work: one image in progress."""

    checkpoint: Checkpoint
    size: tuple[int, int]
    """Width and height in pixels at which it is drawn."""
    scheduler: Scheduler
    options: dict[str, Any]
    """What the scheduler's step takes beside the latents; the generator among it, where it is random."""
    timesteps: torch.Tensor
    """[steps], those of the scheduler's timesteps that are run."""
    latents: torch.Tensor
    """[1, ...], of the family's shape."""
    conditioning: Conditioning
    """Of one input; of two under classifier-free guidance, first without the prompt and then with it."""
    guidance_scale: float
    masked: torch.Tensor | None = None
    """[1, ...], the channels of mask and masked image that an inpainting UNet takes beside the latents."""
    blend: Blend | None = None
    controls: tuple[ControlGuide, ...] = ()
    reuse_interval: int = 1
    """Deep features are computed at one step in so many, and reused at the others (DeepCache, arXiv 2312.00858)."""
    deep: torch.Tensor | None = None
    """The deep features [inputs, ...] that were computed last, if any are to be reused."""
    keeps_latents: bool = False
    """Whether the outcome is the latents, for another model to go on with, and not an image."""
    step: int = 0

    @property
    def steps(self) -> int:
        """Steps in all, by the scheduler's own count."""
        return len(self.timesteps)

    @property
    def group_key(self) -> Hashable:
        """Checkpoint, LoRAs included, size, dtype and what else must be equal for tensors to fit together."""
        states = self.conditioning.hidden_states
        channels = None if self.masked is None else self.masked.shape[1]
        return (
            id(self.checkpoint), self.size, self.latents.dtype, states.shape[1:], channels, self.is_plain,
            self.reuse_interval > 1, self.keeps_latents,
        )  # fmt: skip

    @property
    def sort(self) -> Hashable:
        """Model, size, and whether torch has to run it."""
        return drawing_sort(self.checkpoint.spec.name, self.size, is_plain=self.is_plain)

    @property
    def effort(self) -> Hashable:
        """Whether the step to come is a full one, and the ControlNets that steer it or its prompted input alone."""
        active = [guide for guide in self.controls if guide.is_active(self.step, self.steps)]
        steered_by = tuple((id(guide.model), guide.prompted_only) for guide in active)
        return takes_full_step(self.step, self.reuse_interval), steered_by

    @property
    def is_plain(self) -> bool:
        """Whether any backend can predict for it; else torch must."""
        return not self.controls and not self.checkpoint.has_loras and self.reuse_interval == 1

    @property
    def device(self) -> torch.device:
        """The checkpoint's."""
        return self.checkpoint.device

    @property
    def inputs(self) -> int:
        """How many inputs the image adds to a forward: 2 with classifier-free guidance, 1 without."""
        return len(self.conditioning.hidden_states)

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the step to come, a scalar of the scheduler's own type."""
        return self.timesteps[self.step]

    def model_input(self) -> torch.Tensor:
        """The latents for the next forward [1, ...], as the scheduler wants them scaled."""
        scaled = self._scaled
        return scaled if self.masked is None else torch.cat([scaled, self.masked], dim=1)

    @property
    def _scaled(self) -> torch.Tensor:
        return self.checkpoint.family.scale_input(self.scheduler, self.latents, self.timestep)

    def forward(self, batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
        """Each one's raw model output [inputs, ...]."""
        return predict(batch)

    def guide(self, output: torch.Tensor) -> torch.Tensor:
        """One prediction [1, ...] from the model's ``output`` [inputs, ...].

        Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598.
        """
        if self.inputs == 1:
            return output
        without, prompted = output.chunk(2)
        return without + self.guidance_scale * (prompted - without)

    def preview(self, output: torch.Tensor) -> Image | None:
        """A look at what the image is heading for, half as wide and high as it is drawn."""
        original = predict_original(self.scheduler, self._scaled, self.timestep, self.guide(output))
        return self.checkpoint.preview(original)

    def advance(self, output: torch.Tensor) -> None:
        """Take one step.

        Raises:
            Exception: whatever the scheduler has to complain about.
        """
        prediction = self.guide(output)
        self.latents = self.scheduler.step(prediction, self.timestep, self.latents, **self.options)[0]
        self.step += 1
        if self.blend is not None:
            self.latents = self._blended(self.blend)

    def _blended(self, blend: Blend) -> torch.Tensor:
        original = blend.original
        if self.step < self.steps:
            family = self.checkpoint.family
            original = family.add_noise(self.scheduler, original, blend.noise, self.timestep)
        return (1 - blend.mask) * original + blend.mask * self.latents

    def finish(self, batch: Sequence[Denoising]) -> list[Any]:
        """The images, decoded together; or the latents [1, ...], if they are to be kept."""
        return [each.latents for each in batch] if self.keeps_latents else decode(batch)
