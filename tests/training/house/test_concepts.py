"""What the built-in checkpoint is taught, and the captions for it."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from training.house.concepts import EMPHASIS, Concept, caption, load_concepts, with_article


def test_the_list_has_three_hundred_concepts_that_differ() -> None:
    concepts = load_concepts()
    assert len(concepts) >= 300
    for names in ([concept.icon for concept in concepts], [concept.words[0] for concept in concepts]):
        assert [name for name, count in Counter(names).items() if count > 1] == []
    for concept in concepts:
        assert all(word == word.strip().lower() and word for word in concept.words), concept
        assert concept.weight in (1, EMPHASIS)
    assert any(concept.weight == EMPHASIS for concept in concepts)


def test_a_line_gives_icon_words_and_weight(tmp_path: Path) -> None:
    path = tmp_path / "concepts.txt"
    path.write_text("# a comment\n\n*cat-face: cat; house cat ;\n  hot-dog\nx:\n")
    assert load_concepts(path) == [
        Concept("cat-face", ("cat", "house cat"), EMPHASIS),
        Concept("hot-dog", ("hot dog",), 1),
        Concept("x", ("x",), 1),
    ]


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
