"""The bodies and answers of OpenAI's Images API, with Photogram's own parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, WithJsonSchema
from pydantic_core import PydanticCustomError

from models.jobs.params import PROMPT_MAX_CHARS, LoraUse
from service.api.job_bodies import BodyOf
from service.api.validation import FIRST_WRONG_ITEM, StrictBody
from service.strict_json import JsonTooLong, NotStrictJson, check_limits

N_MAX = 10
PARTIAL_IMAGES_MAX = 3
IMAGES_MAX = 16
"""As many images as OpenAI's models take."""

Upload = Annotated[bytes, WithJsonSchema({"type": "string", "format": "binary"})]
Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]


class ImageFields(StrictBody):
    """The fields of all three routes; for one that is left out or null, the default of the model is used."""

    model: str | None = Field(
        None, description="A name or alias from `GET /v1/models`; the names of OpenAI's models mean the default model."
    )
    n: int | None = Field(None, ge=1, le=N_MAX, description="The number of images; they have consecutive seeds.")
    size: str | None = Field(
        None,
        description="`auto`, `WIDTHxHEIGHT` such as `512x768` (rounded to the nearest size that the model draws), a "
        "ratio such as `16:9`, or `1K`.",
    )
    quality: Quality | None = Field(
        None,
        description="`low` halves the model's usual number of steps, `high` and `hd` double it, `xhigh` and `max` run "
        "3 and 4 times as many, up to the model's `max_steps`.",
    )
    background: Literal["auto", "opaque", "transparent"] | None = Field(None, description="`transparent` is refused.")
    moderation: Literal["auto", "low"] | None = Field(None, description="Accepted without effect: nothing is filtered.")
    output_format: Literal["png", "jpeg", "webp", "gif", "svg"] | None = Field(
        None, description="`png` if left out; `gif` and `svg` are refused."
    )
    output_compression: int | None = Field(
        None, ge=0, le=100, description="The quality of jpeg and webp files; 100 if left out."
    )
    response_format: Literal["url", "b64_json"] | None = Field(
        None,
        description="If left out, `b64_json` for models whose names begin with `gpt-image` or `chatgpt-`, else `url`.",
    )
    user: str | None = Field(None, description="Accepted without effect; it is not stored.")
    safety_identifier: str | None = Field(None, description="Accepted without effect; it is not stored.")

    negative_prompt: str | None = Field(None, description="Photogram's own: what the image must not contain.")
    seed: int | None = Field(
        None,
        description="Photogram's own: a negative seed draws a random one; of up to 64 bits, the lowest 53 are used.",
    )
    steps: int | None = Field(None, description="Photogram's own: another name for `num_inference_steps`.")
    step: int | None = Field(None, description="LocalAI's: another name for `num_inference_steps`.")
    width: int | None = Field(None, ge=1, description="Photogram's own, instead of `size`; so is `height`.")
    height: int | None = Field(None, ge=1)
    num_inference_steps: int | None = Field(None, description="Photogram's own: 1 to the model's `max_steps`.")
    guidance_scale: float | None = Field(None, description="Photogram's own: 0 to 50.")
    cfg_scale: float | None = Field(None, description="Photogram's own: another name for `guidance_scale`.")
    sampler: str | None = Field(None, description="Photogram's own: a name from `GET /v1/samplers`.")
    style_preset: str | None = Field(None, description="Photogram's own: a name from `GET /v1/styles`.")
    clip_skip: int | None = Field(None, description="Photogram's own: 1 to 12, in A1111's count.")
    priority: int | None = Field(None, description="Photogram's own: -2 to 2.")


class GenerateBody(ImageFields):
    """A request to generate images from a prompt."""

    prompt: str = Field(max_length=PROMPT_MAX_CHARS)
    style: Literal["vivid", "natural"] | None = Field(
        None, description="`vivid` is the style preset `cinematic`, `natural` is `photographic`."
    )
    stream: bool | None = Field(None, description="Whether to answer with server-sent events.")
    partial_images: int | None = Field(
        None, ge=0, le=PARTIAL_IMAGES_MAX, description="The largest number of previews before each image."
    )
    loras: Annotated[list[BodyOf[LoraUse]], FIRST_WRONG_ITEM] | None = Field(
        None, description="Photogram's own: at most 8."
    )


