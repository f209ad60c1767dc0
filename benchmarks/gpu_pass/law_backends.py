"""The law with another memory layout and with compiled blocks."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_pass.law_images import mixed_rows, together
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import Subject, Subjects
from benchmarks.gpu_pass.surface import (
    FLOAT32_BOUND,
    HALF_BOUND,
    CompiledDenoiser,
    Conditioning,
    Denoiser,
    InputShape,
    Residuals,
    call_unet,
    difference,
    seeded_inputs,
)

INPUTS, SHAPE = 4, InputShape(16, 16, 77)
COMPILED_SIZES = (2, 8)
"""The batch sizes for which the check of mixed rows compiles, so that it pads."""


@dataclass
class Contiguous:
    """A denoiser that runs a UNet in torch's default memory format."""

    unet: Any
    name: str = "contiguous"
    relative_error: float | None = field(default=None)

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        return call_unet(self.unet, latents, timesteps, conditioning, residuals)


def layout(subject: Subject) -> Outcome:
    """The UNet's weights are channels last on CUDA, and only there; the VAE's layout is reported."""
    is_cuda = subject.checkpoint.device.type == "cuda"
    unet = _is_channels_last(subject.checkpoint.pipeline.unet)
    vae = _is_channels_last(subject.checkpoint.pipeline.vae)
    return Outcome(unet == is_cuda, {"unet_channels_last": unet, "vae_channels_last": vae})


def _is_channels_last(module: Any) -> bool:
    """Whether all weights of 3 x 3 convolutions are channels last; 1 x 1 weights have both layouts at once."""
    weights = [each.weight for each in module.modules() if isinstance(each, torch.nn.Conv2d)]
    return all(each.is_contiguous(memory_format=torch.channels_last) for each in weights if min(each.shape[1:]) > 1)


def layouts_agree(subject: Subject) -> Outcome:
    """Compare a forward in both layouts, and measure both."""
    unet = subject.checkpoint.pipeline.unet
    contiguous = Contiguous(copy.deepcopy(unet).to(memory_format=torch.contiguous_format))
    return _agrees(contiguous, subject)


def _agrees(denoiser: Denoiser, subject: Subject) -> Outcome:
    unet: Any = subject.checkpoint.pipeline.unet
    found = difference(denoiser, unet)
    bound = FLOAT32_BOUND if subject.dtype == "float32" else HALF_BOUND
    figures = {"relative": found.relative, "max_abs": found.max_abs, "bound": bound}
    figures |= {f"{denoiser.name}_ms": _forward_ms(denoiser, unet)}
    figures |= {"served_ms": _forward_ms(subject.checkpoint.denoiser, unet)}
    return Outcome(found.relative <= bound, figures)


@torch.inference_mode()
def _forward_ms(denoiser: Denoiser, unet: Any, repeats: int = 5) -> float:
    """The shortest time of a forward, with the shapes of :func:`difference`, so that no other shape is compiled."""
    inputs, best = _inputs(unet), float("inf")
    for _ in range(repeats):
        _wait(unet.device)
        began_at = time.perf_counter()
        denoiser.denoise(inputs.latents, inputs.timesteps, inputs.conditioning)
        _wait(unet.device)
        best = min(best, time.perf_counter() - began_at)
    return best * 1000


def _inputs(unet: Any) -> Any:
    """The inputs of :func:`difference`."""
    return seeded_inputs(unet, INPUTS, (SHAPE.height, SHAPE.width), SHAPE.tokens)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Compiled:
    """Opens compiled denoisers, and compiles them for the shapes of each check."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._opened: dict[str, CompiledDenoiser] = {}

    def opens(self, dtype: str) -> Outcome:
        """Open the denoiser as the service does."""
        self.get(dtype)
        return Outcome(True)

    def get(self, dtype: str) -> CompiledDenoiser:
        """The open denoiser."""
        if dtype not in self._opened:
            self._opened[dtype] = CompiledDenoiser(self._unet(dtype), fixed_shapes=True)
        return self._opened[dtype]

    def _unet(self, dtype: str) -> Any:
        return self._subjects.get("tiny", dtype).checkpoint.pipeline.unet

    def agrees(self, dtype: str) -> Outcome:
        """Compare a compiled forward of four inputs with the eager one; the time includes compiling."""
        began_at = time.perf_counter()
        self.get(dtype).warm_up(SHAPE, (INPUTS,))
        outcome = _agrees(self.get(dtype), self._subjects.get("tiny", dtype))
        return Outcome(outcome.passed, outcome.figures | {"with_compiling_s": time.perf_counter() - began_at})

    @torch.inference_mode()
    def pads(self, dtype: str) -> Outcome:
        """Three inputs that are padded to four give the first three outputs of four."""
        unet = self._unet(dtype)
        four, denoiser = _inputs(unet), self.get(dtype)
        conditioning = Conditioning(four.conditioning.hidden_states[:3])
        whole = denoiser.denoise(four.latents, four.timesteps, four.conditioning)
        part = denoiser.denoise(four.latents[:3], four.timesteps[:3], conditioning)
        return Outcome(torch.equal(whole[:3], part), {"shape": list(part.shape)})

    def draws(self, dtype: str, samplers: Sequence[str]) -> Outcome:
        """Compare mixed rows on the compiled UNet with the plain pipeline on the eager one."""
        subject = self._subjects.get("tiny", dtype)
        side = subject.px // subject.checkpoint.pipeline.vae_scale_factor
        self.get(dtype).warm_up(InputShape(side, side, SHAPE.tokens), COMPILED_SIZES)
        return together(subject, mixed_rows(subject, samplers), self.get(dtype))


def checks(subjects: Subjects, dtypes: Sequence[str]) -> Iterator[Check]:
    """The checks of the memory layout."""
    for dtype in dtypes:
        yield Check(f"tiny/{dtype}/channels last: layout", subjects.on("tiny", dtype, layout))
        yield Check(f"tiny/{dtype}/channels last: agrees", subjects.on("tiny", dtype, layouts_agree))


def compiled_checks(subjects: Subjects, samplers: Sequence[str], cap_s: float) -> Iterator[Check]:
    """The checks of compiled blocks, each limited to ``cap_s``."""
    compiled = Compiled(subjects)
    for dtype in ("float16", "float32"):
        yield Check(f"compiled/{dtype}/opens", partial(compiled.opens, dtype), cap_s)
        yield Check(f"compiled/{dtype}/agrees", partial(compiled.agrees, dtype), cap_s)
        yield Check(f"compiled/{dtype}/pads", partial(compiled.pads, dtype), cap_s)
        yield Check(f"compiled/{dtype}/together", partial(compiled.draws, dtype, samplers), cap_s)
