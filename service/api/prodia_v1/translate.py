"""From the bodies of Prodia's API v1 to requests for the job service, and from parameters to Prodia's field names."""

from __future__ import annotations

import re
from dataclasses import replace

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import IMG2IMG, INPAINT, SDXL
from models.catalog.preprocessors import Threshold, find_preprocessor
from models.catalog.samplers import find_sampler
from models.catalog.upscalers import upscaler_problem
from models.errors import ProblemCode
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
from models.jobs.seeds import client_seed
from models.jobs.sources import is_url
from service.api.errors import invalid_field
from service.api.prodia_v1.schemas import (
    DEFAULT_STRENGTH,
    ProdiaBody,
    ProdiaControlNetBody,
    ProdiaFaceRestoreBody,
    ProdiaFaceSwapBody,
    ProdiaGenerateBody,
    ProdiaInpaintingBody,
    ProdiaPhotoMakerBody,
    ProdiaTransformBody,
    ProdiaUpscaleBody,
)

PHOTOMAKER_REFUSAL = "photomaker is not available: Photogram does not implement it; use a LoRA of the person instead"
_ASPECTS_PX = {"square": (512, 512), "portrait": (512, 768), "landscape": (768, 512)}
_UPSCALER = "ESRGAN_4x"
"""Prodia's default upscaler."""
_SECOND_PASS = re.compile(r"second_pass(\..*)?")
_WIRE_NAMES = {
    "num_inference_steps": "steps",
    "guidance_scale": "cfg_scale",
    "image": "imageUrl",
    "strength": "denoising_strength",
    "mask": "maskUrl",
    "mask.image": "maskUrl",
    "mask.blur_px": "mask_blur",
    "controls": "controlnet_model",
    "controls[0].model": "controlnet_model",
    "controls[0].image": "imageUrl",
    "controls[0].preprocessor": "controlnet_module",
    "scale": "resize",
    "upscaler": "model",
    "kind": "request",
}


def wire_name(field: str) -> str:
    """Prodia's name for the parameter ``field``."""
    return "upscale" if _SECOND_PASS.fullmatch(field) else _WIRE_NAMES.get(field, field)


def to_request(body: ProdiaBody, catalog: Catalog, *, is_sdxl: bool) -> JobRequest:
    """The request for the job service.

    Args:
        is_sdxl: whether the route is one for SDXL models.

    Raises:
        InvalidTicket: the server cannot process such a request.
    """
    match body:
        case ProdiaGenerateBody():
            return _draw_request(body, catalog, is_sdxl)
        case ProdiaUpscaleBody():
            return _upscale(body, catalog)
        case ProdiaFaceRestoreBody():
            return FaceRestoreRequest(image=_required_image(body))
        case ProdiaFaceSwapBody():
            return FaceSwapRequest(source=body.sourceUrl or "", target=body.targetUrl or "")
        case ProdiaPhotoMakerBody():
            raise invalid_field("request", PHOTOMAKER_REFUSAL, ProblemCode.UNAVAILABLE)
    raise TypeError(f"{type(body).__name__} has no translation")


def _draw_request(body: ProdiaGenerateBody, catalog: Catalog, is_sdxl: bool) -> DrawRequest:
    match body:
        case ProdiaControlNetBody():
            return replace(_txt2img(body, catalog, is_sdxl), controls=(_control(body),))
        case ProdiaInpaintingBody():
            return replace(_img2img(body, catalog, is_sdxl), kind=INPAINT, mask=_mask(body))
        case ProdiaTransformBody():
            return _img2img(body, catalog, is_sdxl)
    return _txt2img(body, catalog, is_sdxl)


def _txt2img(body: ProdiaGenerateBody, catalog: Catalog, is_sdxl: bool) -> DrawRequest:
    model = _model(body.model, catalog, is_sdxl=is_sdxl)
    aspect_width, aspect_height = _ASPECTS_PX.get(body.aspect_ratio or "", (None, None))
    return DrawRequest(
        prompt=body.prompt,
        negative_prompt=body.negative_prompt,
        model=model.name,
        sampler=body.sampler and (find_sampler(body.sampler) or body.sampler),
        num_inference_steps=body.steps,
        guidance_scale=body.cfg_scale,
        seed=client_seed(body.seed),
        width=model.rounded_side(aspect_width if body.width is None else body.width),
        height=model.rounded_side(aspect_height if body.height is None else body.height),
        style_preset=body.style_preset,
        second_pass=SecondPass(scale=2.0) if body.upscale else None,
    )


def _img2img(body: ProdiaTransformBody, catalog: Catalog, is_sdxl: bool) -> DrawRequest:
    """As on Prodia's servers, the image is stretched to the size of the job."""
    return replace(
        _txt2img(body, catalog, is_sdxl),
        kind=IMG2IMG,
        image=_image(body.imageUrl, body.imageData),
        strength=DEFAULT_STRENGTH if body.denoising_strength is None else body.denoising_strength,
        resize_mode=RESIZE_MODES[0],
    )


def _mask(body: ProdiaInpaintingBody) -> Mask | None:
    image = _image(body.maskUrl, body.maskData)
    if image is None:
        return None
    return Mask(
        image=image,
        blur_px=Mask.blur_px if body.mask_blur is None else body.mask_blur,
        fill=Mask.fill if body.inpainting_fill is None else FILLS[body.inpainting_fill],
        invert=bool(body.inpainting_mask_invert),
        only_masked=bool(body.inpainting_full_res),
    )


def _control(body: ProdiaControlNetBody) -> Control:
    control = Control(
        model=body.controlnet_model,
        image=_image(body.imageUrl, body.imageData),
        preprocessor=body.controlnet_module or Control.preprocessor,
        mode=CONTROL_MODES[body.control_mode or 0],
        resize_mode=Control.resize_mode if body.resize_mode is None else RESIZE_MODES[body.resize_mode],
    )
    module = find_preprocessor(control.preprocessor)
    if module is None:
        return control
    return replace(
        control,
        threshold_a=_threshold(body.threshold_a, module.threshold_a),
        threshold_b=_threshold(body.threshold_b, module.threshold_b),
    )


def _upscale(body: ProdiaUpscaleBody, catalog: Catalog) -> UpscaleRequest:
    default = _UPSCALER if upscaler_problem(_UPSCALER, catalog.upscalers) is None else None
    return UpscaleRequest(image=_required_image(body), scale=body.resize, upscaler=body.model or default)


def _required_image(body: ProdiaUpscaleBody | ProdiaFaceRestoreBody) -> str:
    image = _image(body.imageUrl, body.imageData)
    if image is None:
        raise invalid_field("imageUrl", "is required, or imageData", ProblemCode.REQUIRED)
    return image


def _image(url: str | None, data: str | None) -> str | None:
    """The source of an image that was sent as a URL or as Base64, which may contain line breaks."""
    source = (url or data or "").strip()
    return source if is_url(source) else "".join(source.split()) or None


def _threshold(value: float | None, threshold: Threshold | None) -> float | None:
    """``value`` if it is in the module's range; clients send the values of canny, 100 and 200, with every module."""
    if value is None or threshold is None or not threshold.low <= value <= threshold.high:
        return None
    return value


def _model(name: str | None, catalog: Catalog, *, is_sdxl: bool) -> ModelSpec:
    """The model called ``name``, or the default for unknown names; ``is_sdxl`` prefers an SDXL model as the default."""
    default = catalog.resolve_any(name)
    if not is_sdxl or (name is not None and catalog.resolve(name) is not None):
        return default
    return next((spec for spec in (default, *catalog.values()) if spec.family == SDXL), default)
