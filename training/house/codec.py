"""A linear latent codec, fitted by PCA of 8x8 patches; an AutoencoderTiny then learns to produce its latents."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

PATCH_PX = 8
CHANNELS = 12
WHITENING = 0.7
"""Channels are divided by their standard deviation to this power: 1 would amplify the noise in fine detail."""


@dataclass(frozen=True)
class PatchCodec:
    """A linear map from images to latents and its pseudo-inverse."""

    mean: torch.Tensor
    """[3 * PATCH_PX**2], the mean patch."""
    basis: torch.Tensor
    """[CHANNELS, 3 * PATCH_PX**2], orthonormal rows, in order of falling variance."""
    scale: torch.Tensor
    """[CHANNELS], the factor of each channel."""

    @classmethod
    def fit(cls, images: torch.Tensor) -> PatchCodec:
        """Fit to RGB ``images`` [N, 3, H, W] in -1..1."""
        patches = _to_patches(images).flatten(0, 2).double()
        mean = patches.mean(0)
        _, basis = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        basis = basis.flip(1).T[:CHANNELS]
        std = ((patches - mean) @ basis.T).std(0)
        scale = std**-WHITENING
        scale = scale / (std * scale).square().mean().sqrt()
        return cls(mean.float(), basis.float().contiguous(), scale.float())

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """RGB [N, 3, H, W] in -1..1 to latents [N, CHANNELS, H / 8, W / 8] of about unit variance."""
        return (((_to_patches(images) - self.mean) @ self.basis.T) * self.scale).permute(0, 3, 1, 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """The pseudo-inverse of :meth:`encode`, clamped to -1..1; the trained decoder gives better images."""
        patches = (latents.permute(0, 2, 3, 1) / self.scale) @ self.basis + self.mean
        n, h, w, _ = patches.shape
        images = patches.view(n, h, w, 3, PATCH_PX, PATCH_PX).permute(0, 3, 1, 4, 2, 5)
        return images.reshape(n, 3, h * PATCH_PX, w * PATCH_PX).clamp(-1, 1)

    def save(self, path: Path) -> None:
        save_file({"mean": self.mean, "basis": self.basis, "scale": self.scale}, path)

    @classmethod
    def load(cls, path: Path) -> PatchCodec:
        return cls(**load_file(path))


def _to_patches(images: torch.Tensor) -> torch.Tensor:
    """[N, 3, H, W] to [N, H / 8, W / 8, 3 * 64]."""
    n, c, h, w = images.shape
    grid = images.view(n, c, h // PATCH_PX, PATCH_PX, w // PATCH_PX, PATCH_PX)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(n, h // PATCH_PX, w // PATCH_PX, -1)
