"""The warnings of jobs for the built-in model, and of no others."""

from __future__ import annotations

from models.jobs.params import DrawParams
from models.jobs.warnings import warnings_of


def warnings(prompt: str, model: str = "house") -> list[str]:
    params = DrawParams(
        prompt=prompt, negative_prompt="blur", model=model, sampler="Euler", num_inference_steps=4, guidance_scale=3.0,
        seed=1, width=128, height=128,
    )  # fmt: skip
    return warnings_of(params)


def test_words_that_the_built_in_model_was_not_taught() -> None:
    (warning,) = warnings("a cat in the rain of Lisbon")
    assert warning == (
        "the built-in model was not taught 'lisbon', and draws whatever is nearest of the 304 things that it knows "
        "(models/house/concepts.txt)"
    )
    assert warnings("a cat in the rain") == warnings("a cat in the rain of Lisbon", "mine") == []


def test_the_first_words_are_named_alone() -> None:
    (warning,) = warnings(" ".join(f"{each}zz" for each in "abcdefgh"))
    assert "'azz', 'bzz', 'czz', 'dzz', 'ezz' and 3 more, and draws" in warning
