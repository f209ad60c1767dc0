"""The parameters of each kind of job; generated from the server's registry by `python -m scripts.client`.

The server decides keys that are left out or None.
"""

from collections.abc import Sequence
from typing import Required, TypedDict

from ._images import ImageSource


class VariationParams(TypedDict, total=False):
    """A second seed, towards which the initial noise of the image is changed (A1111's variation seed)."""

    seed: int | None
    """-1 draws a random seed. From -1 to 9007199254740991. Left out: a random seed."""
    strength: float | None
    """0 gives the image of the job's own seed, 1 that of this seed. From 0 to 1. Left out: `0.1`."""


class LoraParams(TypedDict, total=False):
    """A LoRA and its weight."""

    name: Required[str]
    """A name or alias from `GET /v1/loras`."""
    weight: float | None
    """How strong it is. From -10 to 10. Left out: `1.0`."""
    text_encoder_weight: float | None
    """How strong it is in the text encoders. From -10 to 10. Left out: `weight`."""


class MaskParams(TypedDict, total=False):
    """The part of an image that is generated anew."""

    image: Required[ImageSource]
    """An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST
    /v1/inputs`, or `image:<id>` of an image that this server generated. The light part of the mask is generated
    anew."""
    blur_px: int | None
    """Standard deviation of the Gaussian blur of the mask, in pixels. From 0 to 256. Left out: `4`."""
    fill: str | None
    """What the masked area starts from. One of `fill`, `original`, `latent_noise`, `latent_nothing`. Left out:
    `original`."""
    invert: bool | None
    """Generate the dark part of the mask anew."""
    only_masked: bool | None
    """Generate only the masked area, at the full size, and paste it back."""
    padding_px: int | None
    """How far `only_masked` sees beyond the mask, in pixels. From 0 to 256. Left out: `32`."""


class ControlParams(TypedDict, total=False):
    """A ControlNet, its condition image and its settings."""

    model: Required[str]
    """A name or alias from `GET /v1/controlnets`."""
    image: ImageSource | None
    """An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST
    /v1/inputs`, or `image:<id>` of an image that this server generated. Left out: the image that the job starts
    from."""
    preprocessor: str | None
    """A name from `GET /v1/preprocessors`. Left out: `none`."""
    threshold_a: float | None
    """The listing of the preprocessor says what it means. Left out: the preprocessor's default."""
    threshold_b: float | None
    """The listing of the preprocessor says what it means. Left out: the preprocessor's default."""
    weight: float | None
    """How strong it is. From 0 to 2. Left out: `1.0`."""
    start: float | None
    """The share of the steps after which it begins. From 0 to 1. Left out: `0.0`."""
    end: float | None
    """The share of the steps after which it stops. From 0 to 1. Left out: `1.0`."""
    mode: str | None
    """Whether the prompt or the ControlNet has more influence. One of `balanced`, `prompt`, `control`. Left out:
    `balanced`."""
    resize_mode: str | None
    """How its image is brought to the size of the job. One of `stretch`, `crop`, `fill`. Left out: `crop`."""


class SecondPassParams(TypedDict, total=False):
    """Enlarge the generated image and run img2img on it (A1111's hires fix)."""

    scale: float | None
    """Factor of the enlargement; width and height may reach twice the model's `max_px`. From 1 to 4. Left out:
    `2.0`."""
    upscaler: str | None
    """A name from `GET /v1/upscalers`. Left out: `Lanczos`."""
    strength: float | None
    """The share of the noise schedule that is run; at least one step. From 0 to 1. Left out: `0.5`."""
    num_inference_steps: int | None
    """From 1 to the model's `max_steps`. At least 1. Left out: as many as in the first pass."""


class RefinerParams(TypedDict, total=False):
    """A second SDXL model that runs the last steps."""

    model: Required[str]
    """A name or alias from `GET /v1/models`."""
    start: float | None
    """The share of the noise schedule after which the refiner takes over (diffusers' `denoising_end`). Above 0 and
    below 1. Left out: `0.8`."""


class LabelledImageParams(TypedDict, total=False):
    """An image and its labels."""

    image: Required[ImageSource]
    """`input:<sha256>` from `POST /v1/inputs`, `image:<id>` of an image that this server generated, or Base64."""
    label: Required[str]
    """Its label, or several separated by `;`, which makes the model multi-label; of a multi-label model it may be
    empty, for an image with none of the labels."""


