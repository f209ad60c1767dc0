"""The upscalers by the names of Prodia and A1111, and the weights that each of them needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels
from models.catalog.names import did_you_mean
from models.errors import Problem, ProblemCode, quoted

UPSCALE_MIN, UPSCALE_MAX = 0.1, 8
"""The bounds of the factor by which the job kind ``upscale`` enlarges width and height; below 1 it reduces them."""
UPSCALE_DEFAULT = 2
BUILT_IN_UPSCALERS = ("Lanczos", "Nearest")
"""Plain resampling, which needs no weights."""


@dataclass(frozen=True, kw_only=True)
class KnownUpscaler:
    """An upscaler whose name clients of Prodia and A1111 know."""

    name: str
    weights: tuple[str, ...] = ()
    """The names, without suffix, of the files in which its weights are usually published."""
    refusal: str | None = None
    """Why no server can run it, even with weights; ``None`` if it can be run."""


_ALL = (
    KnownUpscaler(name="ESRGAN_4x", weights=("ESRGAN_4x", "ESRGAN")),
    KnownUpscaler(name="Lanczos"),
    KnownUpscaler(name="Nearest"),
    KnownUpscaler(name="LDSR", refusal="it is a separate latent diffusion model, which Photogram does not implement"),
    KnownUpscaler(name="R-ESRGAN 4x+", weights=("RealESRGAN_x4plus",)),
    KnownUpscaler(name="R-ESRGAN 4x+ Anime6B", weights=("RealESRGAN_x4plus_anime_6B",)),
    KnownUpscaler(name="ScuNET GAN", weights=("scunet_color_real_gan",)),
    KnownUpscaler(name="ScuNET PSNR", weights=("scunet_color_real_psnr",)),
    KnownUpscaler(name="SwinIR 4x", weights=("SwinIR_4x", "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN")),
)

KNOWN_UPSCALERS: Mapping[str, KnownUpscaler] = MappingProxyType({upscaler.name: upscaler for upscaler in _ALL})
"""By name, in the order of Prodia v1. The catalog may have others."""
_IN_ANY_CASE = {name.casefold(): upscaler for name, upscaler in KNOWN_UPSCALERS.items()}


def find_known_upscaler(name: str) -> KnownUpscaler | None:
    """The one of ``KNOWN_UPSCALERS`` called ``name``, whose case is ignored; ``None`` if there is none."""
    return _IN_ANY_CASE.get(name.strip().casefold())


def find_upscaler(name: str, upscalers: AuxiliaryModels) -> AuxiliaryModel | None:
    """The weights of ``name`` among the catalog's: under that name, or under the one they are published by."""
    known = find_known_upscaler(name)
    names = (name,) if known is None else (name, *known.weights)
    found = (upscalers.resolve(each) for each in names)
    return next((extra for extra in found if extra is not None), None)


def upscaler_problem(name: str, upscalers: AuxiliaryModels) -> Problem | None:
    """Why ``name`` cannot be used with the weights that the catalog has; ``None`` if it can."""
    known = find_known_upscaler(name)
    if known is not None and known.refusal is not None:
        return Problem(f"the upscaler {quoted(name)} cannot be used: {known.refusal}", ProblemCode.UNAVAILABLE)
    if known is not None and known.name in BUILT_IN_UPSCALERS:
        return None
    found = find_upscaler(name, upscalers)
    if found is not None:
        broken = found.weights_problem()
        message = f"the upscaler {quoted(name)} cannot be used: {broken}"
        return None if broken is None else Problem(message, ProblemCode.UNAVAILABLE)
    if known is None:
        names = (*BUILT_IN_UPSCALERS, *upscalers)
        message = f"there is no upscaler {quoted(name)}{did_you_mean(name, names)}; there are: {', '.join(names)}"
        return Problem(message, ProblemCode.UNKNOWN_NAME, allowed=names)
    where = f'set file in [upscalers."{known.name}"]'
    message = f"the upscaler {known.name!r} needs weights, such as {known.weights[0]}.pth: {where}"
    return Problem(message, ProblemCode.UNAVAILABLE)
