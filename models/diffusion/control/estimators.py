"""Preprocessors with weights, run by transformers: depth, normals computed from depth, and segmentation."""

from __future__ import annotations

import threading
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
from models.diffusion.failures import detail_of, is_out_of_memory
from models.errors import ModelUnavailable, OutOfMemory

_STEEPNESS = 2 * np.pi
"""A1111's third component of a normal, where the other two are the Sobel gradient of depth from 0 to 1."""


@dataclass(frozen=True)
class Estimator:
    """A vision model and its image processor."""

    model: Any
    processor: Any

    @classmethod
    def load(cls, model_class: Any, folder: Path) -> Estimator:
        """Load a model and its processor from a transformers folder: safetensors only, float32, on the CPU.

        Raises:
            ModelUnavailable: the folder holds no such model.
            OutOfMemory: the model does not fit into memory.
        """
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoImageProcessor.from_pretrained(folder, **options)
            model = model_class.from_pretrained(folder, use_safetensors=True, dtype=torch.float32, **options)
        except Exception as error:
            if is_out_of_memory(error):
                raise OutOfMemory("the preprocessor's weights do not fit into memory") from error
            message = "the preprocessor's weights cannot be read: they are damaged, or of another model"
            raise ModelUnavailable(message, detail=f"{folder}: {detail_of(error)}") from error
        return cls(model.eval(), processor)

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Any:
        """The model's output for one image."""
        return self.model(**self.processor(images=pixels, return_tensors="pt"))


_loading = threading.Lock()
"""Held while an estimator is looked up, so that two threads do not load the same one."""


def _depth_estimator(folder: Path) -> Estimator:
    with _loading:
        return _load_depth_estimator(folder)


def _segmenter(folder: Path) -> Estimator:
    with _loading:
        return _load_segmenter(folder)


@lru_cache(maxsize=2)
def _load_depth_estimator(folder: Path) -> Estimator:
    return Estimator.load(AutoModelForDepthEstimation, folder)


@lru_cache(maxsize=1)
def _load_segmenter(folder: Path) -> Estimator:
    estimator = Estimator.load(AutoModelForSemanticSegmentation, folder)
    classes = estimator.model.config.num_labels
    if classes != CLASSES:
        raise ModelUnavailable(
            f"the segmentation model {folder.name} has {classes} classes, not the {CLASSES} of ADE20K"
        )
    return estimator


def depth(pixels: Pixels, folder: Path) -> Pixels:
    """Depth, near is white, by DPT, Depth Anything or ZoeDepth (arXiv 2103.13413, 2401.10891, 2302.12288)."""
    return np.repeat((_nearness(pixels, folder) * 255).round().astype(np.uint8)[:, :, None], 3, axis=2)


def normal_map(pixels: Pixels, folder: Path, background: float) -> Pixels:
    """Normals from the gradient of depth, red right and green down; beyond ``background`` they face the viewer."""
    near = _nearness(pixels, folder)
    slopes = [cv2.Sobel(near, cv2.CV_32F, *axes, ksize=3) for axes in ((1, 0), (0, 1))]
    across, down = (np.where(near < background, 0, slope) for slope in slopes)
    normals = np.stack([across, down, np.full_like(near, _STEEPNESS)], axis=2)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return (normals * 127.5 + 127.5).clip(0, 255).astype(np.uint8)


def segmentation(pixels: Pixels, folder: Path) -> Pixels:
    """Each pixel in the ADE20K colour of its most likely class, as in the training of ``control_v11p_sd15_seg``."""
    scores = _segmenter(folder)(pixels).logits
    scores = torch.nn.functional.interpolate(scores, size=pixels.shape[:2], mode="bilinear", align_corners=False)
    coloured: Pixels = COLOURS[scores[0].argmax(0).numpy()]
    return coloured


def _nearness(pixels: Pixels, folder: Path) -> NDArray[np.float32]:
    """The nearness [H, W] of each pixel, from 0, the farthest, to 1, the nearest.

    Most models predict nearness up to scale and shift. Others predict distances; their nearest 2 and farthest 15
    percent are clipped, as A1111 does for ZoeDepth.
    """
    estimator = _depth_estimator(folder)
    predicted = _unpadded(estimator, estimator(pixels).predicted_depth, pixels).numpy()
    if not _predicts_distances(estimator.model.config):
        return _normalised(predicted, predicted.min(), predicted.max())
    return 1 - _normalised(predicted, *np.percentile(predicted, (2, 85)))


def _unpadded(estimator: Estimator, predicted: torch.Tensor, pixels: Pixels) -> torch.Tensor:
    """The prediction [1, h, w], resized to the image's [H, W] and without the padding of ZoeDepth's processor.

    ``post_process_depth_estimation`` of transformers does the same, but needs torchvision for ZoeDepth.
    """
    is_padded = estimator.model.config.model_type == "zoedepth" and estimator.processor.do_pad
    height, width = pixels.shape[:2]
    above, left = (int((side / 2) ** 0.5 * 3) if is_padded else 0 for side in (height, width))
    size = (height + 2 * above, width + 2 * left)
    resized = torch.nn.functional.interpolate(predicted[:, None], size=size, mode="bicubic", align_corners=False)
    return resized[0, 0, above : above + height, left : left + width]


def _predicts_distances(config: Any) -> bool:
    return config.model_type == "zoedepth" or getattr(config, "depth_estimation_type", None) == "metric"


def _normalised(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Map ``low``..``high`` to 0..1 and clip; all zeros if ``low`` equals ``high``."""
    return ((values - low) / max(high - low, 1e-12)).clip(0, 1).astype(np.float32)
