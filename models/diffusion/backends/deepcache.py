"""DeepCache: a UNet that can skip its deep blocks in a step and reuse their output of an earlier step.

Deep features change little between neighbouring steps, and the deep blocks take most of the time: Ma et al. 2023, arXiv
2312.00858. The images differ from those of the plain pipeline; docs/backends.md says how much.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from models.diffusion.denoiser import Conditioning

Skips = tuple[torch.Tensor, ...]
"""The skip connections from down blocks to up blocks, from the outermost to the innermost."""


class DeepCacheUNet:
    """The forward of a ``UNet2DConditionModel`` in two variants, :meth:`full` and :meth:`shallow`.

    The object keeps no state between calls; the caller keeps each row's deep features of its last full step. Each
    output depends on its own input only, so rows can share a forward although their features are of different steps.

    Args:
        unet: each call runs it on torch in its current state, including LoRAs.
        depth: the number of outermost levels that :meth:`shallow` computes.

    Raises:
        ValueError: the UNet has no more than ``depth`` levels.
    """

    def __init__(self, unet: Any, depth: int = 1) -> None:
        if not 1 <= depth < len(unet.up_blocks):
            raise ValueError(f"depth must be from 1 to {len(unet.up_blocks) - 1} for this UNet, not {depth}")
        self._unet = unet
        self._depth = depth

    def full(
        self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The plain forward of N inputs; for the arguments see :meth:`Denoiser.denoise`.

        Returns:
            The output [N, channels, h, w], and the deep features [N, width, h', w'] for :meth:`shallow`.
        """
        unet = self._unet
        block_kwargs = self._embed(latents, timesteps, conditioning)
        skips = _down(self._read(latents), unet.down_blocks, block_kwargs)
        sample = skips[-1] if unet.mid_block is None else _call(unet.mid_block, skips[-1], block_kwargs)
        deep, skips = _up(sample, skips, unet.up_blocks[: -self._depth], block_kwargs)
        return self._write(deep, skips, block_kwargs), deep

    def shallow(
        self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning, deep: torch.Tensor
    ) -> torch.Tensor:
        """The output [N, channels, h, w], computed from ``deep`` instead of the deep blocks.

        Args:
            latents: as for :meth:`full`.
            timesteps: as for :meth:`full`.
            conditioning: as for :meth:`full`.
            deep: [N, width, h', w'], the deep features of each input's last full step, at the same size.
        """
        block_kwargs = self._embed(latents, timesteps, conditioning)
        skips = _down(self._read(latents), self._unet.down_blocks[: self._depth], block_kwargs)
        count = sum(len(block.resnets) for block in self._unet.up_blocks[-self._depth :])
        return self._write(deep, skips[:count], block_kwargs)

    def _embed(self, latents: torch.Tensor, timesteps: torch.Tensor, conditioning: Conditioning) -> dict[str, Any]:
        """The keyword arguments of every block: the embedding of the timestep and what is added to it, and the text."""
        unet, states, added_cond = self._unet, conditioning.hidden_states, dict(conditioning.extra_kwargs)
        time = unet.get_time_embed(sample=latents, timestep=timesteps)
        embedding = unet.time_embedding(time, conditioning.guidance_embedding)
        added = unet.get_aug_embed(emb=embedding, encoder_hidden_states=states, added_cond_kwargs=added_cond)
        return {
            "temb": embedding if added is None else embedding + added,
            "encoder_hidden_states": unet.process_encoder_hidden_states(states, added_cond),
        }

    def _read(self, latents: torch.Tensor) -> torch.Tensor:
        sample: torch.Tensor = self._unet.conv_in(latents)
        return sample

    def _write(self, deep: torch.Tensor, skips: Skips, block_kwargs: dict[str, Any]) -> torch.Tensor:
        """From the deep features to the output, through the outermost up blocks."""
        unet = self._unet
        sample, _ = _up(deep, skips, unet.up_blocks[-self._depth :], block_kwargs)
        if unet.conv_norm_out is not None:
            sample = unet.conv_act(unet.conv_norm_out(sample))
        output: torch.Tensor = unet.conv_out(sample)
        return output


def is_full_step(step: int, interval: int) -> bool:
    """Whether ``step``, counted from 0, computes the deep features: one in ``interval`` steps does, and the first."""
    return step % interval == 0


def _down(sample: torch.Tensor, blocks: Iterable[Any], block_kwargs: dict[str, Any]) -> Skips:
    skips: Skips = (sample,)
    for block in blocks:
        _, given = _call(block, skips[-1], block_kwargs)
        skips += given
    return skips


def _up(
    sample: torch.Tensor, skips: Skips, blocks: Iterable[Any], block_kwargs: dict[str, Any]
) -> tuple[torch.Tensor, Skips]:
    """The sample after ``blocks``, and the skip connections that are left."""
    for block in blocks:
        count = len(block.resnets)
        skips, taken = skips[:-count], skips[-count:]
        size = skips[-1].shape[2:] if skips else None
        sample = _call(block, sample, block_kwargs, res_hidden_states_tuple=taken, upsample_size=size)
    return sample, skips


def _call(block: Any, sample: torch.Tensor, block_kwargs: dict[str, Any], **options: Any) -> Any:
    """Call a block of any type; blocks without cross-attention take no text."""
    if not getattr(block, "has_cross_attention", False):
        block_kwargs = {"temb": block_kwargs["temb"]}
    return block(hidden_states=sample, **block_kwargs, **options)
