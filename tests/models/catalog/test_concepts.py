"""What the built-in checkpoint is taught, and the words of prompts that it is not."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from models.catalog.concepts import EMPHASIS, Concept, load_concepts, words_not_taught
from training.house.concepts import caption
from training.house.images import COLOURS, GROUNDS


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


def test_every_word_of_the_training_set_was_taught() -> None:
    rng = random.Random(0)
    captions = (caption(concept, rng, colour, ground) for concept in load_concepts()
                for colour in (None, *COLOURS) for ground in (None, *GROUNDS))  # fmt: skip
    assert {word for text in captions for word in words_not_taught(text)} == set()


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("a red apple", []),
        ("Two CATS, (grey:1.3) background", ["two"]),
        ("a rainy street at night, rainy, 4k", ["rainy", "street", "night", "k"]),
        ("\u043a\u043e\u0442 \u732b", ["\u043a\u043e\u0442", "\u732b"]),
        ("", []),
        ("cherries AND foxes", []),
    ],
)
def test_other_words_were_not(prompt: str, unknown: list[str]) -> None:
    assert words_not_taught(prompt) == unknown
