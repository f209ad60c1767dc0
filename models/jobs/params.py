"""What a job is asked to do: the request as any dialect understood it, and the parameters with nothing left open.

Images that a job starts from are named by a string, their source: ``https://...`` is fetched by the worker,
``input:<sha256>`` was uploaded with the request, ``image:<id>`` is an image that was drawn here before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from models.catalog.families import DRAWN_KINDS, TXT2IMG
from models.jobs.payload import Payload

UPSCALE = "upscale"
FACE_RESTORE = "face_restore"
FACE_SWAP = "face_swap"
KINDS = (*DRAWN_KINDS, UPSCALE, FACE_RESTORE, FACE_SWAP)

PROMPT_MAX_CHARS = 10_000
SEED_MAX = 2**53 - 1
"""The largest seed: whole numbers beyond this do not survive JSON in every client."""
DRAWN_SEED_MAX = 2**32 - 1
"""The largest seed that Photogram draws itself."""
LORA_WEIGHT_MAX = 10.0
MASK_MAX_PX = 256
"""The largest ``blur_px`` and ``padding_px`` of a mask."""
PRIORITY_MAX = 2

RESIZE_MODES = ("stretch", "crop", "fill")
"""How an image comes to the size that is drawn; "fill" keeps all of it and lengthens its edges."""
FILLS = ("fill", "original", "latent_noise", "latent_nothing")
"""What the masked area starts from, in the order of A1111's numbers 0 to 3."""
CONTROL_MODES = ("balanced", "prompt", "control")
"""Which of prompt and ControlNet is more important, in the order of A1111's numbers 0 to 2."""
ASPECT_RATIOS: Mapping[str, tuple[int, int]] = MappingProxyType({
    name: (int(name.partition(":")[0]), int(name.partition(":")[2]))
    for name in ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "4:7", "7:4", "9:16", "16:9", "9:21", "21:9")
} | {"square": (1, 1), "portrait": (2, 3), "landscape": (3, 2)})  # fmt: skip
"""Width to height, by name."""


@dataclass(frozen=True, kw_only=True)
class LoraUse:
    """One LoRA of an image: its name in the catalog, and how strongly it works."""

    name: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Mask:
    """Which part of an image is drawn anew: where the mask is light."""

    image: str
    blur_px: int = 4
    """The deviation of the Gaussian that softens the mask's edge."""
    fill: str = "original"
    invert: bool = False
    """Draw where the mask is dark."""
    only_masked: bool = False
    """Draw only the masked area, at the full size, and put it back into its place."""
    padding_px: int = 32
    """How much of the surroundings is seen when ``only_masked``."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """One ControlNet of an image."""

    model: str
    image: str | None = None
    """The image that guides; ``None`` is the one that the job starts from."""
    preprocessor: str = "none"
    threshold_a: float | None = None
    """What it means is the preprocessor's matter; ``None`` is its default. So is ``threshold_b``."""
    threshold_b: float | None = None
    weight: float = 1.0
    start: float = 0.0
    """The share of the steps after which it begins to work; ``end``, after which it stops."""
    end: float = 1.0
    mode: str = "balanced"
    resize_mode: str = "crop"


@dataclass(frozen=True, kw_only=True)
class SecondPass:
    """Enlarge the image when it is drawn, and draw over it once more."""

    scale: float = 2.0
    upscaler: str = "Lanczos"
    strength: float = 0.5
    num_inference_steps: int | None = None
    """``None`` is as many as the first pass was given."""


@dataclass(frozen=True, kw_only=True)
class Refiner:
    """A second model that draws the last steps."""

    model: str
    start: float = 0.8
    """The share of the noise that the first model takes away."""


