"""A UNet whose deep half can be left out for a step, with what it gave at an earlier one in its place.

Neighbouring steps differ little in their deep features, and the deep blocks are most of the work: DeepCache, Ma et al.
2023, arXiv 2312.00858. The images are not those of the plain pipeline; docs/backends.md says how far off they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from models.diffusion.denoiser import Conditioning

Skips = tuple[torch.Tensor, ...]
"""What the down blocks hand to the up blocks, from the outermost to the innermost."""


class DeepCacheUNet:
    """The forward of a ``UNet2DConditionModel`` in two forms, :meth:`full` and :meth:`shallow`, made of its own blocks.

    It keeps nothing between calls: whoever calls it keeps each row's deep feature from its last full step. Each input
    depends on its own feature alone, so that rows may share a forward though their features are of different ages.

    Args:
        unet: runs in torch as it is at the time of each call, LoRAs included.
        depth: how many levels, from the outermost, :meth:`shallow` computes.

    Raises:
        ValueError: the UNet has not that many levels and one more.
    """

    def __init__(self, unet: Any, depth: int = 1) -> None:
        if not 1 <= depth < len(unet.up_blocks):
            raise ValueError(f"depth {depth} must be from 1 to {len(unet.up_blocks) - 1} for this UNet")
        self._unet = unet
        self._depth = depth

    def full(
        self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The plain forward; arguments as :meth:`Denoiser.denoise`'s, N inputs.

        Returns:
            The output [N, channels, h, w], and the deep feature [N, width, h', w'] for :meth:`shallow`.
        """
        unet = self._unet
        told = self._embed(latents, timesteps, conditioning)
        skips = _down(self._read(latents), unet.down_blocks, told)
        sample = skips[-1] if unet.mid_block is None else _call(unet.mid_block, skips[-1], told)
        deep, skips = _up(sample, skips, unet.up_blocks[: -self._depth], told)
        return self._write(deep, skips, told), deep

    def shallow(
        self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning, deep: torch.Tensor
    ) -> torch.Tensor:
        """The output [N, channels, h, w] without the deep blocks, for whose output ``deep`` stands in.

        Args:
            latents: as for :meth:`full`, and so the following two.
            timesteps: of this step.
            conditioning: of N inputs.
            deep: [N, width, h', w'], each input's from its last full step at the same size.
        """
        told = self._embed(latents, timesteps, conditioning)
        skips = _down(self._read(latents), self._unet.down_blocks[: self._depth], told)
        wanted = sum(len(block.resnets) for block in self._unet.up_blocks[-self._depth :])
        return self._write(deep, skips[:wanted], told)

    def _embed(self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> dict[str, Any]:
        """What every block is told: the embedding of the time and of all that is added to it, and the text."""
        unet, states, further = self._unet, conditioning.hidden_states, dict(conditioning.further)
        time = unet.get_time_embed(sample=latents, timestep=timesteps)
        embedding = unet.time_embedding(time, conditioning.guidance_embedding)
        added = unet.get_aug_embed(emb=embedding, encoder_hidden_states=states, added_cond_kwargs=further)
        return {
            "temb": embedding if added is None else embedding + added,
            "encoder_hidden_states": unet.process_encoder_hidden_states(states, further),
        }

    def _read(self, latents: torch.Tensor) -> torch.Tensor:
        sample: torch.Tensor = self._unet.conv_in(latents)
        return sample

    def _write(self, deep: torch.Tensor, skips: Skips, told: dict[str, Any]) -> torch.Tensor:
        """From the deep feature to the output, through the outermost up blocks."""
        unet = self._unet
        sample, _ = _up(deep, skips, unet.up_blocks[-self._depth :], told)
        if unet.conv_norm_out is not None:
            sample = unet.conv_act(unet.conv_norm_out(sample))
        output: torch.Tensor = unet.conv_out(sample)
        return output


def takes_full_step(step: int, interval: int) -> bool:
    """Whether a row's ``step``, counted from 0, is a full one: the first, and then one in ``interval``."""
    return step % interval == 0


def _down(sample: torch.Tensor, blocks: Iterable[Any], told: dict[str, Any]) -> Skips:
    skips: Skips = (sample,)
    for block in blocks:
        _, given = _call(block, skips[-1], told)
        skips += given
    return skips


def _up(sample: torch.Tensor, skips: Skips, blocks: Iterable[Any], told: dict[str, Any]) -> tuple[torch.Tensor, Skips]:
    """The sample after ``blocks``, and the skips that they have not used up."""
    for block in blocks:
        count = len(block.resnets)
        skips, taken = skips[:-count], skips[-count:]
        size = skips[-1].shape[2:] if skips else None
        sample = _call(block, sample, told, res_hidden_states_tuple=taken, upsample_size=size)
    return sample, skips


def _call(block: Any, sample: torch.Tensor, told: dict[str, Any], **options: Any) -> Any:
    """A block of any sort; those without cross-attention are not told the text."""
    if not getattr(block, "has_cross_attention", False):
        told = {"temb": told["temb"]}
    return block(hidden_states=sample, **told, **options)
