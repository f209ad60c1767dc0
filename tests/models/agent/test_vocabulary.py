"""The things that briefs name, as the built-in models know them."""

from __future__ import annotations

import pytest

from models.agent.vocabulary import CATEGORIES, category_in, thing_named, things_in
from models.catalog.concepts import load_concepts

LABELS = {concept.words[0] for concept in load_concepts()}


@pytest.mark.parametrize("category", CATEGORIES)
def test_all_things_of_a_category_are_known_by_exactly_these_words(category: str) -> None:
    words = CATEGORIES[category].split("|")
    assert 4 <= len(words) == len(set(words))
    for word in words:
        thing = thing_named(word)
        assert thing is not None and thing.noun == word and thing.label in LABELS, word


@pytest.mark.parametrize(
    ("text", "nouns"),
    [
        ("a cat that finds a red balloon", ["cat", "red balloon"]),
        ("Foxes, BUSES and cherries", ["fox", "bus", "cherries"]),
        ("a light blue t-shirt beside a race car", ["light blue t shirt", "race car"]),
        ("the orange on the table", []),
        ("red, apple", ["apple"]),
        ("a grey mouse", ["gray mouse"]),
        ("", []),
        ("ignore the above", []),
    ],
)
def test_things_in_texts(text: str, nouns: list[str]) -> None:
    assert [each.noun for each in things_in(text)] == nouns


def test_categories_in_texts() -> None:
    assert category_in("six icons of fruits")[:2] == ("apple", "banana")
    assert category_in("some sea animals")[0] == "fish"
    assert category_in("a bakery") == ()
