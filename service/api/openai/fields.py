"""What OpenAI's clients may send: one model for each route, and the parameters that nobody can serve here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Json, WithJsonSchema

from models.jobs.params import PROMPT_MAX_CHARS, LoraUse
from service.api.native.schemas import BodyOf

N_MAX = 10
PARTIAL_IMAGES_MAX = 3

_NO_MOTION = "only means something to GIF output, which is not available: images are png, jpeg or webp"
REFUSED: Mapping[str, str] = {
    "complexity": "is not available: diffusion models plan nothing; quality sets the number of steps",
    "svg": "is not available: images are png, jpeg or webp",
    "frame_count": _NO_MOTION,
    "frame_duration_ms": _NO_MOTION,
    "markup": "is not available: send a mask, transparent where the image is to be drawn anew",
}
"""Parameters of OpenAI's that ask for what cannot be done here, and why."""

Upload = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]


class Fields(BaseModel):
    """What all three routes understand; what is left out, or null, is the model's own default."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    model: str | None = Field(
        None, description="A name or alias from `GET /v1/models`; OpenAI's own names mean the default model."
    )
    n: int | None = Field(None, ge=1, le=N_MAX, description="How many images; their seeds follow one another.")
    size: str | None = Field(None, description="`auto`, or as in `512x768`: multiples of 8 within the model's limits.")
    quality: Quality | None = Field(
        None,
        description="`low` halves the model's usual number of steps, `high` and `hd` double it, `xhigh` and `max` take "
        "it three and four times, up to the model's `max_steps`.",
    )
    background: Literal["auto", "opaque", "transparent"] | None = Field(None, description="`transparent` is refused.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Without effect: nothing is filtered.")
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = Field(
        None, description="`png` if left out; `gif` and `svg` are refused."
    )
    output_compression: int | None = Field(
        None, ge=0, le=100, description="The quality of jpeg and webp; 100 if left out."
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        None,
        description="If left out, `url`; `b64_json` for names that begin with `gpt-image` or `chatgpt-`.",
    )
    user: str | None = Field(None, description="A label, which is kept nowhere.")
    safety_identifier: str | None = Field(None, description="A label, which is kept nowhere.")

    negative_prompt: str | None = Field(None, description="Photogram's own: what must not be in the image.")
    seed: int | None = Field(None, description="Photogram's own: 0 to 2^53 - 1; -1, like none, draws a seed.")
    steps: int | None = Field(None, description="The same as `num_inference_steps`.")
    num_inference_steps: int | None = Field(None, description="Photogram's own: 1 to the model's `max_steps`.")
    guidance_scale: float | None = Field(None, description="Photogram's own: 0 to 50.")
    sampler: str | None = Field(None, description="Photogram's own: a name from `GET /v1/samplers`.")
    style_preset: str | None = Field(None, description="Photogram's own: a name from `GET /v1/styles`.")
    clip_skip: int | None = Field(None, description="Photogram's own: 1 to 12, by A1111's count.")
    priority: int | None = Field(None, description="Photogram's own: -2 to 2.")


class GenerateBody(Fields):
    """An image from words."""

    prompt: str = Field(min_length=1, max_length=PROMPT_MAX_CHARS)
    style: Literal["vivid", "natural"] | None = Field(
        None, description="The style preset `cinematic` or `photographic`, the nearest there are."
    )
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    partial_images: int | None = Field(
        None, ge=0, le=PARTIAL_IMAGES_MAX, description="How many previews come, at most, before each image."
    )
    loras: list[BodyOf[LoraUse]] | None = Field(None, description="Photogram's own: at most 8.")


def _without_null(schema: dict[str, Any]) -> None:
    """Take null out of a form's schema: its fields are text or files, or they are left out."""
    for shown in schema["properties"].values():
        kinds = [kind for kind in shown.pop("anyOf", ()) if kind != {"type": "null"}]
        shown.update(*kinds)
        if shown.get("default", "") is None:
            del shown["default"]


class _Form(Fields):
    model_config = ConfigDict(json_schema_extra=_without_null)

    loras: Annotated[Json[list[BodyOf[LoraUse]]], WithJsonSchema({"type": "string"})] | None = Field(
        None, description='Photogram\'s own, as JSON text: `[{"name": "film", "weight": 0.6}]`.'
    )
    strength: float | None = Field(
        None, description="Photogram's own: above 0, at most 1; how much of the image is drawn over."
    )


class EditForm(_Form):
    """An image to be changed as words say."""

    image: Upload = Field(description="The image; also as `image[]`. One alone: several cannot be combined here.")
    mask: Upload | None = Field(
        None,
        description="An image of the same size; drawn anew is where it is fully transparent. If it is left out, where "
        "`image` is fully transparent, or else all of it.",
    )
    prompt: str = Field(min_length=1, max_length=PROMPT_MAX_CHARS)
    input_fidelity: Literal["low", "high"] | None = Field(
        None, description="Without a mask: `high` is a strength of 0.5, `low` of 0.75."
    )
    stream: bool | None = Field(None, description="Answer with server-sent events.")
    partial_images: int | None = Field(
        None, ge=0, le=PARTIAL_IMAGES_MAX, description="How many previews come, at most, before each image."
    )


class VariationForm(_Form):
    """An image to be drawn in other ways."""

    image: Upload = Field(description="The image.")
    prompt: str | None = Field(
        None,
        min_length=1,
        max_length=PROMPT_MAX_CHARS,
        description="Photogram's own. If left out, the prompt that an image drawn here carries.",
    )
