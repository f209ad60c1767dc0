"""The latents of many rows as inputs of one forward."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from models.diffusion.denoising import Denoising
from models.diffusion.stepping.transfer import send


def model_inputs(batch: Sequence[Denoising]) -> torch.Tensor:
    """The inputs [inputs, channels, h, w] of all images in ``batch``, in their order.

    Each image's latents are scaled by its scheduler, followed by the mask if the UNet takes one, and repeated for each
    of its inputs. Images whose schedulers scale by sigma, or not at all, are scaled together.
    """
    together = [each for each in batch if len(batch) > 1 and each.table.divisors is not None]
    alone = [each for each in batch if each not in together]
    ordered = [*together, *alone]
    latents = torch.cat([*_scaled_together(together), *(each.scaled for each in alone)])
    masks = [each.masked for each in ordered if each.masked is not None]
    if masks:
        latents = torch.cat([latents, torch.cat(masks)], dim=1)
    places = {id(each): place for place, each in enumerate(ordered)}
    indices = [places[id(each)] for each in batch for _ in range(each.inputs)]
    return latents.index_select(0, send(indices, torch.int64, latents.device))


def _scaled_together(batch: Sequence[Denoising]) -> list[torch.Tensor]:
    """One tensor [N, ...] with the scaled latents of ``batch``, if there are any."""
    if not batch:
        return []
    latents = torch.cat([each.latents for each in batch])
    divisors = [each.table.divisor(each.scheduler) for each in batch]
    if all(each == 1.0 for each in divisors):
        return [latents]
    divisor = send(divisors, torch.float32, latents.device).view(-1, *[1] * (latents.dim() - 1))
    return [(latents / divisor).to(latents.dtype)]
