"""The parameters of each kind of job, as a server of this version takes them.

The server decides keys that are left out or None. `tests/clients/test_params_match.py` compares names and types with
the server's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Required, TypedDict

from ._images import ImageSource


class LoraParams(TypedDict, total=False):
    """A LoRA."""

    name: Required[str]
    """A LoRA's name or alias."""
    weight: float | None
    """How strong it is, -10 to 10; 1 by default."""
    text_encoder_weight: float | None
    """How strong it is in the text encoders; `weight` by default."""


class MaskParams(TypedDict, total=False):
    """The part of an image that is generated anew."""

    image: Required[ImageSource]
    """The mask; its light part is generated anew."""
    blur_px: int | None
    """Standard deviation of the mask's Gaussian blur in pixels, 0 to 256; 4 by default."""
    fill: str | None
    """What the masked area starts from: `original` (default), `fill`, `latent_noise` or `latent_nothing`."""
    invert: bool | None
    """Generate the dark part of the mask anew instead."""
    only_masked: bool | None
    """Generate only the masked area, at the full size, and paste it back."""
    padding_px: int | None
    """How far `only_masked` sees beyond the mask in pixels, 0 to 256; 32 by default."""


class ControlParams(TypedDict, total=False):
    """A ControlNet."""

    model: Required[str]
    """A ControlNet's name or alias."""
    image: ImageSource | None
    """The control image; by default the image that the job starts from."""
    preprocessor: str | None
    """The name of a preprocessor; `none` by default."""
    threshold_a: float | None
    """The preprocessor's first threshold."""
    threshold_b: float | None
    """The preprocessor's second threshold."""
    weight: float | None
    """How strong it is, 0 to 2; 1 by default."""
    start: float | None
    """The share of the steps after which it begins, 0 to 1; 0 by default."""
    end: float | None
    """The share of the steps after which it stops, 0 to 1; 1 by default."""
    mode: str | None
    """Which has more influence: `balanced` (default), `prompt` or `control`."""
    resize_mode: str | None
    """How the control image is brought to the job's size: `crop` (default), `stretch` or `fill`."""


class SecondPassParams(TypedDict, total=False):
    """Enlarge the generated image and run img2img on it (A1111's hires fix)."""

    scale: float | None
    """Factor of the enlargement, above 1, at most 4; 2 by default."""
    upscaler: str | None
    """An upscaler's name; `Lanczos` by default."""
    strength: float | None
    """The share of the noise schedule that is run, from 0 to 1; 0.5 by default."""
    num_inference_steps: int | None
    """Steps of the second pass; by default as many as in the first."""


class RefinerParams(TypedDict, total=False):
    """A second SDXL model that runs the last steps."""

    model: Required[str]
    """The refiner's name or alias."""
    start: float | None
    """The share of the noise schedule after which the refiner takes over; 0.8 by default."""


class VariationParams(TypedDict, total=False):
    """A second seed, towards which the initial noise of the image is changed."""

    seed: int | None
    """0 to 2^53 - 1; None or -1 draws a random seed."""
    strength: float | None
    """0 gives the image of the job's own seed, 1 that of this seed; 0.1 by default."""