class BudgetParams(TypedDict, total=False):
    """What an agent job may use at most; it ends with what it has when that is used up."""

    steps: int | None
    """Calls of tools and of the language model together. From 1 to 500. Left out: `100`."""
    images: int | None
    """Images that are drawn or enlarged, each candidate of `best_of` too. From 0 to 200. Left out: `24`."""
    seconds: int | None
    """Seconds of work; waiting for a person is not counted. From 1 to 86400. Left out: `1800`."""
    cost_units: float | None
    """Megapixel-steps of all its jobs, as `GET /v1/usage` counts them. From 0 to 1000000. Left out: `10000.0`."""


class EditParams(TypedDict, total=False):
    """The parameters of an edit, without the prompt and the images."""

    negative_prompt: str | None
    """What the image must not contain. Left out: the model's default."""
    model: str | None
    """A name or alias from `GET /v1/models`. Left out: the default model."""
    sampler: str | None
    """A name from `GET /v1/samplers`. Left out: the model's default."""
    num_inference_steps: int | None
    """From 1 to the model's `max_steps`. At least 1. Left out: the model's default."""
    guidance_scale: float | None
    """Classifier-free guidance; 1 or less disables it. From 0 to 50. Left out: the model's default."""
    seed: int | None
    """-1 draws a random seed. From -1 to 9007199254740991. Left out: a random seed."""
    variation: VariationParams | None
    """A second seed, towards which the initial noise is changed. Left out: none."""
    best_of: int | None
    """Draw so many candidates, with the seeds from `seed` on, and keep those that fit the prompt best. From 1 to
    16. Left out: 1."""
    keep: int | None
    """How many of the candidates are kept, the best first; at most `best_of`. From 1 to 16. Left out: 1."""
    min_score: float | None
    """Keep no image that fits the prompt worse than this; the job fails if none is left. From -1 to 1. Left out:
    all scores are good enough."""
    width: int | None
    """In pixels, a multiple of 8 within the model's limits. At least 8. Left out: the model's default."""
    height: int | None
    """In pixels, a multiple of 8 within the model's limits. At least 8. Left out: the model's default."""
    aspect_ratio: str | None
    """Instead of width and height, at the area of the model's default size. One of `1:1`, `2:3`, `3:2`, `3:4`,
    `4:3`, `4:5`, `5:4`, `4:7`, `7:4`, `9:16`, `16:9`, `9:21`, `21:9`, `square`, `portrait`, `landscape`. Left out:
    the model's default size."""
    style_preset: str | None
    """A name from `GET /v1/styles`. Left out: no style."""
    clip_skip: int | None
    """A1111's count: 2 skips the last layer of the text encoder. From 1 to 12. Left out: 1, which skips none."""
    loras: Sequence[LoraParams] | None
    """At most 8, including those in the prompt."""
    strength: float | None
    """The share of the noise schedule that is run, at least one step; 1 ignores the image. From 0 to 1. Left out:
    0.75 for img2img, 1 for inpaint."""
    resize_mode: str | None
    """How the image is brought to `width` x `height`. One of `stretch`, `crop`, `fill`. Left out: `crop`."""
    controls: Sequence[ControlParams] | None
    """ControlNets, at most 4."""
    second_pass: SecondPassParams | None
    """Enlarge the generated image and run img2img on it. Left out: none."""
    refiner: RefinerParams | None
    """A second SDXL model that runs the last steps. Left out: none."""
    reuse_interval: int | None
    """Compute the deep features of the UNet only at every n-th step (DeepCache); 1 is exact. From 1 to 10. Left
    out: 1."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""
    enhance_prompt: bool | None
    """Let the language model rewrite the prompt. Left out: the preference of the API key."""
    enhance_negative_prompt: bool | None
    """Let the language model write a negative prompt too, if there is none. Left out: the preference of the API
    key."""
    metadata: str | None
    """What the image file says of how it was generated: `full` is all parameters, and the prompt before it was
    rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the
    preference of the API key."""
    provenance: str | None
    """How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed
    C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an
    API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key."""


class Params(EditParams, total=False):
    """The parameters of txt2img, img2img, inpaint, without `prompt`."""

    image: ImageSource | None
    """An image: an `https://` or `http://` URL, Base64 (bare or as a `data:` URL), `input:<sha256>` from `POST
    /v1/inputs`, or `image:<id>` of an image that this server generated."""
    mask: ImageSource | MaskParams | None
    """The part of the image that is generated anew."""


class UpscaleParams(TypedDict, total=False):
    """The parameters of upscale, without `image`."""

    scale: float | None
    """Factor of the enlargement; below 1, the image is reduced. From 0.1 to 8. Left out: 2."""
    upscaler: str | None
    """A name from `GET /v1/upscalers`. Left out: `Lanczos`."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""
    metadata: str | None
    """What the image file says of how it was generated: `full` is all parameters, and the prompt before it was
    rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the
    preference of the API key."""
    provenance: str | None
    """How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed
    C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an
    API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key."""


