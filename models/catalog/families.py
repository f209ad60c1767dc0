"""The families of diffusion models, and the facts about each that checks of requests need; torch is not imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from models.catalog.bounds import SIZE_MULTIPLE_PX
from models.catalog.samplers import FLOW_MATCHING, NOISE_SCHEDULE

TXT2IMG = "txt2img"
IMG2IMG = "img2img"
INPAINT = "inpaint"
DRAWN_KINDS = (TXT2IMG, IMG2IMG, INPAINT)
"""The job kinds that generate an image with a diffusion model."""

STABLE_DIFFUSION = "stable-diffusion"
SDXL = "sdxl"
SDXL_REFINER = "sdxl-refiner"
SD3 = "sd3"
FLUX = "flux"
PIXART_SIGMA = "pixart-sigma"

ATTENTIONS = ("sdpa", "eager", "xformers", "flash", "sage")
"""The ways to compute a denoiser's attention; the first is the default."""
_LARGE: Mapping[str, int | float | str] = MappingProxyType({"width": 1024, "height": 1024})


@dataclass(frozen=True, kw_only=True)
class FamilyFacts:
    """What all models of one family have in common."""

    module: str
    """The dotted name of the module that implements the family."""
    denoiser: str = "UNet2DConditionModel"
    """The class of the pipeline's denoiser, as in ``model_index.json``."""
    older_denoiser: str | None = None
    """The name of the same class in older repositories, which diffusers still reads."""
    kinds: tuple[str, ...] = DRAWN_KINDS
    """A subset of :data:`DRAWN_KINDS`; a single model may support fewer."""
    trained_on: str = NOISE_SCHEDULE
    """``NOISE_SCHEDULE`` or ``FLOW_MATCHING``; decides which samplers can be used."""
    size_multiple_px: int = SIZE_MULTIPLE_PX
    """Width and height of a generated image must be multiples of this."""
    takes_negative_prompt: bool = True
    takes_clip_skip: bool = True
    takes_controlnets: bool = True
    takes_loras: bool = True
    attentions: tuple[str, ...] = ATTENTIONS[:3]
    """A subset of :data:`ATTENTIONS`: those that diffusers has for the denoiser."""
    refiner: str | None = None
    """The family of the models that may run the last steps."""
    defaults: Mapping[str, int | float | str] = field(default_factory=dict)
    """Defaults of catalog entries, by the field names of :class:`models.catalog.catalog.Defaults`."""


FAMILIES: Mapping[str, FamilyFacts] = MappingProxyType({
    STABLE_DIFFUSION: FamilyFacts(module="models.diffusion.families.stable_diffusion"),
    SDXL: FamilyFacts(module="models.diffusion.families.sdxl", refiner=SDXL_REFINER, defaults=_LARGE),
    SDXL_REFINER: FamilyFacts(
        module="models.diffusion.families.sdxl_refiner", kinds=(IMG2IMG, INPAINT), takes_controlnets=False,
        defaults=_LARGE,
    ),
    SD3: FamilyFacts(
        module="models.diffusion.families.sd3", denoiser="SD3Transformer2DModel", trained_on=FLOW_MATCHING,
        size_multiple_px=16, takes_controlnets=False, attentions=ATTENTIONS[:1],
        defaults={**_LARGE, "sampler": "Euler", "num_inference_steps": 28, "guidance_scale": 7.0},
    ),
    FLUX: FamilyFacts(
        module="models.diffusion.families.flux", denoiser="FluxTransformer2DModel", trained_on=FLOW_MATCHING,
        size_multiple_px=16, takes_negative_prompt=False, takes_clip_skip=False, takes_controlnets=False,
        attentions=ATTENTIONS,
        defaults={**_LARGE, "sampler": "Euler", "num_inference_steps": 28, "guidance_scale": 3.5},
    ),
    PIXART_SIGMA: FamilyFacts(
        module="models.diffusion.families.pixart_sigma", denoiser="PixArtTransformer2DModel",
        older_denoiser="Transformer2DModel", kinds=(TXT2IMG,),
        size_multiple_px=16, takes_clip_skip=False, takes_controlnets=False, takes_loras=False,
        defaults={**_LARGE, "guidance_scale": 4.5},
    ),
})  # fmt: skip
"""By the value of ``family`` in the catalog."""