def _without_null(schema: dict[str, Any]) -> None:
    """Remove null from the schema of a form, which has no such value: a field is text, a file, or left out."""
    for shown in schema["properties"].values():
        types = [each for each in shown.pop("anyOf", ()) if each != {"type": "null"}]
        shown.update(*types)
        if shown.get("default", "") is None:
            del shown["default"]


def _small(text: Any) -> Any:
    """``text``, which pydantic parses as JSON next."""
    try:
        check_limits(text.encode(errors="replace") if isinstance(text, str) else b"")
    except (NotStrictJson, JsonTooLong) as error:
        raise PydanticCustomError("json_invalid", "{reason}", {"reason": str(error)}) from error
    return text


class _Form(ImageFields):
    model_config = ConfigDict(json_schema_extra=_without_null)

    loras: (
        Annotated[
            Json[Annotated[list[BodyOf[LoraUse]], FIRST_WRONG_ITEM]],
            BeforeValidator(_small),
            WithJsonSchema({"type": "string"}),
        ]
        | None
    ) = Field(None, description='Photogram\'s own, as JSON text: `[{"name": "film", "weight": 0.6}]`.')
    strength: float | None = Field(
        None, description="Photogram's own: the share of the noise schedule that is run, 0 to 1."
    )


class EditForm(_Form):
    """A request to change an image."""

    image: list[Upload] = Field(
        min_length=1,
        max_length=IMAGES_MAX,
        description="The image, or several of them, which are put beside each other on one canvas; `image[]` is "
        "another name for it.",
    )
    mask: Upload | None = Field(
        None,
        description="An image of the same size. The area where it is fully transparent changes. If left out, the area "
        "where `image` is fully transparent changes, or the whole image if there is none.",
    )
    prompt: str = Field(max_length=PROMPT_MAX_CHARS)
    input_fidelity: Literal["low", "high"] | None = Field(
        None, description="For requests without a mask: `high` is a strength of 0.5, `low` of 0.75."
    )
    stream: bool | None = Field(None, description="Whether to answer with server-sent events.")
    partial_images: int | None = Field(
        None, ge=0, le=PARTIAL_IMAGES_MAX, description="The largest number of previews before each image."
    )


class VariationForm(_Form):
    """A request for variations of an image."""

    image: list[Upload] = Field(min_length=1, max_length=1, description="The image.")
    prompt: str | None = Field(
        None,
        max_length=PROMPT_MAX_CHARS,
        description="Photogram's own. If left out, the prompt in the metadata of an image that Photogram generated.",
    )


class InputTokens(BaseModel):
    """The tokens of the prompt and of the images."""

    text_tokens: int = 0
    image_tokens: int = 0


class Usage(BaseModel):
    """Numbers that clients expect; they are always 0, because nothing is counted in tokens."""

    input_tokens: int = 0
    input_tokens_details: InputTokens = InputTokens()
    output_tokens: int = 0
    total_tokens: int = 0


class ImageData(BaseModel):
    """An image."""

    url: str | None = Field(None, description="The link to the image, if `response_format` is `url`.")
    b64_json: str | None = Field(None, description="The image in Base64, if `response_format` is `b64_json`.")
    revised_prompt: str = Field(
        description="The prompt that was used: after rewriting, and with the text of the style preset."
    )
    seed: int = Field(description="A field of Photogram's own.")


class ImagesAnswer(BaseModel):
    """The images of one request."""

    created: int = Field(description="Seconds since the epoch.")
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: str
    quality: str
    size: str = Field(description="The size of each image, as `WIDTHxHEIGHT`.")
    usage: Usage = Usage()
