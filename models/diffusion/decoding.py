"""Decoding: finished latents to pictures of the size that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from PIL.Image import Image, Resampling

from models.diffusion.failures import attempt, release_memory
from models.diffusion.pipeline import decode
from models.diffusion.row import Row
from models.errors import DrawingFailed, JobFailure


def draw(rows: Sequence[Row]) -> list[Image | JobFailure]:
    """Each row's picture. The rows are of one group and are decoded together; if that fails, each for itself."""
    pixels = attempt(lambda: _decode(rows))
    if not isinstance(pixels, JobFailure):
        return [attempt(partial(_picture, row, one)) for row, one in zip(rows, pixels, strict=True)]
    if len(rows) == 1:
        return [pixels]
    release_memory(rows[0].checkpoint.device)
    return [picture for row in rows for picture in draw([row])]


def _decode(rows: Sequence[Row]) -> Sequence[torch.Tensor]:
    pixels = decode(rows[0].checkpoint.pipeline, torch.cat([row.latents for row in rows]))
    return list(pixels[:, None])


def _picture(row: Row, pixels: torch.Tensor) -> Image:
    if not (row.latents.isfinite().all() and pixels.isfinite().all()):
        raise DrawingFailed("the latents, or the pixels that they decode to, are not finite")
    picture: Image = row.checkpoint.pipeline.image_processor.postprocess(pixels)[0]
    asked = (row.params.width, row.params.height)
    return picture if picture.size == asked else picture.resize(asked, Resampling.LANCZOS)
