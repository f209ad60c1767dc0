"""Drawing with a deployed diffusion model, as the service draws a txt2img job of one image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from photogram_runtime.arguments import number, side, whole
from photogram_runtime.components import Component
from photogram_runtime.errors import ComputationFailed, InvalidRequest, PackageDamaged
from photogram_runtime.noise import Noise
from photogram_runtime.package import MANIFEST, Package
from photogram_runtime.prompts import Tokens, plain
from photogram_runtime.samplers import Sampler, build_sampler
from photogram_runtime.schedules import Floats, read_schedule
from photogram_runtime.settings import read_settings

ProgressCallback = Callable[[int, int], object]
"""Called with the number of steps done and of all steps; what it raises ends the drawing."""
SEED_MAX = 2**53 - 1
GUIDANCE_MAX = 50.0
STEPS_MAX = 1000
SIZE_MAX_PX = 8192
_TEXT, _DENOISER, _DECODER = "text_encoder", "unet", "vae_decoder"


@dataclass(frozen=True)
class _Request:
    """What is drawn, checked."""

    texts: tuple[tuple[str, str], ...]
    """The name of the argument and the text of each input of the denoiser, the negative prompt's first."""
    seed: int
    steps: int
    guidance_scale: float
    width: int
    height: int
    sampler: str


