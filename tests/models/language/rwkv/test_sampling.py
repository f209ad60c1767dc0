"""How one token is chosen."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from models.language.rwkv.sampling import NotFinite, Sampler, Sampling

LOGITS = torch.tensor([0.5, 0.4, 0.06, 0.04]).log()


def picks(count: int, logits: torch.Tensor = LOGITS, prompt: tuple[int, ...] = (), **how: Any) -> list[int]:
    sampler = Sampler(Sampling(**({"seed": 7} | how)), prompt)
    return [sampler.sample(logits) for _ in range(count)]


def test_temperature_0_takes_the_likeliest() -> None:
    assert set(picks(20, temperature=0)) == {0}


def test_tokens_come_as_often_as_they_are_likely() -> None:
    shares = Counter(picks(4000))
    assert [shares[token] / 4000 for token in range(4)] == pytest.approx([0.5, 0.4, 0.06, 0.04], abs=0.03)


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    cold, hot = Counter(picks(2000, temperature=0.25)), Counter(picks(2000, temperature=2.0))
    assert cold[0] / 2000 == pytest.approx(0.5**4 / (0.5**4 + 0.4**4 + 0.06**4 + 0.04**4), abs=0.04)
    assert hot[3] > cold[3] + 100


def test_the_tiniest_temperature_is_no_division_by_zero() -> None:
    for tiny in (1e-300, 1e-45, 1e-30, 1.1e-5):
        assert set(picks(20, temperature=tiny)) == {0}


@pytest.mark.parametrize(
    ("how", "left"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_k": 99}, {0, 1, 2, 3}),
        ({"top_p": 0.49}, {0}),
        ({"top_p": 0.51}, {0, 1}),
        ({"top_p": 0.95}, {0, 1, 2}),
        ({"top_p": 1e-9}, {0}),
        ({"top_k": 2, "top_p": 0.55}, {0}),
        ({"top_k": 2, "top_p": 0.56}, {0, 1}),
    ],
)
def test_only_the_likeliest_are_left(how: dict[str, float], left: set[int]) -> None:
    assert set(picks(600, **how)) == left


def test_a_wide_nucleus_is_found_beyond_the_first_look() -> None:
    flat = torch.zeros(2000)
    flat[1500:] = -20
    drawn = set(picks(3000, flat, top_p=0.9))
    assert len(drawn) > 1000 and max(drawn) < 1500


def test_a_seed_gives_the_same_tokens_whatever_others_draw() -> None:
    one, other = Sampler(Sampling(seed=3), ()), Sampler(Sampling(seed=3), ())
    mine = [one.sample(LOGITS) for _ in range(50)]
    torch.rand(10)
    assert mine == [(other.sample(LOGITS), picks(1, seed=9))[0] for _ in range(50)]
    assert mine != picks(50, seed=4)
    assert picks(50, seed=None) != picks(50, seed=None)


def test_repetition_is_penalised_in_prompt_and_answer() -> None:
    logits = torch.tensor([3.0, 2.9, -1.0, -1.1])
    assert picks(3, logits, temperature=0, repetition_penalty=1.1) == [0, 1, 0]
    assert picks(1, logits, (0,), temperature=0, repetition_penalty=1.1) == [1]
    assert picks(1, logits[2:], (0,), temperature=0, repetition_penalty=1.2) == [1]
    assert picks(1, logits, (0,), temperature=0) == [0]


def test_presence_counts_once_and_frequency_every_time() -> None:
    logits = torch.tensor([3.0, 2.0, 1.0])
    assert picks(4, logits, temperature=0, presence_penalty=1.5) == [0, 1, 0, 0]
    assert picks(5, logits, temperature=0, frequency_penalty=0.6) == [0, 0, 1, 0, 1]
    assert picks(2, logits, (0, 0), temperature=0, presence_penalty=2, frequency_penalty=2) == [0, 1]
    assert logits.tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0, 1])
def test_logits_that_are_no_numbers_are_refused(broken: float, temperature: float) -> None:
    with pytest.raises(NotFinite):
        picks(1, torch.tensor([0.0, broken]), temperature=temperature)
