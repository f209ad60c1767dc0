"""The preprocessors of ControlNets, by A1111's names as Prodia v1 lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Threshold:
    """The meaning, default and bounds of ``threshold_a`` or ``threshold_b`` for one preprocessor."""

    meaning: str
    default: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Preprocessor:
    """A preprocessor makes the condition image that a ControlNet was trained on from an image."""

    name: str
    description: str
    weights: str | None = None
    """The name of its weights in the catalog; ``None`` if it needs none."""
    threshold_a: Threshold | None = None
    """``None`` if the preprocessor does not use it; the same holds for ``threshold_b``."""
    threshold_b: Threshold | None = None
    refusal: str | None = None
    """Why no server can run it, even with weights; ``None`` if it can be run."""


_NO_NETWORK = "none of the libraries that Photogram uses contains its network"
_ONEFORMER = "Photogram does not run OneFormer; use segmentation"
_NEAR = Threshold("nearest part to leave out, percent", 0, 0, 100)
_FAR = Threshold("farthest part to leave out, percent", 0, 0, 100)
_FIDELITY = Threshold("style fidelity", 0.5, 0, 1)
_VARIATION = Threshold("variation, latent pixels", 8, 3, 32)


def _unknown(name: str, description: str, a: Threshold | None = None, b: Threshold | None = None) -> Preprocessor:
    return Preprocessor(name=name, description=description, refusal=_NO_NETWORK, threshold_a=a, threshold_b=b)


def _reference(name: str, description: str) -> Preprocessor:
    refusal = "it changes the UNet's attention by a second image and makes no condition image for a ControlNet"
    return Preprocessor(name=name, description=description, refusal=refusal, threshold_a=_FIDELITY)


def _inpaint(name: str, description: str) -> Preprocessor:
    refusal = "it needs a mask, and preprocessors get none"
    return Preprocessor(name=name, description=description, refusal=refusal)


def _colour_fix(name: str, description: str, sharpness: Threshold | None = None) -> Preprocessor:
    refusal = "it corrects the colours at each step of the sampler, which Photogram does not do; use tile_resample"
    return Preprocessor(
        name=name, description=description, refusal=refusal, threshold_a=_VARIATION, threshold_b=sharpness
    )


_ALL = (
    Preprocessor(name="none", description="the image unchanged, for images that are condition images already"),
    Preprocessor(
        name="canny", description="hard edges, white on black",
        threshold_a=Threshold("gradient below which nothing is an edge", 100, 1, 255),
        threshold_b=Threshold("gradient from which everything is an edge", 200, 1, 255),
    ),
    Preprocessor(name="depth", description="relative depth, near is white", weights="depth"),
    _unknown("depth_leres", "relative depth by LeReS", _NEAR, _FAR),
    _unknown("depth_leres++", "relative depth by LeReS, in two resolutions", _NEAR, _FAR),
    _unknown("hed", "soft edges by HED"),
    _unknown("hed_safe", "soft edges by HED, in few grey levels"),
    Preprocessor(
        name="mediapipe_face", description="face landmarks",
        refusal="it needs the library mediapipe, which Photogram does not use",
        threshold_a=Threshold("most faces", 1, 1, 10), threshold_b=Threshold("least confidence", 0.5, 0.01, 1),
    ),
    _unknown(
        "mlsd", "straight lines", Threshold("least score", 0.1, 0.01, 2), Threshold("least distance", 0.1, 0.01, 20)
    ),
    Preprocessor(
        name="normal_map", description="surface normals from relative depth", weights="depth",
        threshold_a=Threshold("depth below which everything is background", 0.4, 0, 1),
    ),
    _unknown("openpose", "the body's pose"),
    _unknown("openpose_hand", "the body's and the hands' pose"),
    _unknown("openpose_face", "the body's pose and the face"),
    _unknown("openpose_faceonly", "the face"),
    _unknown("openpose_full", "the body's and the hands' pose, and the face"),
    Preprocessor(
        name="clip_vision", description="CLIP's image embedding",
        refusal="it makes no image; it is meant for T2I style adapters",
    ),
    Preprocessor(name="color", description="squares of 64 px in the image's colours"),
    _unknown("pidinet", "soft edges by PiDiNet"),
    _unknown("pidinet_safe", "soft edges by PiDiNet, in few grey levels"),
    _unknown("pidinet_sketch", "filtered soft edges by PiDiNet"),
    _unknown("pidinet_scribble", "thick strokes from PiDiNet's edges"),
    Preprocessor(
        name="scribble_xdog", description="strokes where the image is darker than its surroundings",
        threshold_a=Threshold("how much darker, in half grey levels", 32, 1, 64),
    ),
    _unknown("scribble_hed", "thick strokes from HED's edges"),
    Preprocessor(name="segmentation", description="ADE20K's 150 classes in its colours", weights="segmentation"),
    Preprocessor(
        name="threshold", description="white where all three channels are brighter, else black",
        threshold_a=Threshold("grey level", 127, 0, 255),
    ),
    Preprocessor(name="depth_zoe", description="metric depth by ZoeDepth, near is white", weights="depth_zoe"),
    _unknown("normal_bae", "surface normals by NormalBae"),
    Preprocessor(name="oneformer_coco", description="COCO's classes by OneFormer", refusal=_ONEFORMER),
    Preprocessor(name="oneformer_ade20k", description="ADE20K's classes by OneFormer", refusal=_ONEFORMER),
    _unknown("lineart", "fine lines"),
    _unknown("lineart_coarse", "coarse lines"),
    _unknown("lineart_anime", "lines of drawings"),
    Preprocessor(name="lineart_standard", description="dark lines on a light ground, as white on black"),
    Preprocessor(name="shuffle", description="the image warped beyond recognition, controlled by the seed"),
    Preprocessor(
        name="tile_resample", description="the image without its finest detail",
        threshold_a=Threshold("down-sampling rate", 1, 1, 8),
    ),
    Preprocessor(name="invert", description="the negative, for black lines on white"),
    _unknown("lineart_anime_denoise", "lines of drawings, without the screentone"),
    _reference("reference_only", "the style of an image, through attention"),
    _reference("reference_adain", "the style of an image, through the statistics of its features"),
    _reference("reference_adain+attn", "the style of an image, through both"),
    _inpaint("inpaint", "the image with a hole"),
    _inpaint("inpaint_only", "the image with a hole; the rest is unchanged"),
    _inpaint("inpaint_only+lama", "the image with a hole that LaMa filled"),
    _colour_fix("tile_colorfix", "the image with its colours kept"),
    _colour_fix(
        "tile_colorfix+sharp", "the image with its colours and sharpness kept", Threshold("sharpness", 1, 0, 2)
    ),
)  # fmt: skip

PREPROCESSORS: Mapping[str, Preprocessor] = MappingProxyType({each.name: each for each in _ALL})
"""By name, in the order of Prodia v1's schema ``ControlnetModule``."""


def find_preprocessor(name: str) -> Preprocessor | None:
    """The preprocessor called ``name``, whose case is ignored; ``None`` if there is none."""
    return PREPROCESSORS.get(name) or PREPROCESSORS.get(name.casefold())
