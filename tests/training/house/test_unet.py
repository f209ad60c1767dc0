"""The UNet's training: its timesteps and its loss."""

from __future__ import annotations

import pytest
import torch

from training.house.codec import CHANNELS
from training.house.unet import NOISY_FROM, build_scheduler, draw_timesteps, velocity_losses


def test_half_of_the_timesteps_come_from_the_noisy_end() -> None:
    drawn = draw_timesteps(40_000, torch.Generator().manual_seed(0))
    assert (int(drawn.min()), int(drawn.max())) == (0, 999)
    noisy = float((drawn >= NOISY_FROM).float().mean())
    assert noisy == pytest.approx(0.5 + 0.5 * (1000 - NOISY_FROM) / 1000, abs=0.01)
    quiet = drawn[drawn < NOISY_FROM].float()
    assert float(quiet.mean()) == pytest.approx(NOISY_FROM / 2, abs=10)


def test_the_loss_is_what_it_is_by_hand() -> None:
    alphas = torch.tensor([0.9, 0.5, 0.1])
    latents, noise = torch.full((3, 1, 1, 2), 2.0), torch.full((3, 1, 1, 2), -1.0)
    seen = []

    def denoise(noisy: torch.Tensor, timesteps: torch.Tensor, states: torch.Tensor, return_dict: bool) -> tuple:
        seen.append((noisy, timesteps, states))
        return (torch.zeros_like(noisy),)

    states, timesteps = torch.zeros(3, 4, 5), torch.tensor([0, 1, 2])
    loss, errors = velocity_losses(denoise, alphas, latents, states, timesteps, noise)
    by_hand = [(-(alpha**0.5) - 2 * (1 - alpha) ** 0.5) ** 2 for alpha in (0.9, 0.5, 0.1)]
    assert errors.tolist() == pytest.approx(by_hand, rel=1e-5)
    weights = (0.2, 1.0, 1.0)  # min(1, 2 / (snr + 1)), snr = alpha / (1 - alpha)
    assert float(loss) == pytest.approx(sum(w * e for w, e in zip(weights, by_hand, strict=True)) / 3, rel=1e-5)
    assert seen[0][0][:, 0, 0, 0].tolist() == pytest.approx([2 * a**0.5 - (1 - a) ** 0.5 for a in (0.9, 0.5, 0.1)])


def test_the_target_is_the_schedulers_own_velocity() -> None:
    scheduler, generator = build_scheduler(), torch.Generator().manual_seed(0)
    latents, noise = torch.randn(4, CHANNELS, 2, 2, generator=generator), torch.randn(4, CHANNELS, 2, 2)
    timesteps = torch.tensor([0, 300, 700, 999])
    velocity = scheduler.get_velocity(latents, noise, timesteps)
    loss, _ = velocity_losses(
        lambda *_, **__: (velocity,), scheduler.alphas_cumprod, latents, torch.zeros(4, 1, 1), timesteps, noise
    )
    assert float(loss) < 1e-10
