"""Prompts composed by AND."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalog.styles import Style
from models.jobs.composition import PARTS_MAX, Composition, check_composition, compose, is_composed, plain_text, styled
from models.jobs.prompts import PromptError

PLAIN = (
    "", "a cat", "a cat and a dog", "a cat And a dog", "SAND castle", "BRAND new", "A_ND", "ANDES", "a cat :0.5",
    "at 10:30", "16:9", "(a cat:1.2)", "AN D",
)  # fmt: skip


@pytest.mark.parametrize("prompt", PLAIN)
def test_a_prompt_without_the_word_is_kept_to_the_letter(prompt: str) -> None:
    assert compose(prompt) == Composition((prompt,), None)
    assert not is_composed(prompt)


@pytest.mark.parametrize(
    ("prompt", "texts", "weights"),
    [
        ("a cat AND a red car", ("a cat", "a red car"), (1, 1)),
        ("a cat AND a red car :0.8", ("a cat", "a red car"), (1, 0.8)),
        ("a cat:1.5 AND a red car:.5", ("a cat", "a red car"), (1.5, 0.5)),
        ("a cat : -1 AND\na red car : +2.", ("a cat", "a red car"), (-1, 2)),
        ("a cat AND a red car :0", ("a cat",), None),
        ("a cat :0.5 AND a red car :0", ("a cat",), (0.5,)),
        ("a cat :0 AND a red car :0.0", (), ()),
        ("a cat AND", ("a cat", ""), (1, 1)),
        ("AND", ("", ""), (1, 1)),
        ("a (cat:1.2) AND a [dog] AND BREAK", ("a (cat:1.2)", "a [dog]", "BREAK"), (1, 1, 1)),
        ("a cat, AND, a dog", ("a cat,", ", a dog"), (1, 1)),
        ("at 10:30 AND at 10:30 :1", ("at 10", "at 10:30"), (30, 1)),
        ("a cat :1e3 AND a dog", ("a cat :1e3", "a dog"), (1, 1)),
    ],
)
def test_parts_and_weights(prompt: str, texts: tuple[str, ...], weights: tuple[float, ...] | None) -> None:
    assert compose(prompt) == Composition(texts, weights)
    assert is_composed(prompt)


@pytest.mark.parametrize(
    ("prompt", "position", "reason"),
    [
        ("a cat AND a dog :101", 17, "weights must be from -100 to 100"),
        (f"a cat AND a dog :{'9' * 400}", 17, "weights must be from -100 to 100"),
        (" AND ".join("a" * (PARTS_MAX + 1)), 1, "at most 8 parts"),
        ("a cat AND [a:b:0.5]", 11, "prompt editing"),
        ("a cat AND a [cat|dog]", 17, "alternating"),
        ("a cat AND (dog:x) AND (dog:1.2.3)", 27, "a weight must be a number"),
    ],
)
def test_refused(prompt: str, position: int, reason: str) -> None:
    with pytest.raises(PromptError, match=rf"{reason}.*\(at character {position} of the prompt\)"):
        check_composition(prompt)


def test_parts_of_weight_0_do_not_count() -> None:
    prompt = " AND ".join(["a"] * PARTS_MAX + ["b :0"] * 20)
    assert compose(prompt).texts == ("a",) * PARTS_MAX


def test_a_tag_in_any_part_is_found() -> None:
    assert check_composition("a cat AND a <lora:x:1> dog")
    assert not check_composition("a cat AND a dog")


@given(st.lists(st.tuples(st.text("abc ()[]", max_size=9), st.floats(-100, 100)), min_size=2, max_size=PARTS_MAX))
def test_what_is_joined_is_split_again(parts: list[tuple[str, float]]) -> None:
    found = compose(" AND ".join(f"{text} :{weight:.6f}" for text, weight in parts))
    left = [(text.strip(), round(weight, 6)) for text, weight in parts if round(weight, 6) != 0]
    assert found.texts == tuple(text for text, _ in left)
    assert found.weights == (None if [weight for _, weight in left] == [1] else tuple(weight for _, weight in left))


@given(st.text("AND :0.5\n(", max_size=60))
def test_any_text_is_split_or_refused(prompt: str) -> None:
    try:
        found = compose(prompt)
    except PromptError:
        return
    assert len(found.texts) == (1 if found.weights is None else len(found.weights)) <= PARTS_MAX


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat :0.5", "origami of a cat :0.5, folds"),
        ("a cat AND a dog", "origami of a cat, folds AND origami of a dog, folds"),
        ("x AND dog :.8 AND :-1", "origami of x, folds AND origami of dog, folds :0.8 AND origami of, folds :-1.0"),
    ],
)  # fmt: skip
def test_a_style_goes_around_each_part(prompt: str, expected: str) -> None:
    style = Style("origami", "origami of", "folds", "flat")
    assert styled(style, prompt, "ugly") == (expected, "ugly, flat")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a cat", "a cat"),
        ("a (red:1.3) cat\nBREAK on  [white]", "a red cat on white"),
        (r"a cat \(sleeping\)", "a cat (sleeping)"),
        ("a cat AND (a dog:0.5) :0.7 AND a car :-1", "a cat, a dog"),
        ("a cat, (ugly:-1)", "a cat,"),
        ("a cat<lora:film:0.6>", "a cat"),
        ("", ""),
        ("( )", ""),
        ("(fog:-1)", ""),
    ],
)
def test_the_words_alone(prompt: str, text: str) -> None:
    assert plain_text(prompt) == text
