"""Face restoration: each face is detected, aligned, restored in one step, and put back."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from models.diffusion.upscaling.face_alignment import align, cut_out, paste
from models.diffusion.upscaling.face_detector import FaceDetector
from models.diffusion.upscaling.pixels import are_finite, from_unit, to_bytes, to_unit
from models.diffusion.upscaling.postprocess import Postprocess
from models.diffusion.upscaling.weights import failure_to_load, read_model
from models.errors import DrawingFailed, InputUnavailable, ModelUnavailable


@dataclass(eq=False, frozen=True)
class FaceRestorer:
    """A face-restoration model with its face detector; many jobs share them."""

    gfpgan: nn.Module
    """GFPGAN (Wang et al. 2021, arXiv 2101.04061), the variant without custom CUDA operators, in float32."""
    detector: FaceDetector

    @property
    def modules(self) -> list[nn.Module]:
        """All modules that take memory; the detector is small, and does not run on torch."""
        return [self.gfpgan]

    @torch.inference_mode()
    def __call__(self, faces: Tensor) -> Tensor:
        """Restore faces, uint8 [n, 3, 512, 512], to float32 from 0 to 1 [n, 3, 512, 512] on the model's device.

        The noise comes from the weights file, so that the same face always gives the same result.
        """
        values = to_unit(faces, next(self.gfpgan.parameters()).device, torch.float32)
        restored: Tensor = self.gfpgan(values * 2 - 1, return_rgb=False, randomize_noise=False)[0]
        return (restored / 2 + 0.5).clamp(0, 1)


def load_face_restorer(weights: Path, detector: Path, device: torch.device) -> FaceRestorer:
    """Load GFPGAN from ``weights`` onto ``device``, in float32, and YuNet from ``detector``, which runs on the CPU.

    Raises:
        ModelUnavailable: a file cannot be read, or holds another model.
        OutOfMemory: the weights do not fit into the device's memory.
    """
    finder = FaceDetector(detector)
    descriptor = read_model(weights)
    if descriptor.architecture.id != "GFPGAN":
        raise ModelUnavailable(
            f"{weights} has the architecture {descriptor.architecture.id}; face restorers must be GFPGAN"
        )
    try:
        return FaceRestorer(descriptor.model.to(device), finder)
    except Exception as error:
        raise failure_to_load(weights, error) from error


class FaceRestoration(Postprocess):
    """Restores each face in an image, one in each step; the image keeps its size.

    Args:
        image: RGB, of any size. Its faces are detected at once, in tens of milliseconds.

    Raises:
        InputUnavailable: no face is detected.
        ValueError: the image is not RGB.
    """

    def __init__(self, image: Image.Image, restorer: FaceRestorer) -> None:
        self.model = restorer
        self._source = to_bytes(image).permute(1, 2, 0).numpy()
        self._canvas = self._source.copy()
        self._faces = [align(landmarks) for landmarks in restorer.detector.find(self._source)]
        if not self._faces:
            raise InputUnavailable("no face was found in the image", "image")
        self.steps = len(self._faces)

    @property
    def group_key(self) -> Hashable:
        return self.model

    def next_input(self) -> Tensor:
        face = cut_out(self._source, self._faces[self.step])
        return torch.from_numpy(face).permute(2, 0, 1)[None]

    def take_step(self, output: Tensor) -> None:
        if not are_finite(output):
            raise DrawingFailed("the face restorer's output is not finite")
        face = from_unit(output[0]).permute(1, 2, 0).numpy()
        paste(self._canvas, face, self._faces[self.step])
        self.step += 1

    def image(self) -> Image.Image:
        return Image.fromarray(self._canvas)
