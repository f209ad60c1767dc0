"""The preprocessors that need weights: depth, the normals that follow from it, and segmentation, by transformers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoModelForDepthEstimation, AutoModelForSemanticSegmentation

from models.diffusion.control.ade20k import CLASSES, COLOURS
from models.diffusion.control.filters import Pixels
from models.diffusion.failures import is_out_of_memory, summary
from models.errors import ModelUnavailable, OutOfMemory

_STEEPNESS = 2 * np.pi
"""A1111's length of the normals' third component, against a Sobel gradient of depth in 0..1."""


@dataclass(frozen=True)
class Estimator:
    """A vision model and what prepares images for it."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, model_class: Any, folder: Path) -> Estimator:
        """Read a transformers folder, its processor's settings beside the weights; safetensors only, float32, CPU.

        Raises:
            ModelUnavailable: the folder holds no such model.
            OutOfMemory: it does not fit.
        """
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoImageProcessor.from_pretrained(folder, **options)
            model = model_class.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory(f"the preprocessor's weights in {folder} do not fit into memory") from error
            raise ModelUnavailable(
                f"the preprocessor's weights in {folder} cannot be read: {summary(error)}"
            ) from error
        return cls(model.eval(), processor)

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Any:
        """The model's output for one image."""
        return self.model(**self.processor(images=pixels, return_tensors="pt"))


@lru_cache(maxsize=2)
def _depth_estimator(folder: Path) -> Estimator:
    return Estimator.load(AutoModelForDepthEstimation, folder)


@lru_cache(maxsize=1)
def _segmenter(folder: Path) -> Estimator:
    estimator = Estimator.load(AutoModelForSemanticSegmentation, folder)
    classes = estimator.model.config.num_labels
    if classes != CLASSES:
        raise ModelUnavailable(f"the model in {folder} knows {classes} classes, and not ADE20K's {CLASSES}")
    return estimator


def depth(pixels: Pixels, folder: Path) -> Pixels:
    """Depth, near is white, by DPT, Depth Anything or ZoeDepth (arXiv 2103.13413, 2401.10891, 2302.12288)."""
    return np.repeat((_nearness(pixels, folder) * 255).round().astype(np.uint8)[:, :, None], 3, axis=2)


def normal_map(pixels: Pixels, folder: Path, background: float) -> Pixels:
    """Normals from depth's gradient, red to the right, green down; what is farther than ``background`` looks ahead."""
    near = _nearness(pixels, folder)
    slopes = [cv2.Sobel(near, cv2.CV_32F, *axes, ksize=3) for axes in ((1, 0), (0, 1))]
    across, down = (np.where(near < background, 0, slope) for slope in slopes)
    normals = np.stack([across, down, np.full_like(near, _STEEPNESS)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return (normals * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def segmentation(pixels: Pixels, folder: Path) -> Pixels:
    """Each pixel in the colour that ADE20K gives its most likely class, as ``control_v11p_sd15_seg`` was trained."""
    scores = _segmenter(folder)(pixels).logits
    scores = torch.nn.functional.interpolate(scores, size=pixels.shape[:2], mode="bilinear", align_corners=False)
    coloured: Pixels = COLOURS[scores[0].argmax(0).numpy()]
    return coloured


def _nearness(pixels: Pixels, folder: Path) -> NDArray[np.float32]:
    """How near things are, [H, W] of the image: 0 the farthest, 1 the nearest.

    Most models predict this up to scale and shift. Others predict distances, of which the nearest 2 and the farthest
    15 percent are cut off, as A1111 does for ZoeDepth.
    """
    estimator = _depth_estimator(folder)
    predicted = _unpadded(estimator, estimator(pixels).predicted_depth, pixels).numpy()
    if not _predicts_distances(estimator.model.config):
        return _spanned(predicted, predicted.min(), predicted.max())
    return 1 - _spanned(predicted, *np.percentile(predicted, (2, 85)))


def _unpadded(estimator: Estimator, predicted: torch.Tensor, pixels: Pixels) -> torch.Tensor:
    """The prediction [1, h, w] at the image's size [H, W], without the margin that ZoeDepth's processor adds.

    transformers' own ``post_process_depth_estimation`` does the same, but needs torchvision for ZoeDepth.
    """
    is_padded = estimator.model.config.model_type == "zoedepth" and estimator.processor.do_pad
    height, width = pixels.shape[:2]
    above, left = (int((side / 2) ** 0.5 * 3) if is_padded else 0 for side in (height, width))
    size = (height + 2 * above, width + 2 * left)
    resized = torch.nn.functional.interpolate(predicted[:, None], size=size, mode="bicubic", align_corners=False)
    return resized[0, 0, above : above + height, left : left + width]


def _predicts_distances(config: Any) -> bool:
    return config.model_type == "zoedepth" or getattr(config, "depth_estimation_type", None) == "metric"


def _spanned(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """0 at ``low``, 1 at ``high``, cut off there; zeros where both are the same."""
    return ((values - low) / max(high - low, 1e-12)).clip(0, 1).astype(np.float32)
