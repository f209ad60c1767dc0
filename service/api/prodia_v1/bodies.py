"""The bodies of Prodia's v1, each translated into a request in our words; no rule about images is here.

``null`` is the same as absent, numbers may be strings, unknown keys are ignored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Annotated, Literal, NoReturn

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from models.catalog.catalog import Catalog
from models.catalog.families import IMG2IMG, INPAINT
from models.catalog.preprocessors import find_preprocessor
from models.catalog.samplers import find_sampler
from models.catalog.upscalers import upscaler_problem
from models.errors import FieldProblem, InvalidTicket
from models.jobs.params import (
    CONTROL_MODES,
    FILLS,
    RESIZE_MODES,
    Control,
    DrawRequest,
    FaceRestoreRequest,
    FaceSwapRequest,
    JobRequest,
    Mask,
    SecondPass,
    UpscaleRequest,
)
from service.api.prodia_v1.fields import Number, Whole, image_of, model_of, seed_of, side_of, threshold_of

PHOTOMAKER_REFUSAL = (
    "photomaker is not available: Photogram does not implement it; draw with a LoRA of the person instead"
)
_ASPECTS_PX = {"square": (512, 512), "portrait": (512, 768), "landscape": (768, 512)}
_STRENGTH = 0.7
"""How much an image is drawn over unless the request says it: Prodia's example for ``denoising_strength``."""
_UPSCALER = "ESRGAN_4x"
"""What Prodia enlarges with unless it is told otherwise."""

_Side = Annotated[Whole, Field(None, description="Rounded down to a size that the model draws.", examples=[512])]
_Url = Annotated[str | None, Field(None, description="Where to fetch the image.")]
_Data = Annotated[str | None, Field(None, description="The image itself in Base64, also as a data: URL.")]


class Body(BaseModel, ABC):
    """What all bodies have in common."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    @abstractmethod
    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> JobRequest:
        """The same in our words; raises :class:`InvalidTicket` for what cannot be done here."""


class ProdiaGenerateBody(Body):
    """Prodia's GenerateRequest and SDXLGenerateRequest."""

    prompt: str = Field(examples=["puppies in a cloud, 4k"])
    model: str | None = Field(None, description="A name that is not known means the catalog's choice.")
    negative_prompt: str | None = None
    style_preset: str | None = Field(None, examples=["anime"])
    steps: Whole = Field(None, examples=[20])
    cfg_scale: Number = Field(None, examples=[7])
    seed: Whole = Field(None, description="Any negative number draws a seed.", examples=[-1])
    upscale: bool | None = Field(None, description="Enlarge the image to twice its size, and draw over it.")
    sampler: str | None = Field(None, examples=["DPM++ 2M Karras"])
    width: _Side
    height: _Side
    aspect_ratio: Literal["square", "portrait", "landscape"] | None = Field(
        None, description="512x512, 512x768 or 768x512, where width and height do not say otherwise."
    )

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> DrawRequest:
        """An image from words."""
        model = model_of(self.model, catalog, is_sdxl=is_sdxl)
        aspect_width, aspect_height = _ASPECTS_PX.get(self.aspect_ratio or "", (None, None))
        return DrawRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            model=model.name,
            sampler=self.sampler and (find_sampler(self.sampler) or self.sampler),
            num_inference_steps=self.steps,
            guidance_scale=self.cfg_scale,
            seed=seed_of(self.seed),
            width=side_of(aspect_width if self.width is None else self.width, model),
            height=side_of(aspect_height if self.height is None else self.height, model),
            style_preset=self.style_preset,
            second_pass=SecondPass(scale=2.0) if self.upscale else None,
        )


class ProdiaTransformBody(ProdiaGenerateBody):
    """Prodia's TransformRequest and SDXLTransformRequest."""

    imageUrl: _Url
    imageData: _Data
    denoising_strength: Number = Field(None, description=f"{_STRENGTH} unless it is given.", examples=[_STRENGTH])

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> DrawRequest:
        """An image from another one, which is stretched to the size that is drawn."""
        return replace(
            super().to_request(catalog, is_sdxl=is_sdxl),
            kind=IMG2IMG,
            image=image_of(self.imageUrl, self.imageData),
            strength=_STRENGTH if self.denoising_strength is None else self.denoising_strength,
            resize_mode=RESIZE_MODES[0],
        )


