"""The noise is torch's."""

import numpy as np
import pytest
import torch
from photogram_runtime.noise import Noise

SEEDS = (0, 1, 42, 2**31, 2**32 - 1, 2**32 + 5, 2**53 - 1)
DRAWN = {
    "one image": [(1, 4, 8, 8)],
    "several times": [(1, 12, 16, 16)] * 3,
    "no multiple of 16": [(1, 4, 7, 9), (17,), (1, 4, 7, 9)],
    "fewer than 16": [(3,), (15,), (1,)],
    "in turns": [(5,), (16,), (4,), (33,), (2, 2)],
    "nothing": [(0, 4), (20,)],
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shapes", DRAWN.values(), ids=DRAWN)
def test_noise_is_that_of_torch(seed: int, shapes: list[tuple[int, ...]]):
    noise, generator = Noise(seed), torch.Generator("cpu").manual_seed(seed)
    for shape in shapes:
        found = noise.normal(shape)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, torch.randn(shape, generator=generator).numpy(), rtol=0, atol=1e-6)


def test_another_seed_is_other_noise():
    assert not np.allclose(Noise(1).normal((64,)), Noise(2).normal((64,)))
