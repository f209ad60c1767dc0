"""The training loop: its learning rate, and resuming from a saved state."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch

from training.house.codec import CHANNELS
from training.house.text import MAX_TOKENS
from training.house.train import DECAY_FROM, PEAK_RATE, DenoiserTraining, Prepared, rate_at
from training.house.unet import LATENT_SIZE


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


def test_training_resumes_from_a_saved_state(prepared: Prepared, tmp_path: Path) -> None:
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
