"""Which colours of pixels count as a colour that people name."""

from __future__ import annotations

from itertools import product

import pytest

from models.agent.colours import COLOURS, colour_named, is_colour, name_of
from training.house.images import GROUNDS


@pytest.mark.parametrize("name", GROUNDS)
def test_the_grounds_of_the_training_set_are_named_so(name: str) -> None:
    code = "#{:02x}{:02x}{:02x}".format(*GROUNDS[name])
    assert is_colour(code, name)
    assert sum(is_colour(code, each) for each in COLOURS) <= 3


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("#ffffff", "white"),
        ("#fffdfb", "white"),
        ("#f5efeb", "white"),
        ("#808080", "gray"),
        ("#000000", "black"),
        ("ff0000", "red"),
    ],
)
def test_plain_colours(code: str, name: str) -> None:
    assert is_colour(code, name)


@pytest.mark.parametrize(
    ("code", "name"),
    [("#ff0000", "green"), ("#0000ff", "red"), ("#ffffff", "black"), ("#ffffff", "yellow"), ("#000000", "red"),
     ("", "red"), ("#ff00", "red"), ("#gggggg", "red"), ("red", "red"), ("#ff0000ff", "red"), ("#٠٠٠٠٠٠", "black")],
)  # fmt: skip
def test_other_colours_and_what_is_none(code: str, name: str) -> None:
    assert not is_colour(code, name)


def test_what_a_colour_is_called_counts_as_that_colour() -> None:
    for levels in product(range(0, 256, 15), repeat=3):
        code = "#{:02x}{:02x}{:02x}".format(*levels)
        name = name_of(*levels)
        assert name in COLOURS
        assert is_colour(code, name) or not any(is_colour(code, each) for each in COLOURS), code


@pytest.mark.parametrize("name", GROUNDS)
def test_the_grounds_of_the_training_set_are_called_so_first(name: str) -> None:
    assert name_of(*GROUNDS[name]) == name


@pytest.mark.parametrize(
    ("code", "name"),
    [("8b0000", "red"), ("ff8080", "pink"), ("ff69b4", "pink"), ("202020", "black"), ("404040", "gray"),
     ("101040", "blue"), ("5a6a5a", "gray"), ("ffd700", "yellow"), ("00ffff", "teal"), ("fff8f0", "white")],
)  # fmt: skip
def test_what_colours_are_called_first(code: str, name: str) -> None:
    assert name_of(*bytes.fromhex(code)) == name


def test_spellings() -> None:
    assert [colour_named(each) for each in ("Grey", "light  blue", "violet", "octarine")] == [
        "gray",
        "light blue",
        "purple",
        None,
    ]