@dataclass(frozen=True, kw_only=True)
class DrawRequest:
    """A request for an image; ``None`` leaves the choice to the model's defaults."""

    kind: str = TXT2IMG
    prompt: str
    negative_prompt: str | None = None
    model: str | None = None
    sampler: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    """One of :data:`ASPECT_RATIOS`, at the area of the model's default size; instead of ``width`` and ``height``."""
    style_preset: str | None = None
    clip_skip: int | None = None
    loras: tuple[LoraUse, ...] = ()
    image: str | None = None
    strength: float | None = None
    resize_mode: str | None = None
    mask: Mask | None = None
    controls: tuple[Control, ...] = ()
    second_pass: SecondPass | None = None
    refiner: Refiner | None = None
    reuse_interval: int | None = None
    priority: int | None = None
    enhance_prompt: bool | None = None
    """``None`` is what the API key prefers; so it is for ``enhance_negative_prompt``."""
    enhance_negative_prompt: bool | None = None


@dataclass(frozen=True, kw_only=True)
class DrawParams(Payload):
    """The effective parameters of an image; a worker decides nothing any more."""

    prompt: str
    """Without LoRA tags, which are in ``loras``."""
    negative_prompt: str
    model: str
    """The catalog's own name, never an alias; so are those of LoRAs, ControlNets and the refiner."""
    sampler: str
    num_inference_steps: int
    guidance_scale: float
    """Classifier-free guidance; 1 or less draws without it. Models distilled to take it as an input get it so."""
    seed: int
    width: int
    """Pixels, a multiple of 8; so is ``height``."""
    height: int
    style_preset: str | None = None
    clip_skip: int = 1
    """By A1111's count: 1 skips nothing, 2 the text encoder's last layer."""
    loras: tuple[LoraUse, ...] = ()
    image: str | None = None
    """What img2img and inpaint start from."""
    strength: float = 1.0
    """How much of the noise schedule is run, 0..1; 1 forgets the image."""
    resize_mode: str = "crop"
    mask: Mask | None = None
    controls: tuple[Control, ...] = ()
    second_pass: SecondPass | None = None
    refiner: Refiner | None = None
    reuse_interval: int = 1
    """Deep features are computed anew at each so-many-th step; 1 is always, and exact."""
    priority: int = 0
    """-2..2; each step up is four times the share of the device."""
    enhance_prompt: bool = False
    """Have the language model rewrite the prompt before it is drawn."""
    enhance_negative_prompt: bool = False
    """Have it write a negative prompt too, where there is none and the prompt is rewritten."""

    @property
    def sources(self) -> Iterator[str]:
        """Every image that the job starts from."""
        if self.image is not None:
            yield self.image
        if self.mask is not None:
            yield self.mask.image
        yield from (control.image for control in self.controls if control.image is not None)


@dataclass(frozen=True, kw_only=True)
class UpscaleRequest:
    """A request to enlarge an image."""

    image: str
    scale: int | None = None
    upscaler: str | None = None
    priority: int | None = None
    kind: str = UPSCALE


@dataclass(frozen=True, kw_only=True)
class UpscaleParams(Payload):
    """The effective parameters of an enlargement."""

    image: str
    scale: int
    """2 or 4."""
    upscaler: str
    priority: int = 0

    @property
    def sources(self) -> Iterator[str]:
        """The one image."""
        yield self.image


@dataclass(frozen=True, kw_only=True)
class FaceRestoreRequest:
    """A request to restore the faces in an image."""

    image: str
    priority: int | None = None
    kind: str = FACE_RESTORE


@dataclass(frozen=True, kw_only=True)
class FaceRestoreParams(Payload):
    """The effective parameters of a restoration."""

    image: str
    priority: int = 0

    @property
    def sources(self) -> Iterator[str]:
        """The one image."""
        yield self.image


@dataclass(frozen=True, kw_only=True)
class FaceSwapRequest:
    """A request to put the face of one image into another."""

    source: str
    target: str
    kind: str = FACE_SWAP


Request = DrawRequest | UpscaleRequest | FaceRestoreRequest | FaceSwapRequest
Params = DrawParams | UpscaleParams | FaceRestoreParams

PARAMS_OF: Mapping[str, type[DrawParams] | type[UpscaleParams] | type[FaceRestoreParams]] = MappingProxyType(
    dict.fromkeys(DRAWN_KINDS, DrawParams) | {UPSCALE: UpscaleParams, FACE_RESTORE: FaceRestoreParams}
)
"""The parameters' class by the kind of job; a face swap has none, for no ticket for one is ever opened."""