class Drawer:
    """Draws with the graphs of one package; may be used by several threads.

    Args:
        threads: that the runtime of the graphs uses; by default all cores.
        cache: a folder that keeps compiled graphs, if the runtime can.

    Raises:
        PackageUnsupported, PackageDamaged: the package cannot be drawn with.
    """

    def __init__(self, package: Package, threads: int | None, cache: Path | None = None) -> None:
        self._settings = settings = read_settings(package)
        try:
            self._schedule = read_schedule(settings.scheduler)
        except (TypeError, ValueError) as error:
            raise PackageDamaged(f"{MANIFEST} has a noise schedule that cannot be read: {str(error)[:200]}") from error
        self._tokens = Tokens(
            package.folder / settings.tokenizer, length=settings.tokens, start_id=settings.start_id,
            end_id=settings.end_id, pad_id=settings.pad_id,
        )  # fmt: skip
        mask = {"attention_mask": 2} if settings.uses_mask else {}
        self._text = Component(
            package, _TEXT, {"input_ids": 2, **mask}, gives=("last_hidden_state",), threads=threads, cache=cache
        )
        inputs = {"sample": 4, "timestep": 1, "encoder_hidden_states": 3}
        self._denoiser = Component(package, _DENOISER, inputs, threads=threads, cache=cache)
        self._decoder = Component(package, _DECODER, {"latents": 4}, gives=("pixels",), threads=threads, cache=cache)

    def draw(
        self,
        prompt: str,
        *,
        negative_prompt: str | None,
        seed: int,
        steps: int | None,
        guidance_scale: float | None,
        width: int | None,
        height: int | None,
        sampler: str | None,
        progress: ProgressCallback | None,
    ) -> Image.Image:
        """See :meth:`photogram_runtime.Deployed.draw`."""
        own = self._settings
        sides = [
            self._side(own_px if px is None else px, name, axis)
            for px, own_px, name, axis in ((width, own.width, "width", 3), (height, own.height, "height", 2))
        ]
        scale = number(
            own.guidance_scale if guidance_scale is None else guidance_scale, "guidance_scale", 0, GUIDANCE_MAX
        )
        negative = plain(own.negative_prompt if negative_prompt is None else negative_prompt, "negative_prompt")
        texts = (("negative_prompt", negative), ("prompt", plain(prompt, "prompt")))
        if progress is not None and not callable(progress):
            raise InvalidRequest("progress must be a function of two numbers: the steps done, and all steps")
        request = _Request(
            texts=texts if scale > 1 else texts[1:],
            seed=whole(seed, "seed", 0, SEED_MAX),
            steps=whole(own.steps if steps is None else steps, "steps", 1, STEPS_MAX),
            guidance_scale=scale,
            width=sides[0],
            height=sides[1],
            sampler=_name(own.sampler if sampler is None else sampler),
        )
        return self._drawn(request, progress)

    def _side(self, px: object, name: str, axis: int) -> int:
        """``px`` as a side that all graphs take."""
        own, factor = self._settings, self._settings.scale_factor
        ranges = [self._denoiser.axis("sample", axis), self._decoder.axis("latents", axis)]
        low = max(low for low, _ in ranges) * factor
        high = min([SIZE_MAX_PX, *(high * factor for _, high in ranges if high is not None)])
        return side(px, name, own.size_multiple, low, high)

    def _drawn(self, request: _Request, progress: ProgressCallback | None) -> Image.Image:
        sampler = build_sampler(request.sampler, self._schedule, request.steps)
        states = [self._states(text, name) for name, text in request.texts]
        noise = Noise(request.seed)
        own = self._settings
        shape = 1, own.latent_channels, request.height // own.scale_factor, request.width // own.scale_factor
        latents = noise.normal(shape) * np.float32(sampler.initial_sigma)
        steps = len(sampler.timesteps)
        with np.errstate(all="ignore"):  # what is not finite is found at the end
            for step in range(steps):
                prediction = self._prediction(sampler, latents, step, states, request.guidance_scale)
                latents = sampler.step(prediction, latents, step, noise)
                if progress is not None:
                    progress(step + 1, steps)
        if not np.isfinite(latents).all():
            raise ComputationFailed("the final latents are not finite numbers")
        return self._decoded(latents, (request.height, request.width))

    def _states(self, text: str, name: str) -> Floats:
        """The hidden states [1, tokens, width] of one text."""
        ids, mask = self._tokens.encode(text, name)
        given = {"input_ids": ids, **({"attention_mask": mask} if self._settings.uses_mask else {})}
        return self._text.run(given, "last_hidden_state")

    def _prediction(
        self, sampler: Sampler, latents: Floats, step: int, states: list[Floats], guidance_scale: float
    ) -> Floats:
        """The denoiser's prediction, with classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598."""
        scaled = sampler.scale(latents, step)
        _, most = self._denoiser.axis("sample", 0)
        together = [np.concatenate(states)] if most is None or len(states) <= most else states
        first, *others = np.concatenate([self._output(scaled, sampler.timesteps[step], each) for each in together])
        prediction = first
        for each in others:
            prediction = prediction + guidance_scale * (each - first)
        return np.asarray(prediction[None], np.float32)

    def _output(self, scaled: Floats, timestep: np.float64, states: Floats) -> Floats:
        """What the denoiser gives for as many inputs as there are ``states``: [inputs, channels, h, w]."""
        count = len(states)
        given = {
            "sample": np.repeat(scaled, count, axis=0), "timestep": np.full(count, timestep, np.float32),
            "encoder_hidden_states": states,
        }  # fmt: skip
        output = self._denoiser.run(given)
        if output.shape != given["sample"].shape:
            raise ComputationFailed(f"the denoiser gave {list(output.shape)} for {list(given['sample'].shape)}")
        return output

    def _decoded(self, latents: Floats, size: tuple[int, int]) -> Image.Image:
        """The image of final latents; ``size`` is (height, width) in pixels."""
        own = self._settings
        unscaled = latents / np.float32(own.scaling_factor) + np.float32(own.shift_factor)
        pixels = self._decoder.run({"latents": unscaled}, "pixels")
        if pixels.shape != (1, 3, *size):
            raise ComputationFailed(f"the decoder gave {list(pixels.shape)} and not an image of {size[1]} x {size[0]}")
        return Image.fromarray(levels(pixels)[0])


def levels(pixels: Floats) -> npt.NDArray[np.uint8]:
    """The levels [N, H, W, 3], 0 to 255, of RGB [N, 3, H, W], -1 to 1; halves are rounded to even numbers."""
    unit = np.clip(pixels * np.float32(0.5) + np.float32(0.5), 0, 1)
    return np.ascontiguousarray(np.rint(unit * np.float32(255)).astype(np.uint8).transpose(0, 2, 3, 1))


def _name(sampler: object) -> str:
    if not isinstance(sampler, str):
        raise InvalidRequest(f"sampler must be a name, not a value of the type {type(sampler).__name__}")
    return sampler