class FaceRestoreParams(TypedDict, total=False):
    """The parameters of face_restore, without `image`."""

    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""
    metadata: str | None
    """What the image file says of how it was generated: `full` is all parameters, and the prompt before it was
    rewritten; `drawn` leaves that prompt out; `none` is nothing. One of `full`, `drawn`, `none`. Left out: the
    preference of the API key."""
    provenance: str | None
    """How the image is marked as made by a machine: `iptc` writes IPTC's digital source type, `c2pa` also a signed
    C2PA manifest, `watermark` also an invisible mark in the pixels. `none`, or less than the server marks, needs an
    API key that allows it. One of `none`, `iptc`, `c2pa`, `watermark`. Left out: the preference of the API key."""


class ClassifyParams(TypedDict, total=False):
    """The parameters of classify, without `image`."""

    model: str | None
    """A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the
    first of them."""
    top_k: int | None
    """How many labels. From 1 to 100. Left out: 5."""
    multi_label: bool | None
    """Whether each label has a probability of its own (sigmoid); otherwise they add up to 1 (softmax). Left out:
    false."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class EmbedParams(TypedDict, total=False):
    """The parameters of embed, without `image`."""

    model: str | None
    """A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the
    first of them."""
    output: str | None
    """`pooled` is one vector in the result; `features` is all that the model has before it pools, as a NumPy file.
    One of `pooled`, `features`. Left out: `pooled`."""
    normalize: bool | None
    """Whether the pooled vector is divided by its length. Left out: true."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class SimilarityParams(TypedDict, total=False):
    """The parameters of similarity, without `image`."""

    others: Sequence[ImageSource] | None
    """Images to compare it with, at most 16."""
    texts: Sequence[str] | None
    """Descriptions to compare it with, at most 16, by a model that reads texts, as `photogram-eyes` does."""
    model: str | None
    """A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the
    first of them."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class DescribeModelParams(TypedDict, total=False):
    """The parameters of describe_model."""

    model: str | None
    """A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the
    first of them."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class FinetuneParams(TypedDict, total=False):
    """The parameters of finetune."""

    data: ImageSource | None
    """The images: `input:<sha256>` of a zip archive from `POST /v1/archives`, or Base64 of one. It has a folder of
    images for each label, or folders `train` and `val` of these, or one CSV file with the columns `path` and
    `label`. Left out: `images`."""
    images: Sequence[LabelledImageParams] | None
    """The images in place of `data`, at most 2000."""
    model: str | None
    """A name or alias of a vision model of the catalog, from `GET /v1/vision/models?catalog=true`. Left out: the
    first of them."""
    name: str | None
    """The name of the new vision model in the catalog. Left out: it is not added, only its files are made."""
    multi_label: bool | None
    """Whether an image may have several labels, or none. Left out: true if one has several."""
    full: bool | None
    """Whether all weights are trained, over images that timm augments; otherwise only the classifier is. Left out:
    false."""
    epochs: int | None
    """How many epochs at most. From 1 to 1000. Left out: 30."""
    patience: int | None
    """Stop after so many epochs without a better one. From 1 to 1000. Left out: 5."""
    batch_size: int | None
    """Images of a step. From 2 to 1024. Left out: 32."""
    learning_rate: float | None
    """Of AdamW. Above 0 and at most 10. Left out: 0.01, or 0.001 with `full`."""
    held_out: float | None
    """The share of the images that the model is judged by, unless the data has a folder `val`. From 0.01 to 0.9.
    Left out: 0.2."""
    seed: int | None
    """Of all random choices. From 0 to 2147483647. Left out: 0."""
    min_scale: float | None
    """With `full`: the smallest part of an image that an augmented one shows. From 0.01 to 1. Left out: 0.35."""
    flip: bool | None
    """With `full`: whether augmented images may be mirrored. Left out: true."""
    augment: str | None
    """With `full`: a policy of timm, such as `rand-m9-mstd0.5`. Left out: changes of colour."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class DeployParams(TypedDict, total=False):
    """The parameters of deploy, without `model`."""

    backend: str | None
    """The inference backend, which the worker must have. One of `openvino`, `onnxruntime`, `aoti`, `tensorrt`. Left
    out: `openvino`."""
    precision: str | None
    """Of the weights and of what is computed with them; not every backend has all. One of `f32`, `bf16`, `fp16`,
    `int8`, `w4`, `fp8`. Left out: `f32`."""
    steps: int | None
    """Of each image that is drawn to record, to check and to measure; only for models that draw. From 1 to 1000.
    Left out: the model's."""
    parts: Sequence[str] | None
    """Only these parts of a model that draws; torch runs the others. None are all. The parts are `text_encoder`,
    `text_encoder_2`, `text_encoder_3`, `unet`, `transformer`, `vae_decoder`, `vae_encoder`."""
    shapes: Sequence[str] | None
    """The sizes that images may have besides the default, such as `512x768`; only for models that draw. None are a
    choice of several."""
    loras: Sequence[LoraParams] | None
    """LoRAs that are baked in; images with just these LoRAs and weights use the package. Only for models that draw."""
    force: bool | None
    """Whether the package is used even if it does not pass its checks. Left out: false."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class AgentParams(TypedDict, total=False):
    """The parameters of agent."""

    brief: str | None
    """What to make, in words, at most 4000 characters. Left out: `replay`."""
    files: Sequence[ImageSource] | None
    """Images that the brief is about, at most 8. An image: an `https://` or `http://` URL, Base64 (bare or as a
    `data:` URL), `input:<sha256>` from `POST /v1/inputs`, or `image:<id>` of an image that this server generated."""
    budget: BudgetParams | None
    """What it may use at most. Left out: 100 steps, 24 images, 30 minutes."""
    mode: str | None
    """Whether it may ask a person: `auto` decides everything by itself, `ask` asks where it needs an answer,
    `approve` also asks before each job that draws. One of `auto`, `ask`, `approve`. Left out: `auto`."""
    planner: str | None
    """Who plans: a `template`, whose slots are filled from the brief; the `language` model, which must be one that
    calls tools; `auto` takes a template if one fits, or else the language model. One of `auto`, `template`,
    `language`. Left out: `auto`."""
    model: str | None
    """The model that draws where the plan names none. Left out: the server's default."""
    seed: int | None
    """All seeds of its jobs follow from it. From 0 to 9007199254740991. Left out: a random one."""
    replay: str | None
    """The id of an earlier agent job that succeeded: what its language model and its people said is taken from its
    record, its jobs run again with the same seeds. Left out: `brief`."""
    priority: int | None
    """Among the jobs of the same API key: each step up gives four times the share of the device. From -2 to 2."""


class JobOptions(TypedDict, total=False):
    """What a request says of its job beside the parameters."""

    start_within_s: int | None
    """A job that no worker has started after so many seconds fails with `start_timeout` and costs nothing. From 1
    to 604800."""
    cancel_after_s: int | None
    """A job that has not ended so many seconds after it was accepted is canceled. From 1 to 604800."""
    retries: int | None
    """How often the job runs again after an `internal_error`. From 0 to 5. Left out: `0`."""
    retain_s: int | None
    """Record, images and files are removed so many seconds after the end of the job. From 1 to 315360000. Left out:
    as long as the server keeps them."""
    tags: Sequence[str] | None
    """Words of your own to find the job by, each of 1 to 64 characters."""
    metadata: dict[str, str] | None
    """Up to 16 values of your own to find the job by. A key has 1 to 64 letters, digits, `_`, `.` and `-`, a value
    at most 500 characters; with the tags at most 4096 bytes of JSON."""
