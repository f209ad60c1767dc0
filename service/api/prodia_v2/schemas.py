"""The bodies of Prodia's API v2, with the configs of its job types, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from models.errors import InvalidTicket, quoted
from models.jobs.params import Control, LoraUse, Refiner, SecondPass
from service.api.job_bodies import BodyOf
from service.api.text_numbers import number_of, whole_of
from service.api.validation import FIRST_WRONG_ITEM, PROBLEMS_MAX, StrictBody, field_problems, require_short_texts

_SHOWN_IMAGE_MAX_CHARS = 300
"""Longer values of image fields are Base64; answers leave them out."""
_CONFIGS: list[Any] = [
    {"$ref": f"#/components/schemas/{name}"} for name in ("DrawConfig", "UpscaleConfig", "FaceRestoreConfig")
]
_TEXTS = ("prompt", "negative_prompt")
"""Keys for which an empty text is a value."""
_EMPTY: list[Any] = [{"type": "object", "maxProperties": 0}, {"type": "null"}]
_SOURCE = "The filename of an `input` part, or a URL, Base64, `input:<sha256>` or `image:<id>`. "
_ONLY_INPUT = _SOURCE + "If left out, the only `input`."
_FIRST_INPUT = _SOURCE + "If left out, the first `input`."
_SECOND_INPUT = _SOURCE + "If left out, the second `input`."


def _without_blank(value: object) -> object:
    """``None`` for an empty text, which is the same as left out."""
    return None if isinstance(value, str) and not value.strip() else value


Whole = Annotated[int | None, Field(strict=True), BeforeValidator(whole_of), BeforeValidator(_without_blank)]
"""A whole number; it may come as text, or as a float without a fraction; a boolean is refused."""
Number = Annotated[float | None, Field(strict=True), BeforeValidator(number_of), BeforeValidator(_without_blank)]
"""Any number; it may come as text."""


class V2JobBody(BaseModel):
    """A job to submit; `name` and other keys that clients add are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    type: str = Field(description="A name from `GET /v2/types`.")
    config: dict[str, Any] | None = Field(
        None,
        json_schema_extra={"anyOf": _CONFIGS + _EMPTY},
        description="The parameters of the job type. Unknown keys are ignored; the job's `warnings` name them.",
    )
    accept: Any = Field(None, description="The media type of the image if the Accept header leaves it open.")


class Config(BaseModel):
    """The base of all configs; null is the same as absent, and unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    image_keys: ClassVar[tuple[str, ...]] = ("image", "images", "mask", "controls")
    """Keys whose values may be whole images in Base64."""

    @model_validator(mode="before")
    @classmethod
    def _with_short_texts(cls, given: Any) -> Any:
        require_short_texts(given, images=cls.image_keys)
        return given

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> Self:
        """``config`` as this class, without empty texts; raises :class:`InvalidTicket` if it does not fit."""
        try:
            return cls.model_validate({key: value for key, value in config.items() if value != "" or key in _TEXTS})
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            raise InvalidTicket(field_problems({**each, "loc": _path(each["loc"])} for each in found)) from error

    @classmethod
    def warnings(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        """A warning for each of the first keys of ``config`` that are ignored."""
        unknown = islice((key for key in config if key not in cls.model_fields), PROBLEMS_MAX)
        return tuple(f"config: {quoted(key)} is not known here, and was ignored" for key in unknown)

    @classmethod
    def echo(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """The part of ``config`` that answers repeat: known keys with values, without images in Base64."""
        known = {key: value for key, value in config.items() if key in cls.model_fields and value is not None}
        return {key: value for key, value in known.items() if key not in cls.image_keys or _is_short(value)}


def _path(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """``location`` without the names of the members of unions that pydantic tried."""
    return tuple(
        part for part in location if isinstance(part, int) or not (part in ("str", "bool") or part[0].isupper())
    )


def _is_short(value: Any) -> bool:
    return len(str(value)) <= _SHOWN_IMAGE_MAX_CHARS


class MaskConfig(StrictBody):
    """A mask with its parameters, in place of the mask's image alone."""

    image: str | None = Field(default=None, description=_SECOND_INPUT)
    blur_px: int | None = None
    fill: str | None = Field(default=None, description="`original`, `fill`, `latent_noise` or `latent_nothing`.")
    invert: bool | None = None
    only_masked: bool | None = None
    padding_px: int | None = None


