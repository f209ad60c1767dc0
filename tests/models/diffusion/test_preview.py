"""The image a row is heading for: exact where it can be, close where it is fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL.Image import Resampling

from models.diffusion.preview import apply_linear, fit_linear
from tests.models.diffusion.driving import SAMPLED
from tests.models.diffusion.rig import CPU, Studio, add_row, images, params, progress, run


def test_the_fitted_map_finds_a_decoder_that_is_linear() -> None:
    truth = torch.randn(5, 3 * 4 * 4, generator=torch.Generator().manual_seed(1)) / 50

    def decode(_: Any, latents: torch.Tensor) -> torch.Tensor:
        half_size = torch.cat([apply_linear(truth, one[None]) for one in latents])
        return half_size.repeat_interleave(2, 2).repeat_interleave(2, 3)

    vae = SimpleNamespace(config=SimpleNamespace(latent_channels=4), dtype=torch.float32)
    pipeline: Any = SimpleNamespace(vae=vae, vae_scale_factor=8)
    assert torch.allclose(fit_linear(pipeline, decode, CPU), truth, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLED)
def test_previews_differ_as_their_images_do(tiny_house: Studio, sampler: str) -> None:
    engine = tiny_house.engine(preview_every=3)
    for seed in (1, 2):
        add_row(engine, str(seed), params(sampler=sampler, seed=seed, num_inference_steps=8), tiny_house.spec)
    events = run(engine)
    previews = {row_id: [each.preview for each in progress(events, row_id) if each.preview] for row_id in "12"}
    seen = [np.asarray(previews[row_id][-1]).astype(float) for row_id in "12"]
    drawn = [np.asarray(images(events)[row_id].resize((32, 32), Resampling.BOX)).astype(float) for row_id in "12"]
    likeness = np.corrcoef((seen[0] - seen[1]).ravel(), (drawn[0] - drawn[1]).ravel())[0, 1]
    assert likeness > 0.1, "random weights are hardly linear, but a wrong map gives about nothing"
