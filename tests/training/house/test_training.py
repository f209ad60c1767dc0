"""The denoiser's training: its timesteps, its loss, its rate, and going on where it was stopped."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from training.house.codec import CHANNELS
from training.house.text import MAX_TOKENS
from training.house.train import DECAY_FROM, PEAK_RATE, DenoiserTraining, Prepared, rate_at
from training.house.unet import LATENT_SIZE, NOISY_FROM, build_scheduler, draw_timesteps, velocity_losses


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


def test_the_rate_is_flat_and_then_falls() -> None:
    rates = [rate_at(share / 100) for share in range(101)]
    assert rates[: int(DECAY_FROM * 100)] == [PEAK_RATE] * int(DECAY_FROM * 100)
    assert all(later <= earlier for earlier, later in pairwise(rates))
    assert rates[-1] == pytest.approx(PEAK_RATE / 50) == pytest.approx(rate_at(2.0))


@pytest.fixture
def prepared() -> Prepared:
    generator = torch.Generator().manual_seed(0)
    return Prepared(
        latents=torch.randn(6, CHANNELS, LATENT_SIZE, LATENT_SIZE, generator=generator).bfloat16(),
        captions=torch.tensor([1, 2, 1, 2, 1, 2]),
        states=torch.randn(3, MAX_TOKENS, 384, generator=generator).bfloat16(),
    )


def test_training_goes_on_where_it_was_saved(prepared: Prepared, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = DenoiserTraining(prepared, tmp_path / "work", "cpu", batch=1, compiled=False)
    begun = [parameter.detach().clone() for parameter in first.unet.parameters()]
    rows = torch.cat([first.step(PEAK_RATE) for _ in range(2)])
    assert rows.shape == (2, 2) and rows.isfinite().all()
    first.save()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["state.pt"]
    resumed = DenoiserTraining(prepared, tmp_path / "work", "cpu", batch=1, compiled=False)
    assert (resumed.steps, resumed.samples) == (first.steps, first.samples) == (2, 2)
    weights, again = first.unet.state_dict(), resumed.unet.state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert all(torch.equal(a, b) for a, b in zip(first.ema, resumed.ema, strict=True))
    moments, loaded = (each.optimizer.state_dict()["state"] for each in (first, resumed))
    assert all(torch.equal(moments[key]["exp_avg"], loaded[key]["exp_avg"]) for key in moments)
    assert any(not torch.equal(a, b) for a, b in zip(begun, first.unet.parameters(), strict=True))
    averaged = resumed.averaged_unet()
    assert not averaged.training
    assert all(torch.equal(a, b) for a, b in zip(averaged.parameters(), first.ema, strict=True))