class Params(TypedDict, total=False):
    """The parameters of txt2img, img2img and inpaint, without the prompt."""

    negative_prompt: str | None
    """What the image must not contain."""
    model: str | None
    """A model's name or alias; see `Photogram.models`."""
    sampler: str | None
    """A sampler's name; see `Photogram.samplers`."""
    num_inference_steps: int | None
    """Denoising steps, from 1 to the model's limit."""
    guidance_scale: float | None
    """Classifier-free guidance, 0 to 50; 1 or less disables it."""
    seed: int | None
    """0 to 2^53 - 1; None or -1 draws a random seed."""
    variation: VariationParams | None
    """A second seed, towards which the initial noise is changed."""
    width: int | None
    """Width in pixels, a multiple of 8."""
    height: int | None
    """Height in pixels, a multiple of 8."""
    aspect_ratio: str | None
    """Such as `16:9` or `portrait`, instead of width and height, at the area of the model's default size."""
    style_preset: str | None
    """A style's name."""
    clip_skip: int | None
    """A1111's count, 1 to 12: 2 skips the last layer of the text encoder."""
    image: ImageSource | None
    """The image that img2img and inpaint start from."""
    strength: float | None
    """The share of the noise schedule that is run, from 0 to 1; 1 ignores the image."""
    resize_mode: str | None
    """How the image is brought to width x height: `crop` (default), `stretch` or `fill`."""
    mask: ImageSource | MaskParams | None
    """Which part of the image is generated anew: the mask's image, or all of its fields."""
    loras: Sequence[LoraParams] | None
    """At most 8 LoRAs, including those in the prompt."""
    controls: Sequence[ControlParams] | None
    """At most 4 ControlNets."""
    second_pass: SecondPassParams | None
    """Enlarge the generated image and run img2img on it."""
    refiner: RefinerParams | None
    """A second SDXL model that runs the last steps."""
    reuse_interval: int | None
    """Compute the deep UNet features only at every n-th step (DeepCache), 1 to 10; 1 is exact."""
    priority: int | None
    """-2 to 2; each step up gives the job four times the share of the device."""
    enhance_prompt: bool | None
    """Let the server's language model rewrite the prompt; by default as the API key prefers."""
    enhance_negative_prompt: bool | None
    """Let it write a negative prompt too, if there is none; by default as the API key prefers."""
    metadata: str | None
    """What the image file says of how it was made: `full`, `drawn` (without the prompt before rewriting) or `none`; by
    default as the API key prefers."""
    provenance: str | None
    """How the image is marked as made by a machine: `none`, `iptc`, `c2pa` or `watermark`; by default as the API key
    prefers."""


class JobOptions(TypedDict, total=False):
    """What a request says of its job beside the parameters, whatever its kind."""

    start_within_s: int | None
    """A job that no worker has started after so many seconds fails with `start_timeout` and costs nothing."""
    cancel_after_s: int | None
    """A job that has not ended so many seconds after it was accepted is canceled."""
    retries: int | None
    """How often the job runs again after an `internal_error`, 0 to 5; 0 by default."""
    retain_s: int | None
    """Record, images and files are removed so many seconds after the end of the job."""
    tags: Sequence[str] | None
    """At most 16 words of your own to find the job by."""
    metadata: dict[str, str] | None
    """At most 16 values of your own to find the job by."""


class JobFilters(TypedDict, total=False):
    """Which jobs are listed: those that pass every filter that is given."""

    status: str | Sequence[str]
    """Any of these; so are `kind` and `model`."""
    kind: str | Sequence[str]
    model: str | Sequence[str]
    tag: str | Sequence[str]
    """All of these."""
    metadata: dict[str, str]
    """All of these."""
    search: str
    """Words that must all occur in the prompt, in whatever case."""
    created_after: datetime
    """Accepted at or after this time, which must have a time zone; so must `created_before`."""
    created_before: datetime
    """Accepted before this time."""


class UpscaleParams(TypedDict, total=False):
    """The parameters of an upscale, without the image."""

    scale: float | None
    """Factor of the enlargement, from 0.1 to 8; 2 by default."""
    upscaler: str | None
    """An upscaler's name; `Lanczos` by default."""
    priority: int | None
    """-2 to 2; each step up gives the job four times the share of the device."""
    metadata: str | None
    """What the image file says of how it was made: `full`, `drawn` (without the prompt before rewriting) or `none`; by
    default as the API key prefers."""
    provenance: str | None
    """How the image is marked as made by a machine: `none`, `iptc`, `c2pa` or `watermark`; by default as the API key
    prefers."""


class FaceRestoreParams(TypedDict, total=False):
    """The parameters of a face restoration, without the image."""

    priority: int | None
    """-2 to 2; each step up gives the job four times the share of the device."""
    metadata: str | None
    """What the image file says of how it was made: `full`, `drawn` (without the prompt before rewriting) or `none`; by
    default as the API key prefers."""
    provenance: str | None
    """How the image is marked as made by a machine: `none`, `iptc`, `c2pa` or `watermark`; by default as the API key
    prefers."""
