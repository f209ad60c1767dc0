"""What the engine's tests share: a model drawn both ways, and denoisers that misbehave on purpose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DiffusionPipeline
from PIL.Image import Image

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import SDXL, STABLE_DIFFUSION, TXT2IMG
from models.catalog.samplers import SAMPLERS
from models.diffusion.capacity import Capacity
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, Residuals
from models.diffusion.denoising import Denoising
from models.diffusion.engine import Engine
from models.diffusion.events import Event, Failed, Finished, Progressed
from models.diffusion.plans import Tools, plan
from models.diffusion.sampling import build_scheduler
from models.diffusion.work import HostWork, LoadRequest, Task
from models.errors import JobFailure
from models.jobs.params import DrawParams

CPU = torch.device("cpu")

PLAIN_OPTIONS: dict[str, dict[str, Any]] = {
    STABLE_DIFFUSION: {"safety_checker": None, "requires_safety_checker": False},
    SDXL: {"add_watermarker": False},
}


def params(**changes: Any) -> DrawParams:
    """A small request, with ``changes``."""
    defaults: dict[str, Any] = {
        "prompt": "a cat", "negative_prompt": "", "model": "tiny", "sampler": "Euler", "num_inference_steps": 4,
        "guidance_scale": 5.0, "seed": 1, "width": 64, "height": 64,
    }  # fmt: skip
    return DrawParams(**(defaults | changes))


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
    _drawn: dict[DrawParams, tuple[Image, torch.Tensor]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, family: str = STABLE_DIFFUSION, dtype: str = "auto") -> Studio:
        """Load both; the folder itself says what the plain pipeline is."""
        spec = spec_of(folder, family=family, dtype=dtype)
        checkpoint = load_checkpoint(spec, CPU)
        plain = DiffusionPipeline.from_pretrained(folder, dtype=checkpoint.dtype, **PLAIN_OPTIONS[family])
        plain.set_progress_bar_config(disable=True)
        return cls(spec, checkpoint, plain)

    def engine(self, denoiser: Denoiser | None = None, rows: int | None = 8, **options: Any) -> Engine:
        """An engine on the loaded checkpoint, perhaps with another denoiser."""
        checkpoint = replace(self.checkpoint, denoiser=denoiser or self.checkpoint.denoiser)
        engine = Engine(lambda spec: checkpoint, capacity=Capacity(rows), **options)
        engine.load(self.spec)
        return engine

    def draw_plain(self, wanted: DrawParams) -> Image:
        """The image that diffusers itself draws, alone, with a scheduler of its own; each is drawn once."""
        return self._plain(wanted)[0]

    def plain_latents(self, wanted: DrawParams) -> torch.Tensor:
        """The latents of that image."""
        return self._plain(wanted)[1]

    def _plain(self, wanted: DrawParams) -> tuple[Image, torch.Tensor]:
        if wanted not in self._drawn:
            self._drawn[wanted] = self.call_plain(wanted)
        return self._drawn[wanted]

    def call_plain(self, wanted: DrawParams) -> tuple[Image, torch.Tensor]:
        """What diffusers itself draws now: the image and its latents. An empty negative prompt is none."""
        latents: list[torch.Tensor] = []

        def keep(pipeline: DiffusionPipeline, step: int, timestep: object, given: dict[str, Any]) -> dict[str, Any]:
            latents[:] = [given["latents"].clone()]
            return {}

        self.plain.scheduler = self.scheduler(wanted)
        image = self.plain(
            wanted.prompt, negative_prompt=wanted.negative_prompt or None, guidance_scale=wanted.guidance_scale,
            num_inference_steps=wanted.num_inference_steps, width=wanted.width, height=wanted.height,
            generator=torch.Generator().manual_seed(wanted.seed), callback_on_step_end=keep,
        ).images[0]  # fmt: skip
        return image, latents[0]

    def scheduler(self, wanted: DrawParams) -> Any:
        """A fresh scheduler, as diffusers has it."""
        sampler, own = SAMPLERS[wanted.sampler], self.checkpoint.pipeline.scheduler.config
        if sampler.solver == "DPM++ SDE" and sampler.own_layout is None:
            return diffusers.DPMSolverSDEScheduler.from_config(own, **sampler.config, noise_sampler_seed=wanted.seed)
        if hasattr(diffusers, sampler.scheduler) and sampler.own_layout is None:
            return getattr(diffusers, sampler.scheduler).from_config(own, **sampler.config)
        return build_scheduler(wanted.sampler, own, wanted.seed, is_sdxl=self.spec.family == SDXL)

    def off_by(self, wanted: DrawParams, image: Image) -> int:
        """The largest difference of any pixel to the plain pipeline's image, of 255."""
        return pixel_difference(self.draw_plain(wanted), image)


def add_row(
    engine: Engine,
    row_id: str,
    wanted: DrawParams,
    spec: ModelSpec,
    kind: str = TXT2IMG,
    images: Mapping[str, Image] = MappingProxyType({}),
    snapshot: bytes | None = None,
    **auxiliary: Mapping[str, AuxiliaryModel],
) -> None:
    """Add a row that is drawn with the model of ``spec``, in a catalog with it and ``auxiliary`` models only."""
    catalog = Catalog({wanted.model: replace(spec, name=wanted.model)}, extras=auxiliary)
    engine.add_row(row_id, Task(kind=kind, params=wanted, catalog=catalog, images=images), snapshot=snapshot)


def prepare(studio: Studio, wanted: DrawParams, spec: ModelSpec | None = None, **task: Any) -> Denoising:
    """An image before its first step, outside any engine."""
    catalog = Catalog({wanted.model: replace(spec or studio.spec, name=wanted.model)})
    usual: dict[str, Any] = {"kind": TXT2IMG, "params": wanted, "catalog": catalog, "images": {}}
    generator = plan(Task(**usual | task), Tools(lambda spec: studio.checkpoint, CPU))
    with torch.inference_mode():
        request = next(generator)
        while isinstance(request, LoadRequest | HostWork):
            request = generator.send(request.load() if isinstance(request, LoadRequest) else request.compute())
    assert isinstance(request, Denoising)
    return request


def pixel_difference(first: Image, second: Image) -> int:
    """The largest difference of any channel of any pixel, of 255."""
    return int(np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).max())


def run(engine: Engine, steps: int = 500) -> list[Event]:
    """Take steps until the engine is idle, and return all events."""
    events: list[Event] = []
    for _ in range(steps):
        if engine.is_idle:
            return events
        events += engine.step()
    raise AssertionError(f"not idle after {steps} steps: {engine.row_ids}")


def images(events: list[Event]) -> dict[str, Image]:
    """The images by row."""
    finished = {event.row_id: event.result for event in events if isinstance(event, Finished)}
    return {row_id: result for row_id, result in finished.items() if isinstance(result, Image)}


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

    name: str = "watched"
    relative_error: float | None = None

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """As the real one, but watched."""
        self.batches.append(len(latents))
        self.before(len(latents))
        return self.after(self.inner.denoise(latents, timesteps, conditioning, residuals), conditioning)


def poisoned(studio: Studio, prompt: str) -> WatchedDenoiser:
    """A denoiser whose output is not a number for the inputs that come from ``prompt``."""
    states = studio.checkpoint.pipeline.encode_prompt(prompt, CPU, 1, False, "")[0]

    def poison(output: torch.Tensor, conditioning: Conditioning) -> torch.Tensor:
        hit = (conditioning.hidden_states == states).flatten(1).all(1)
        return torch.where(hit[:, None, None, None], torch.nan, output)

    return WatchedDenoiser(studio.checkpoint.denoiser, after=poison)
