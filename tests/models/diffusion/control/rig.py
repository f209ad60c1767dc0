"""A tiny pipeline with ControlNets, drawn both ways: rows together in one forward, and by the plain pipeline alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import (
    ControlNetModel,
    DiffusionPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image

from models.diffusion.control.controlnet import ControlGuide, Share, prepare_condition, residuals
from models.diffusion.control.loading import load_controlnet
from models.diffusion.denoiser import Conditioning

CPU = torch.device("cpu")
PX = 64


@dataclass(frozen=True)
class Control:
    """One ControlNet of one row, as a job would ask for it."""

    net: str
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: str = "balanced"


@dataclass(frozen=True)
class ControlRequest:
    """What one row is drawn from."""

    controls: tuple[Control, ...] = ()
    prompt: str = "a cat"
    steps: int = 5
    guidance_scale: float = 5.0
    seed: int = 1


@dataclass
class Progress:
    """One row, with a scheduler of its own."""

    request: ControlRequest
    scheduler: Any
    latents: torch.Tensor
    conditioning: Conditioning
    guides: list[ControlGuide]
    step: int = 0

    @property
    def is_done(self) -> bool:
        return self.step == len(self.scheduler.timesteps)

    @property
    def timestep(self) -> torch.Tensor:
        return self.scheduler.timesteps[self.step]

    @property
    def share(self) -> Share:
        return Share(len(self.conditioning.hidden_states), self.guides, self.step, len(self.scheduler.timesteps))

    def advance(self, output: torch.Tensor) -> None:
        if len(output) == 2:
            output = output[:1] + self.request.guidance_scale * (output[1:] - output[:1])
        self.latents = self.scheduler.step(output, self.timestep, self.latents, return_dict=False)[0]
        self.step += 1


def condition(net: str) -> Image.Image:
    """A condition image, another one for each ControlNet."""
    pixels = np.random.default_rng(ord(net[0])).integers(0, 256, (PX, PX, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@dataclass
class ControlStudio:
    """A tiny pipeline, and its ControlNets by their letters."""

    pipeline: Any
    nets: Mapping[str, ControlNetModel]

    @classmethod
    def open(cls, pipeline_class: type[DiffusionPipeline], folder: Path, nets: Mapping[str, Path]) -> ControlStudio:
        """Load all of it."""
        is_xl = pipeline_class is StableDiffusionXLPipeline
        pipeline = pipeline_class.from_pretrained(folder, **({"add_watermarker": False} if is_xl else {}))
        return cls(pipeline, {
            letter: load_controlnet(path, pipeline.unet, torch.float32, CPU) for letter, path in nets.items()
        })  # fmt: skip

    def guide(self, control: Control) -> ControlGuide:
        """As a row holds it."""
        return ControlGuide(
            model=self.nets[control.net], condition=prepare_condition(condition(control.net), torch.float32, CPU),
            weight=control.weight, start=control.start, end=control.end, mode=control.mode,
        )  # fmt: skip

    @torch.inference_mode()
    def draw(self, requests: Sequence[ControlRequest]) -> list[torch.Tensor]:
        """The last latents of all rows, drawn together."""
        rows = [self._begin(request) for request in requests]
        while waiting := [row for row in rows if not row.is_done]:
            for row, output in zip(waiting, self._forward(waiting), strict=True):
                row.advance(output)
        return [row.latents for row in rows]

    @torch.inference_mode()
    def draw_plain(self, request: ControlRequest) -> torch.Tensor:
        """The last latents of diffusers' own pipeline; all controls of one mode, "balanced" or "control"."""
        latents: torch.Tensor = self._plain(request.controls)(
            request.prompt, guidance_scale=request.guidance_scale, num_inference_steps=request.steps, width=PX,
            height=PX, generator=torch.Generator().manual_seed(request.seed), output_type="latent",
            **_plain_options(request.controls),
        ).images  # fmt: skip
        return latents

    @torch.inference_mode()
    def pixels(self, latents: torch.Tensor) -> torch.Tensor:
        """0..255."""
        vae = self.pipeline.vae
        decoded: torch.Tensor = vae.decode(latents / vae.config.scaling_factor, return_dict=False)[0]
        return (decoded / 2 + 0.5).clamp(0, 1) * 255

    def _begin(self, request: ControlRequest) -> Progress:
        scheduler = type(self.pipeline.scheduler).from_config(self.pipeline.scheduler.config)
        scheduler.set_timesteps(request.steps)
        shape = (1, self.pipeline.unet.config.in_channels, PX // 8, PX // 8)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(request.seed))
        guides = [self.guide(control) for control in request.controls]
        return Progress(request, scheduler, noise * scheduler.init_noise_sigma, self._encode(request), guides)

    def _encode(self, request: ControlRequest) -> Conditioning:
        guided = request.guidance_scale > 1
        if not isinstance(self.pipeline, StableDiffusionXLPipeline):
            prompted, without = self.pipeline.encode_prompt(request.prompt, CPU, 1, guided)
            return Conditioning(torch.cat([without, prompted]) if guided else prompted)
        prompted, without, pooled, pooled_without = self.pipeline.encode_prompt(
            request.prompt, device=CPU, do_classifier_free_guidance=guided
        )
        states = torch.cat([without, prompted]) if guided else prompted
        text_embeds = torch.cat([pooled_without, pooled]) if guided else pooled
        time_ids = torch.tensor([[PX, PX, 0, 0, PX, PX]], dtype=states.dtype).expand(len(states), -1)
        return Conditioning(states, None, {"text_embeds": text_embeds, "time_ids": time_ids})

    def _forward(self, rows: list[Progress]) -> tuple[torch.Tensor, ...]:
        shares = [row.share for row in rows]
        scaled = [row.scheduler.scale_model_input(row.latents, row.timestep) for row in rows]
        latents = torch.cat([each.expand(share.inputs, -1, -1, -1) for each, share in zip(scaled, shares, strict=True)])
        timesteps = torch.cat([row.timestep.float().expand(row.share.inputs) for row in rows])
        conditioning = Conditioning.cat([row.conditioning for row in rows])
        added = residuals(shares, latents, timesteps, conditioning)
        output = self.pipeline.unet(
            latents, timesteps, encoder_hidden_states=conditioning.hidden_states,
            added_cond_kwargs=dict(conditioning.extra_kwargs), return_dict=False,
            down_block_additional_residuals=added.down if added else None,
            mid_block_additional_residual=added.mid if added else None,
        )[0]  # fmt: skip
        return output.split([share.inputs for share in shares])

    def _plain(self, controls: Sequence[Control]) -> Any:
        parts = dict(self.pipeline.components)
        parts["scheduler"] = type(parts["scheduler"]).from_config(parts["scheduler"].config)
        is_xl = isinstance(self.pipeline, StableDiffusionXLPipeline)
        options = {"add_watermarker": False} if is_xl else {"requires_safety_checker": False}
        if not controls:
            made = (StableDiffusionXLPipeline if is_xl else StableDiffusionPipeline)(**parts, **options)
        else:
            nets = [self.nets[control.net] for control in controls]
            plain_class = StableDiffusionXLControlNetPipeline if is_xl else StableDiffusionControlNetPipeline
            made = plain_class(**parts, controlnet=nets if len(nets) > 1 else nets[0], **options)
        made.set_progress_bar_config(disable=True)
        return made


def _plain_options(controls: Sequence[Control]) -> dict[str, Any]:
    """As the pipelines of one ControlNet and of several take them."""
    if not controls:
        return {}
    images, weights = [condition(each.net) for each in controls], [each.weight for each in controls]
    several = len(controls) > 1
    return {
        "image": images if several else images[0],
        "controlnet_conditioning_scale": weights if several else weights[0],
        "control_guidance_start": [each.start for each in controls],
        "control_guidance_end": [each.end for each in controls],
        "guess_mode": controls[0].mode == "control",
    }
