"""A row: one picture in progress, with everything that it shares with no other."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from PIL.Image import Image

from models.catalog import ModelSpec
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.sampling import Scheduler, build_scheduler, predict_original, step_options
from models.params import Txt2ImgParams


@dataclass(eq=False, kw_only=True)
class Row:
    """One picture in progress; the same steps in the same order as the plain pipeline takes for it alone."""

    row_id: str
    params: Txt2ImgParams
    checkpoint: Checkpoint
    scheduler: Scheduler
    options: dict[str, Any]
    """What the scheduler's step takes beside the latents; the generator among it, where it is random."""
    latents: torch.Tensor
    """[1, channels, h, w]."""
    conditioning: Conditioning
    """Of one input; of two under classifier-free guidance, first without the prompt and then with it."""
    admitted_at: float
    """Seconds on the monotonic clock; so is ``denoised_at``, the time of the last step taken."""
    denoised_at: float = 0.0
    prepare_s: float = 0.0
    step: int = 0
    served_s: float = 0.0
    """The row's share of the device's time so far, counted on from where the least served row was when it joined."""

    @property
    def steps(self) -> int:
        """Steps in all, by the scheduler's own count."""
        return len(self.scheduler.timesteps)

    @property
    def is_done(self) -> bool:
        """Whether only the decoding is left."""
        return self.step == self.steps

    @property
    def inputs(self) -> int:
        """How many inputs the row adds to a forward: 2 with classifier-free guidance, 1 without."""
        return len(self.conditioning.hidden_states)

    @property
    def timestep(self) -> torch.Tensor:
        """The timestep of the step to come, a scalar of the scheduler's own type."""
        return self.scheduler.timesteps[self.step]

    def model_input(self) -> torch.Tensor:
        """The latents for the next forward [1, channels, h, w]."""
        return self.scheduler.scale_model_input(self.latents, self.timestep)

    def guide(self, output: torch.Tensor) -> torch.Tensor:
        """One prediction [1, channels, h, w] from the model's ``output`` [inputs, channels, h, w].

        Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598.
        """
        if self.inputs == 1:
            return output
        without, prompted = output.chunk(2)
        return without + self.params.guidance_scale * (prompted - without)

    def preview(self, prediction: torch.Tensor) -> Image:
        """A look at what the row is heading for; to be asked before :meth:`advance`."""
        original = predict_original(self.scheduler, self.model_input(), self.timestep, prediction)
        return self.checkpoint.previewer(original)

    def advance(self, prediction: torch.Tensor) -> None:
        """Take one step.

        Raises:
            Exception: whatever the scheduler has to complain about.
        """
        self.latents = self.scheduler.step(prediction, self.timestep, self.latents, **self.options)[0]
        self.step += 1
        self.denoised_at = time.monotonic()


@torch.inference_mode()
def admit(row_id: str, params: Txt2ImgParams, spec: ModelSpec, checkpoint: Checkpoint) -> Row:
    """Everything before the first step: encode the prompt, lay out the timesteps, draw the noise, in this order.

    Raises:
        DrawingFailed: the sampler is unknown.
        ValueError: the scheduler cannot take so many, or so few, steps.
    """
    size = spec.drawn_size(params.width, params.height)
    conditioning = checkpoint.family.encode(checkpoint.pipeline, params, size, checkpoint.device)
    scheduler = build_scheduler(params.sampler, checkpoint.pipeline.scheduler.config)
    scheduler.set_timesteps(params.num_inference_steps)  # on the CPU: looking them up waits for no device
    generator = torch.Generator().manual_seed(params.seed)
    noise = _noise(checkpoint, size, conditioning.hidden_states.dtype, generator)
    return Row(
        row_id=row_id,
        params=params,
        checkpoint=checkpoint,
        scheduler=scheduler,
        options=step_options(scheduler, generator),
        latents=noise * scheduler.init_noise_sigma,
        conditioning=conditioning,
        admitted_at=time.monotonic(),
    )


def _noise(
    checkpoint: Checkpoint, size: tuple[int, int], dtype: torch.dtype, generator: torch.Generator
) -> torch.Tensor:
    """Normal noise for a picture of ``size`` (width, height), drawn on the CPU so that every device gets the same."""
    pipeline = checkpoint.pipeline
    width, height = (side // pipeline.vae_scale_factor for side in size)
    shape = (1, pipeline.unet.config.in_channels, height, width)
    noise: torch.Tensor = randn_tensor(shape, generator=generator, device=checkpoint.device, dtype=dtype)
    return noise
