"""The closed-form latents: there and back on images that are made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.house.codec import CHANNELS, PatchCodec


def smooth_images(count: int, seed: int) -> torch.Tensor:
    """Soft blobs of colour, which is what the first dozen directions of 8 x 8 patches can hold."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic", align_corners=True).clamp(-1, 1)


@pytest.fixture(scope="module")
def codec() -> PatchCodec:
    return PatchCodec.fit(smooth_images(64, seed=0))


def psnr_db(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(-10 * ((first - second) / 2).square().mean().log10())


def test_images_it_has_not_seen_come_back(codec: PatchCodec) -> None:
    images = smooth_images(8, seed=1)
    latents = codec.encode(images)
    assert latents.shape == (8, CHANNELS, 8, 8)
    assert psnr_db(codec.decode(latents), images) > 35


def test_the_map_is_an_orthonormal_one_and_latents_are_of_unit_variance(codec: PatchCodec) -> None:
    assert torch.allclose(codec.basis @ codec.basis.T, torch.eye(CHANNELS), atol=1e-5)
    latents = codec.encode(smooth_images(64, seed=0))
    assert latents.mean().abs() < 0.02
    assert 0.98 < latents.square().mean() < 1.02
    deviations = latents.std((0, 2, 3))
    assert (deviations[:-1] >= deviations[1:] * 0.999).all()


def test_what_the_latents_hold_is_kept_exactly(codec: PatchCodec) -> None:
    latents = codec.encode(smooth_images(2, seed=2) * 0.3)
    assert torch.allclose(codec.encode(codec.decode(latents)), latents, atol=1e-3)


def test_images_need_not_be_square(codec: PatchCodec) -> None:
    image = smooth_images(1, seed=3)[:, :, :32, :]
    assert codec.encode(image).shape == (1, CHANNELS, 4, 8)
    assert codec.decode(codec.encode(image)).shape == image.shape


def test_it_is_the_same_after_saving(codec: PatchCodec, tmp_path: Path) -> None:
    codec.save(tmp_path / "codec.safetensors")
    loaded = PatchCodec.load(tmp_path / "codec.safetensors")
    for name in ("mean", "basis", "scale"):
        assert torch.equal(getattr(loaded, name), getattr(codec, name))
