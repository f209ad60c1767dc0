"""The captions for what the built-in checkpoint is taught."""

from __future__ import annotations

import random

import pytest

from models.catalog.concepts import Concept, with_article
from training.house.concepts import caption


@pytest.mark.parametrize(
    ("noun", "phrase"),
    [
        ("apple", "an apple"),
        ("orange car", "an orange car"),
        ("cat", "a cat"),
        ("red apple", "a red apple"),
        ("sunglasses", "sunglasses"),
        ("blue scissors", "blue scissors"),
    ],
)
def test_nouns_get_their_article(noun: str, phrase: str) -> None:
    assert with_article(noun) == phrase


def test_captions_name_the_concept_its_colour_and_its_ground() -> None:
    rng, apple = random.Random(0), Concept("red-apple", ("apple", "fruit"), 1)
    plain = {caption(apple, rng) for _ in range(500)}
    assert {"apple", "an apple", "a photo of an apple", "a fruit"} <= plain
    assert all(("apple" in text or "fruit" in text) and "a apple" not in text for text in plain)
    coloured = {caption(apple, rng, "blue", "orange") for _ in range(200)}
    assert "a blue apple on an orange background" in coloured
    assert all("blue " in text and text.endswith(" on an orange background") for text in coloured)


def test_the_main_word_is_said_most() -> None:
    rng, apple = random.Random(0), Concept("red-apple", ("apple", "fruit"), 1)
    said = sum("apple" in caption(apple, rng) for _ in range(1000))
    assert 800 < said < 900