class ProdiaInpaintingBody(ProdiaTransformBody):
    """Prodia's InpaintingRequest and SDXLInpaintingRequest."""

    maskUrl: _Url
    maskData: _Data
    mask_blur: Whole = Field(None, examples=[4])
    inpainting_fill: Whole = Field(
        None, ge=0, le=3, description="0 fill, 1 original, 2 latent noise, 3 latent nothing; 1 unless it is given."
    )
    inpainting_mask_invert: bool | None = Field(None, description="0 draws the masked area anew, 1 the rest.")
    inpainting_full_res: bool | None = Field(None, description="Draw only the masked area, at the full size.")

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> DrawRequest:
        """A part of an image drawn anew."""
        return replace(super().to_request(catalog, is_sdxl=is_sdxl), kind=INPAINT, mask=self._mask())

    def _mask(self) -> Mask | None:
        image = image_of(self.maskUrl, self.maskData)
        if image is None:
            return None
        return Mask(
            image=image,
            blur_px=Mask.blur_px if self.mask_blur is None else self.mask_blur,
            fill=Mask.fill if self.inpainting_fill is None else FILLS[self.inpainting_fill],
            invert=bool(self.inpainting_mask_invert),
            only_masked=bool(self.inpainting_full_res),
        )


class ProdiaControlNetBody(ProdiaGenerateBody):
    """Prodia's ControlNetRequest."""

    imageUrl: _Url
    imageData: _Data
    controlnet_model: str = Field(examples=["control_v11p_sd15_canny [d14c016b]"])
    controlnet_module: str | None = Field(None, examples=["canny"])
    control_mode: Whole = Field(
        None, ge=0, le=2, validation_alias=AliasChoices("control_mode", "controlnet_mode"),
        description="0 balanced, 1 the prompt is more important, 2 the ControlNet. Also as `controlnet_mode`.",
    )  # fmt: skip
    threshold_a: Number = Field(None, description="Ignored where it means nothing to the module; so is `threshold_b`.")
    threshold_b: Number = None
    resize_mode: Whole = Field(None, ge=0, le=2, description="0 stretch, 1 crop, 2 fill; 1 unless it is given.")

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> DrawRequest:
        """An image from words that follows another one's outlines, depth and so on."""
        control = Control(
            model=self.controlnet_model,
            image=image_of(self.imageUrl, self.imageData),
            preprocessor=self.controlnet_module or Control.preprocessor,
            mode=CONTROL_MODES[self.control_mode or 0],
            resize_mode=Control.resize_mode if self.resize_mode is None else RESIZE_MODES[self.resize_mode],
        )
        module = find_preprocessor(control.preprocessor)
        if module is not None:
            control = replace(
                control,
                threshold_a=threshold_of(self.threshold_a, module.threshold_a),
                threshold_b=threshold_of(self.threshold_b, module.threshold_b),
            )
        return replace(super().to_request(catalog, is_sdxl=is_sdxl), controls=(control,))


class ProdiaUpscaleBody(Body):
    """Prodia's UpscaleRequest."""

    imageUrl: _Url
    imageData: _Data
    resize: Whole = Field(None, description="2 or 4; 2 unless it is given.", examples=[2])
    model: str | None = Field(None, description="ESRGAN_4x unless it is given; Lanczos where that has no weights.")

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> UpscaleRequest:
        """An image enlarged."""
        usual = _UPSCALER if upscaler_problem(_UPSCALER, catalog.upscalers) is None else None
        image = _needed(image_of(self.imageUrl, self.imageData))
        return UpscaleRequest(image=image, scale=self.resize, upscaler=self.model or usual)


class ProdiaFaceRestoreBody(Body):
    """Prodia's FaceRestoreRequest."""

    imageUrl: _Url
    imageData: _Data

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> FaceRestoreRequest:
        """An image with its faces restored."""
        return FaceRestoreRequest(image=_needed(image_of(self.imageUrl, self.imageData)))


class ProdiaFaceSwapBody(Body):
    """Prodia's FaceSwapRequest; refused, with the reason."""

    sourceUrl: str | None = Field(None, examples=["https://example.com/image.png"])
    targetUrl: str | None = Field(None, examples=["https://example.com/image.png"])

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> FaceSwapRequest:
        """A face put into another image."""
        return FaceSwapRequest(source=self.sourceUrl or "", target=self.targetUrl or "")


class ProdiaPhotoMakerBody(Body):
    """Prodia's PhotoMakerRequest; refused, with the reason."""

    imageUrls: list[str] | None = None
    imageData: list[str] | None = None
    prompt: str | None = Field(None, examples=["man img wearing a hat"])

    def to_request(self, catalog: Catalog, *, is_sdxl: bool) -> NoReturn:
        """Nothing: raises :class:`InvalidTicket`."""
        raise InvalidTicket([FieldProblem("request", PHOTOMAKER_REFUSAL)])


def _needed(image: str | None) -> str:
    if image is None:
        raise InvalidTicket([FieldProblem("imageUrl", "is required, or imageData")])
    return image


WIRE_MODELS: tuple[type[BaseModel], ...] = (
    ProdiaGenerateBody,
    ProdiaTransformBody,
    ProdiaInpaintingBody,
    ProdiaControlNetBody,
    ProdiaUpscaleBody,
    ProdiaFaceSwapBody,
    ProdiaFaceRestoreBody,
    ProdiaPhotoMakerBody,
)
"""The bodies that the OpenAPI page shows."""