class DrawConfig(Config):
    """The parameters of txt2img, img2img and inpainting. `docs/native-api.md` explains the keys of Photogram's own."""

    prompt: str
    negative_prompt: str | None = None
    model: str | None = Field(None, description="A name from `GET /v1/models`, of the family that the type needs.")
    steps: Whole = Field(None, description="From 1 to the model's `max_steps`.")
    width: Whole = None
    height: Whole = None
    aspect_ratio: str | None = Field(None, description="`16:9` and others, instead of width and height.")
    seed: Whole = Field(None, description="-1 draws a random seed, as if left out; the answer's config has it.")
    style_preset: str | None = None
    loras: Annotated[list[str | BodyOf[LoraUse]], FIRST_WRONG_ITEM] | None = Field(
        None, description="`name`, `name@0.8` or `name:0.8`."
    )
    guidance_scale: Number = Field(None, description="`cfg_scale` and `guidance` are other names for it.")
    cfg_scale: Number = None
    guidance: Number = None
    sampler: str | None = None
    strength: Number = Field(None, description="For img2img and inpainting: 0 to 1.")
    image: str | None = Field(None, description=_FIRST_INPUT)
    images: Annotated[list[str], FIRST_WRONG_ITEM] | None = Field(
        None, description="The image, and for inpainting the mask, in this order."
    )
    mask: str | MaskConfig | None = Field(None, description=_SECOND_INPUT)
    refiner: bool | BodyOf[Refiner] | None = Field(
        None, description="`true` uses the first SDXL refiner of the catalog."
    )
    progressive: bool | None = Field(None, description="Whether a JPEG is a progressive one.")
    resize_mode: str | None = None
    clip_skip: Whole = None
    controls: Annotated[list[BodyOf[Control]], FIRST_WRONG_ITEM] | None = None
    second_pass: BodyOf[SecondPass] | None = None
    reuse_interval: Whole = None
    priority: Whole = None


class UpscaleConfig(Config):
    """The parameters of an enlargement."""

    image: str | None = Field(None, description=_ONLY_INPUT)
    images: list[str] | None = None
    scale: Number = Field(
        None,
        description="A factor from 0.1 to 8; Prodia has 2 and 4. 2 if left out. `upscale` is another name for it.",
    )
    upscale: Number = None
    upscaler: str | None = Field(None, description="A name from `GET /v1/upscalers`; if left out, that of the type.")


class FaceRestoreConfig(Config):
    """The parameters of a face restoration."""

    image: str | None = Field(None, description=_ONLY_INPUT)
    images: list[str] | None = None


Word = Literal["processing", "processed", "failed"]


class StateChange(BaseModel):
    """A change of the job's state."""

    state: Word
    message: str
    created_at: str


class JobState(BaseModel):
    """The state of a job and its earlier states."""

    current: Word
    history: list[StateChange]


class Metrics(BaseModel):
    """Measurements of a job; unknown ones are left out."""

    elapsed: float | None = Field(default=None, description="Seconds from the start on a worker to the end.")
    ips: float | None = Field(default=None, description="Steps per second.")


class Price(BaseModel):
    """The price of a job, which is always 0."""

    product: str
    dollars: float


class V2Job(BaseModel):
    """A job; fields without a value are left out, never null."""

    id: str
    type: str
    config: dict[str, Any] = Field(description="The config as it was sent, with the seed and the model that are used.")
    created_at: str
    updated_at: str
    expires_at: str
    state: JobState
    metrics: Metrics
    price: Price | None = Field(default=None, description="Only with `?price=true`.")
    error: str | None = Field(default=None, description="Why the job failed.")
    warnings: list[str] | None = Field(default=None, description="The parts of the request that were ignored.")

    def as_json(self) -> dict[str, Any]:
        """The job as JSON-ready values."""
        return self.model_dump(mode="json", exclude_none=True)


class TypeView(BaseModel):
    """A job type."""

    type: str
    inputs: tuple[str, ...] = Field(description="The roles of the images that are sent along, in their order.")
    model: str | None = Field(description="The model that is used if the config names none.")
    is_async: bool = Field(description="Whether the asynchronous routes accept the type.")
    problem: str | None = Field(description="Why this server cannot process it; null if it can.")


class TypeList(BaseModel):
    """All job types."""

    types: list[TypeView]
