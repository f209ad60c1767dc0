"""Variation seeds: noise between that of two seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from models.catalog.families import IMG2IMG, INPAINT, TXT2IMG
from models.diffusion.variation import slerp
from models.jobs.params import DrawParams, Mask, SecondPass, Variation
from tests.models.diffusion.rig import Studio, add_row, failures, images, params, pixel_difference, prepare, run
from tests.models.diffusion.test_law_images import IMAGES

KINDS: dict[str, dict[str, Any]] = {
    TXT2IMG: {},
    IMG2IMG: {"image": "input:photo", "strength": 0.8},
    INPAINT: {"image": "input:photo", "strength": 0.8, "mask": Mask(image="input:mask")},
}


def webui_slerp(val: float, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """A1111's formula for one image [C, h, w]."""
    low_norm, high_norm = low / torch.norm(low, dim=1, keepdim=True), high / torch.norm(high, dim=1, keepdim=True)
    omega = torch.acos((low_norm * high_norm).sum(1))
    so = torch.sin(omega)
    first, second = torch.sin((1.0 - val) * omega) / so, torch.sin(val * omega) / so
    return first.unsqueeze(1) * low + second.unsqueeze(1) * high


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@given(st.floats(0, 1), st.integers(0, 99), st.integers(2, 9), st.integers(1, 9))
def test_it_is_the_webuis_interpolation(share: float, seed: int, height: int, width: int) -> None:
    low, high = noise(seed, 1, 4, height, width), noise(seed + 1, 1, 4, height, width)
    expected = webui_slerp(share, low[0].double(), high[0].double())[None]
    assert torch.allclose(slerp(low, high, share).double(), expected, atol=1e-3)


@given(st.floats(0, 1), st.sampled_from([torch.float16, torch.bfloat16, torch.float32]))
def test_equal_and_opposite_noise_stays_finite(share: float, dtype: torch.dtype) -> None:
    same = noise(1, 1, 4, 1, 8).to(dtype)
    assert torch.allclose(slerp(same, same, share), same, atol=1e-2)
    found = slerp(same, -same, share)
    assert found.isfinite().all() and found.dtype == dtype


def mean_difference(first: Image.Image, second: Image.Image) -> float:
    return float(np.abs(np.asarray(first).astype(int) - np.asarray(second).astype(int)).mean())


def drawn(studio: Studio, rows: dict[str, tuple[str, DrawParams]]) -> dict[str, Image.Image]:
    engine = studio.engine(rows=16)
    for row_id, (kind, wanted) in rows.items():
        add_row(engine, row_id, wanted, studio.spec, kind, IMAGES)
    events = run(engine)
    assert failures(events) == {}
    return images(events)


@pytest.mark.parametrize("kind", KINDS)
def test_strength_leads_from_one_seed_to_the_other(tiny_sd: Studio, kind: str) -> None:
    def row(seed: int, strength: float | None = None, **changes: Any) -> tuple[str, DrawParams]:
        variation = None if strength is None else Variation(seed=9, strength=strength)
        return kind, params(seed=seed, variation=variation, **KINDS[kind], **changes)

    found = drawn(tiny_sd, {
        "own": row(1), "0": row(1, 0.0), "0.1": row(1, 0.1), "0.9": row(1, 0.9), "1": row(1, 1.0), "other": row(9),
    })  # fmt: skip
    assert pixel_difference(found["own"], found["0"]) == 0
    if kind == TXT2IMG:  # in the other kinds, the VAE draws numbers of the first seed too
        assert pixel_difference(found["other"], found["1"]) <= 1
    near, far, other = (mean_difference(found["own"], found[name]) for name in ("0.1", "0.9", "1"))
    assert 0 < near < min(far, other)


def test_the_noise_is_between_that_of_both_seeds(tiny_sd: Studio) -> None:
    def latents(**changes: Any) -> torch.Tensor:
        return prepare(tiny_sd, params(**changes)).latents

    own, other = latents(seed=1), latents(seed=9)
    varied = latents(seed=1, variation=Variation(seed=9, strength=0.3))
    scale = own.std()
    expected = webui_slerp(0.3, own[0] / scale, other[0] / scale)[None] * scale
    assert torch.allclose(varied, expected, atol=1e-3)


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "DPM++ 2M SDE"])
def test_the_law_holds(tiny_sd: Studio, sampler: str) -> None:
    rows = {
        f"{number}": (kind, params(
            seed=1, sampler=sampler, variation=Variation(seed=number, strength=0.4), **KINDS[kind],
            second_pass=SecondPass(scale=1.5) if kind == TXT2IMG else None,
        ))
        for number, kind in enumerate(KINDS)
    } | {"plain": (TXT2IMG, params(seed=1, sampler=sampler))}  # fmt: skip
    together = drawn(tiny_sd, rows)
    for row_id, row in rows.items():
        assert pixel_difference(drawn(tiny_sd, {row_id: row})[row_id], together[row_id]) <= 1
