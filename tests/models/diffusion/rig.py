"""What the engine's tests share: a model drawn both ways, and denoisers that misbehave on purpose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL.Image import Image

from models.catalog import ModelSpec
from models.diffusion.checkpoint import Checkpoint, load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser
from models.diffusion.engine import Engine
from models.diffusion.events import Drawn, Event, Failed, Progressed
from models.errors import JobFailure
from models.families import SDXL, STABLE_DIFFUSION
from models.params import Txt2ImgParams
from models.samplers import SAMPLERS

CPU = torch.device("cpu")

PLAIN_OPTIONS: dict[str, dict[str, Any]] = {
    STABLE_DIFFUSION: {"safety_checker": None, "requires_safety_checker": False},
    SDXL: {"add_watermarker": False},
}


def params(**changes: Any) -> Txt2ImgParams:
    """A small request, with ``changes``."""
    defaults: dict[str, Any] = {
        "prompt": "a cat", "negative_prompt": "", "model": "tiny", "sampler": "Euler", "num_inference_steps": 4,
        "guidance_scale": 5.0, "seed": 1, "width": 64, "height": 64,
    }  # fmt: skip
    return Txt2ImgParams(**(defaults | changes))


def spec_of(folder: Path | None, **changes: Any) -> ModelSpec:
    """The catalog's entry for a tiny pipeline."""
    defaults: dict[str, Any] = {"name": "tiny", "family": "stable-diffusion", "folder": folder}
    return ModelSpec(**(defaults | changes))


@dataclass
class Studio:
    """One tiny model: loaded once for engines, and once more for the plain pipeline that they are compared with."""

    spec: ModelSpec
    checkpoint: Checkpoint
    plain: DiffusionPipeline
    _plain_pictures: dict[Txt2ImgParams, Image] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, family: str = STABLE_DIFFUSION, dtype: str = "auto") -> Studio:
        """Load both; the folder itself says what the plain pipeline is."""
        spec = spec_of(folder, family=family, dtype=dtype)
        checkpoint = load_checkpoint(spec, CPU)
        plain = DiffusionPipeline.from_pretrained(folder, dtype=checkpoint.dtype, **PLAIN_OPTIONS[family])
        plain.set_progress_bar_config(disable=True)
        return cls(spec, checkpoint, plain)

    def engine(self, denoiser: Denoiser | None = None, **options: Any) -> Engine:
        """An engine on the loaded checkpoint, perhaps with another denoiser."""
        checkpoint = replace(self.checkpoint, denoiser=denoiser or self.checkpoint.denoiser)
        return Engine(lambda spec: checkpoint, **options)

    def draw_plain(self, wanted: Txt2ImgParams) -> Image:
        """The picture that diffusers itself draws, alone, with a scheduler of its own."""
        if wanted not in self._plain_pictures:
            self._plain_pictures[wanted] = self.call_plain(wanted, output_type="pil")[0]
        return self._plain_pictures[wanted]

    def call_plain(self, wanted: Txt2ImgParams, output_type: str) -> Any:
        """What diffusers itself gives: pictures, or latents. An empty negative prompt is none."""
        sampler, own = SAMPLERS[wanted.sampler], self.checkpoint.pipeline.scheduler.config
        self.plain.scheduler = getattr(diffusers, sampler.scheduler).from_config(own, **sampler.config)
        return self.plain(
            wanted.prompt, negative_prompt=wanted.negative_prompt or None, guidance_scale=wanted.guidance_scale,
            num_inference_steps=wanted.num_inference_steps, width=wanted.width, height=wanted.height,
            generator=torch.Generator().manual_seed(wanted.seed), output_type=output_type,
        ).images  # fmt: skip

    def off_by(self, wanted: Txt2ImgParams, picture: Image) -> int:
        """The largest difference of any pixel to the plain pipeline's picture, of 255."""
        return pixel_difference(self.draw_plain(wanted), picture)


def pixel_difference(first: Image, second: Image) -> int:
    """The largest difference of any channel of any pixel, of 255."""
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).max())


def run(engine: Engine, ticks: int = 500) -> list[Event]:
    """Tick until there is nothing to do; all events."""
    events: list[Event] = []
    for _ in range(ticks):
        if engine.is_idle:
            return events
        events += engine.tick()
    raise AssertionError(f"not idle after {ticks} ticks: {engine.row_ids}")


def pictures(events: list[Event]) -> dict[str, Image]:
    """The pictures by row."""
    return {event.row_id: event.picture for event in events if isinstance(event, Drawn)}


def failures(events: list[Event]) -> dict[str, JobFailure]:
    """The failures by row."""
    return {event.row_id: event.failure for event in events if isinstance(event, Failed)}


def progress(events: list[Event], row_id: str) -> list[Progressed]:
    """One row's progress."""
    return [event for event in events if isinstance(event, Progressed) and event.row_id == row_id]


@dataclass
class WatchedDenoiser:
    """A real denoiser that notes the size of each batch; ``before`` may refuse it, ``after`` may change the output."""

    inner: Denoiser
    before: Callable[[int], None] = lambda inputs: None
    after: Callable[[torch.Tensor, Conditioning], torch.Tensor] = lambda output, conditioning: output
    batches: list[int] = field(default_factory=list)

    def denoise(self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        """As the real one, but watched."""
        self.batches.append(len(latents))
        self.before(len(latents))
        return self.after(self.inner.denoise(latents, timesteps, conditioning), conditioning)


def poisoned(studio: Studio, prompt: str) -> WatchedDenoiser:
    """A denoiser whose output is not a number for the inputs that come from ``prompt``."""
    states = studio.checkpoint.pipeline.encode_prompt(prompt, CPU, 1, False, "")[0]

    def poison(output: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        hit = (conditioning.hidden_states == states).flatten(1).all(1)
        return torch.where(hit[:, None, None, None], torch.nan, output)

    return WatchedDenoiser(studio.checkpoint.denoiser, after=poison)
