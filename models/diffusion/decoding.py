"""Decoding: from final latents to images, within bounds of memory, with one wait for the device."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from PIL.Image import Image

from models.diffusion.denoising import Denoising
from models.diffusion.failures import attempt, release_memory
from models.diffusion.parts import Part
from models.diffusion.rgb import to_image, to_levels
from models.diffusion.streams import to_host
from models.errors import DrawingFailed, JobFailure, OutOfMemory

DECODED_MAX_BYTES = 24 << 20
"""The size of the RGB pixels decoded together, in the VAE's dtype: 2 megapixels in float32. A decoder's intermediate
results take some hundred times as much."""
_FINITE_LATENTS, _FINITE_PIXELS = 1, 2
"""The bits of the byte in front of an image's levels."""


def decode(batch: Sequence[Denoising]) -> list[Image | JobFailure]:
    """Decode the latents of ``batch``, whose group keys are equal, several together.

    Images that cannot be decoded together are decoded one by one. One that does not fit into the memory alone is
    decoded in tiles. If decoding in half precision overflows, it is repeated in float32. All images come to the host
    in one copy, together with what was found about them, so that the device is waited for once.
    """
    size = _decoded_together(batch[0])
    parts = [batch[first : first + size] for first in range(0, len(batch), size)]
    packed = [one for part in parts for one in _decode(part)]
    arrived = iter(_on_host([each for each in packed if isinstance(each, torch.Tensor)]))
    on_host = [one if isinstance(one, JobFailure) else next(arrived) for one in packed]
    return [
        one if isinstance(one, JobFailure) else attempt(partial(_image, each, one))
        for each, one in zip(batch, on_host, strict=True)
    ]


def _on_host(packed: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | JobFailure]:
    """``packed`` in the host's memory: in one copy, or one by one if the memory has no room for the copy."""
    if not packed:
        return ()
    together = attempt(lambda: to_host(torch.stack(list(packed))))
    return [attempt(partial(to_host, one)) for one in packed] if isinstance(together, JobFailure) else list(together)


def _decoded_together(denoising: Denoising) -> int:
    if denoising.checkpoint.spec.vae_slicing:
        return 1
    width, height = denoising.size
    dtype: torch.dtype = denoising.checkpoint.pipeline.vae.dtype
    return max(1, DECODED_MAX_BYTES // (3 * width * height * dtype.itemsize))


def _decode(batch: Sequence[Denoising]) -> list[torch.Tensor | JobFailure]:
    """Each image of ``batch`` as :func:`_packed` gives it, on the device."""
    packed = attempt(lambda: _packed(batch, batch[0].checkpoint.fastest.vae))
    if not isinstance(packed, JobFailure):
        return list(packed)
    release_memory(batch[0].checkpoint.device)
    if len(batch) > 1:
        return [image for each in batch for image in _decode([each])]
    if isinstance(packed, OutOfMemory):
        tiled = attempt(lambda: _packed(batch, _tiling(batch[0].checkpoint.pipeline.vae)))
        return [tiled] if isinstance(tiled, JobFailure) else list(tiled)
    return [packed]


def _packed(batch: Sequence[Denoising], vae: Any) -> torch.Tensor:
    """uint8 [N, 1 + H * W * 3]: for each image a byte that says what is finite, and its levels."""
    checkpoint = batch[0].checkpoint
    latents = torch.cat([each.latents for each in batch])
    with checkpoint.placement.using(Part.VAE):
        pixels = checkpoint.family.decode(vae, latents)
    finite = _FINITE_LATENTS * _is_finite(latents) + _FINITE_PIXELS * _is_finite(pixels)
    levels = to_levels(checkpoint.pipeline.image_processor, pixels)
    return torch.cat([finite[:, None], levels.flatten(1)], dim=1)


def _is_finite(values: torch.Tensor) -> torch.Tensor:
    """For each of [N, ...] whether all numbers are finite: uint8 [N], 0 or 1."""
    return values.isfinite().flatten(1).all(1).to(torch.uint8)


def _tiling(vae: Any) -> Any:
    """A VAE that decodes in overlapping tiles, which changes images a little and takes the memory of one tile."""
    tiling = copy.copy(vae)  # shares all weights; the original goes on decoding at once
    tiling.enable_tiling()
    return tiling


def _image(denoising: Denoising, packed: torch.Tensor) -> Image:
    """The image in ``packed``, one row of what :func:`_packed` gives, in the host's memory.

    Some VAEs overflow in float16; such an image is decoded once more in float32.

    Raises:
        DrawingFailed: the latents are not finite numbers, or the pixels are not, even in float32.
    """
    finite, levels = int(packed[0]), packed[1:]
    if not finite & _FINITE_LATENTS:
        raise DrawingFailed("the final latents are not finite numbers")
    if not finite & _FINITE_PIXELS:
        checkpoint = denoising.checkpoint
        if checkpoint.pipeline.vae.dtype != torch.float32:
            with checkpoint.placement.using(Part.VAE):
                again = to_host(_packed([denoising], checkpoint.float32_vae))[0]
            finite, levels = int(again[0]), again[1:]
        if not finite & _FINITE_PIXELS:
            raise DrawingFailed("the decoded pixels are not finite numbers")
    width, height = denoising.size
    return to_image(levels.view(height, width, 3))
