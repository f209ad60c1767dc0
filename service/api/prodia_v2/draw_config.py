"""The config of jobs that draw, translated into the noun that the native core knows."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.catalog.catalog import Catalog
from models.catalog.families import SDXL_REFINER
from models.catalog.samplers import find_sampler
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import Control, DrawRequest, LoraUse, Mask, Refiner, SecondPass
from models.jobs.payload import build
from service.api.native.schemas import BodyOf
from service.api.prodia_v2.fields import Config, Number, Whole
from service.api.prodia_v2.inputs import Inputs, assign
from service.api.prodia_v2.job_types import JobType, choose_model, first_of, missing_family

_Noun = TypeVar("_Noun")

_GUIDANCE = ("guidance_scale", "cfg_scale", "guidance")
_NAMED = "A filename of an `input`, or a URL, Base64, `input:<sha256>` or `image:<id>`. "


class MaskConfig(BaseModel):
    """How a part of an image is drawn anew, where the image of the mask alone does not say enough."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    image: str | None = Field(default=None, description=_NAMED + "The second `input` if it is left out.")
    blur_px: int | None = None
    fill: str | None = Field(default=None, description="`original`, `fill`, `latent_noise` or `latent_nothing`.")
    invert: bool | None = None
    only_masked: bool | None = None
    padding_px: int | None = None


class DrawConfig(Config):
    """What an image is drawn from. The last eight keys are Photogram's own; `docs/native-api.md` explains them."""

    prompt: str
    negative_prompt: str | None = None
    model: str | None = Field(None, description="A name from `GET /v1/models`, of the family that the type draws with.")
    steps: Whole = Field(None, description="1 to the model's `max_steps`.")
    width: Whole = None
    height: Whole = None
    aspect_ratio: str | None = Field(None, description="`16:9` and others, instead of width and height.")
    seed: Whole = Field(None, description="None, like -1, draws a seed; the answer's config names it.")
    style_preset: str | None = None
    loras: list[str | BodyOf[LoraUse]] | None = Field(None, description="`name`, `name@0.8` or `name:0.8`.")
    guidance_scale: Number = Field(None, description="`cfg_scale` and `guidance` are other names for it.")
    cfg_scale: Number = None
    guidance: Number = None
    sampler: str | None = None
    strength: Number = Field(None, description="Of img2img and inpainting: above 0, at most 1.")
    image: str | None = Field(None, description=_NAMED + "The first `input` if it is left out.")
    images: list[str] | None = Field(None, description="The same for all images that the job starts from, in order.")
    mask: str | MaskConfig | None = Field(None, description=_NAMED + "The second `input` if it is left out.")
    refiner: bool | BodyOf[Refiner] | None = Field(None, description="True takes the catalog's first SDXL refiner.")
    progressive: bool | None = Field(None, description="Of JPEG: a progressive one.")
    resize_mode: str | None = None
    clip_skip: Whole = None
    controls: list[BodyOf[Control]] | None = None
    second_pass: BodyOf[SecondPass] | None = None
    reuse_interval: Whole = None
    priority: Whole = None

    def to_request(self, job_type: JobType, catalog: Catalog, inputs: Inputs) -> DrawRequest:
        """The same in our words; raises :class:`InvalidTicket` for what can be told to be wrong already."""
        controls = tuple(self._control(index, inputs) for index in range(len(self.controls or ())))
        mask = MaskConfig(image=self.mask) if isinstance(self.mask, str) else self.mask
        named = {"image": self.image, "mask": None if mask is None else mask.image}
        sources = assign(job_type.roles, named, self.images or (), inputs)
        return DrawRequest(
            kind=job_type.kind,
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=choose_model(job_type, self.model, catalog),
            sampler=self.sampler and (find_sampler(self.sampler) or self.sampler),
            num_inference_steps=self.steps,
            guidance_scale=self._guidance_scale(),
            seed=self.seed,
            width=self.width,
            height=self.height,
            aspect_ratio=self.aspect_ratio,
            style_preset=self.style_preset,
            clip_skip=self.clip_skip,
            loras=tuple(_lora(lora) for lora in self.loras or ()),
            image=sources.get("image"),
            strength=self.strength,
            resize_mode=self.resize_mode,
            mask=_mask(mask, sources.get("mask")),
            controls=controls,
            second_pass=None if self.second_pass is None else self.second_pass.to_value(),
            refiner=self._refiner(catalog),
            reuse_interval=self.reuse_interval,
            priority=self.priority,
        )

    def _guidance_scale(self) -> float | None:
        given = {name: value for name in _GUIDANCE if (value := getattr(self, name)) is not None}
        if len(set(given.values())) > 1:
            raise InvalidTicket([FieldProblem(" and ".join(given), "are names of the same, and differ")])
        return next(iter(given.values()), None)

    def _refiner(self, catalog: Catalog) -> Refiner | None:
        if not isinstance(self.refiner, bool):
            return None if self.refiner is None else self.refiner.to_value()
        if not self.refiner:
            return None
        found = first_of(SDXL_REFINER, catalog)
        if found is None:
            raise InvalidTicket([FieldProblem("refiner", missing_family(SDXL_REFINER))])
        return Refiner(model=found.name)

    def _control(self, index: int, inputs: Inputs) -> Control:
        body = (self.controls or [])[index]
        control = body.to_value()
        if control.image is None:
            return control
        return replace(control, image=inputs.named(f"controls[{index}].image", control.image))


def _mask(config: MaskConfig | None, source: str | None) -> Mask | None:
    if source is None:
        return None
    given = {} if config is None else config.model_dump(exclude_none=True)
    return build(Mask, given | {"image": source})


def _lora(lora: str | BodyOf[LoraUse]) -> LoraUse:
    """A LoRA with its weight, where ``name@weight`` or ``name:weight`` has one."""
    if not isinstance(lora, str):
        return lora.to_value()
    for separator in "@:":
        name, found, text = lora.rpartition(separator)
        weight = _weight(text) if found and name else None
        if weight is not None:
            return LoraUse(name=name, weight=weight)
    return LoraUse(name=lora)


def _weight(text: str) -> float | None:
    try:
        weight = float(text)
    except ValueError:
        return None
    return weight if math.isfinite(weight) else None
