"""The denoising of one image: its latents, its scheduler, and its steps, as in the plain diffusers pipeline."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL.Image import Image

from models.diffusion.backends.deepcache import is_full_step
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.control.controlnet import ControlGuide
from models.diffusion.denoiser import Conditioning, InputShape, batch_sizes
from models.diffusion.sampling import NoiseScheduler, predict_original
from models.diffusion.stepping import state
from models.diffusion.stepping.guidance import Weights
from models.diffusion.stepping.tables import StepTable
from models.diffusion.work import Saved
from models.jobs.params import drawing_cost_key


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Keeps the unmasked part of an image: after each step it is put back, with the noise of the next timestep.

    As ``StableDiffusionInpaintPipeline`` does for UNets that take no mask.
    """

    mask: torch.Tensor
    """[1, 1, h, w], 1 where the image is redrawn."""
    original: torch.Tensor
    """The latents of the input image, without noise."""
    noise: torch.Tensor


@dataclass(eq=False, kw_only=True)
class Denoising:
    """The state of one image between two steps, and how one step changes it."""

    checkpoint: Checkpoint
    size: tuple[int, int]
    """Width and height in pixels at which the image is drawn."""
    scheduler: NoiseScheduler
    options: dict[str, Any]
    """The options of the scheduler's ``step``, such as the generator of a random sampler."""
    timesteps: torch.Tensor
    """[steps], the part of the scheduler's timesteps that is run."""
    latents: torch.Tensor
    """[1, ...], of the family's shape."""
    conditioning: Conditioning
    """Of one input; with classifier-free guidance of two or more, the negative prompt's first."""
    guidance_scale: float
    part_weights: tuple[float, ...] | None = None
    """The weights of the inputs after the first, if the prompt is composed of parts."""
    masked: torch.Tensor | None = None
    """[1, ...], the mask and masked image that an inpainting UNet takes as further channels of its input."""
    blend: Blend | None = None
    controls: tuple[ControlGuide, ...] = ()
    reuse_interval: int = 1
    """One in this many steps computes the deep features of the UNet; the others reuse them (arXiv 2312.00858)."""
    deep: torch.Tensor | None = None
    """[inputs, ...], the deep features computed last, if some are to be reused."""
    step: int = 0

    @property
    def steps(self) -> int:
        """The number of steps in all, as the scheduler counts them."""
        return len(self.timesteps)

    @property
    def group_key(self) -> Hashable:
        """All that must be equal for tensors to be concatenated: checkpoint with LoRAs, size, dtype, shapes."""
        states = self.conditioning.hidden_states
        channels = None if self.masked is None else self.masked.shape[1]
        return (
            id(self.checkpoint), self.size, self.latents.dtype, states.shape[1:], channels, self.any_backend,
            self.reuse_interval > 1, type(self),
        )  # fmt: skip

    @property
    def cost_key(self) -> Hashable:
        """Model, size, and whether torch must run the forward."""
        return drawing_cost_key(self.checkpoint.spec.name, self.size, any_backend=self.any_backend)

    @property
    def step_cost_key(self) -> Hashable:
        """Whether the next step computes deep features, and which ControlNets take part in it for which inputs."""
        active = [guide for guide in self.controls if guide.is_active(self.step, self.steps)]
        guides = tuple((id(guide.model), guide.prompted_only) for guide in active)
        return is_full_step(self.step, self.reuse_interval), guides

    @property
    def any_backend(self) -> bool:
        """Whether any backend can run the forward; torch must run ControlNets, LoRAs and reused features."""
        return not self.controls and not self.checkpoint.has_loras and self.reuse_interval == 1

    @property
    def backend(self) -> str:
        """What runs the forward, by its name."""
        needs_torch = bool(self.controls) or self.reuse_interval > 1
        return (self.checkpoint.eager if needs_torch else self.checkpoint.denoiser).name

    @property
    def device(self) -> torch.device:
        return self.checkpoint.device

    @cached_property
    def inputs(self) -> int:
        """The number of inputs that the image adds to a forward: 1 for each prompt, and 1 for guidance."""
        return len(self.conditioning.hidden_states)

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """The sizes of batches that the denoiser runs, ascending; empty for any size, as torch runs them."""
        shape = InputShape.of(self.latents, self.conditioning)
        return batch_sizes(self.checkpoint.denoiser, shape) if self.any_backend else ()

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the next step, a scalar of the scheduler's dtype."""
        return self.timesteps[self.step]

    @cached_property
    def timestep_numbers(self) -> list[float]:
        """``timesteps`` as numbers; not to be used before they are final."""
        numbers: list[float] = self.timesteps.tolist()
        return numbers

    @cached_property
    def table(self) -> StepTable:
        """The coefficients of the scheduler's steps, for steps that are taken together with other images."""
        return StepTable.of(self.scheduler)

    @property
    def scaled(self) -> torch.Tensor:
        """The latents for the next forward [1, ...], scaled by the scheduler."""
        return self.checkpoint.family.scale_input(self.scheduler, self.latents, self.timestep)

    @property
    def output_weights(self) -> Weights:
        """How much each of the model's outputs after the first adds to the prediction, by its difference to the first.

        Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598. The composition of several prompts: Liu et
        al. 2022, arXiv 2206.01714, equation 11.
        """
        if self.part_weights is not None:
            scale = max(self.guidance_scale, 1.0)
            return tuple(scale * weight for weight in self.part_weights)
        return () if self.inputs == 1 else (self.guidance_scale,)

    def guide(self, output: torch.Tensor) -> torch.Tensor:
        """Combine the model's ``output`` [inputs, ...] into one prediction [1, ...]."""
        total: torch.Tensor
        total, *others = output.split(1)
        first = total
        for weight, each in zip(self.output_weights, others, strict=True):
            total = total + weight * (each - first)
        return total

    def expect(self, output: torch.Tensor) -> torch.Tensor:
        """The noiseless latents [1, ...] that the model's ``output`` implies."""
        return predict_original(self.scheduler, self.scaled, self.timestep, self.guide(output))

    def preview(self, expected: Sequence[torch.Tensor]) -> list[Image]:
        """Rough images of expected latents, half as wide and high as the images."""
        return self.checkpoint.preview(torch.cat(list(expected)))

    def step_by_scheduler(self, prediction: torch.Tensor) -> None:
        """Take one step with the scheduler's own ``step``, from the ``prediction`` [1, ...] after guidance.

        Raises:
            Exception: whatever the scheduler raises.
        """
        self.move_to(self.scheduler.step(prediction, self.timestep, self.latents, **self.options)[0])

    def move_to(self, latents: torch.Tensor) -> None:
        """Go on from ``latents`` [1, ...], to which the scheduler has taken a step."""
        self.latents = latents
        self.step += 1
        if self.blend is not None:
            self.latents = self._blended(self.blend)

    def save(self) -> Saved:
        """The state between two steps: latents, and what the scheduler and the generator keep."""
        generator: torch.Generator | None = self.options.get("generator")
        return {
            "drawing": self._drawing,
            "step": self.step,
            "latents": self.latents.to("cpu", copy=True),
            "deep": None if self.deep is None else self.deep.to("cpu", copy=True),
            "scheduler": state.save(self.scheduler),
            "generator": None if generator is None else generator.get_state(),
        }

    def restore(self, saved: Saved) -> bool:
        """Go on from ``saved``; false, and no change, if it is the state of another drawing."""
        if saved["drawing"] != self._drawing:
            return False
        self.latents = saved["latents"].to(self.device)
        self.deep = None if saved["deep"] is None else saved["deep"].to(self.device)
        self.step = saved["step"]
        state.restore(self.scheduler, saved["scheduler"], self.device)
        if saved["generator"] is not None:
            self.options["generator"].set_state(saved["generator"])
        return True

    @property
    def _drawing(self) -> list[object]:
        """Equal for two drawings of one job with the same model, which may be on two machines."""
        spec = self.checkpoint.spec
        return [
            spec.name, spec.family, list(self.latents.shape), str(self.latents.dtype), self.steps, self.reuse_interval,
            type(self.scheduler).__name__, type(self).__name__,
        ]  # fmt: skip

    def _blended(self, blend: Blend) -> torch.Tensor:
        original = blend.original
        if self.step < self.steps:
            family = self.checkpoint.family
            original = family.add_noise(self.scheduler, original, blend.noise, self.timestep)
        return (1 - blend.mask) * original + blend.mask * self.latents
