"""Which colours of pixels count as a colour that people name."""

from __future__ import annotations

import pytest

from models.agent.colours import COLOURS, colour_named, is_colour
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


def test_spellings() -> None:
    assert [colour_named(each) for each in ("Grey", "light  blue", "violet", "octarine")] == [
        "gray",
        "light blue",
        "purple",
        None,
    ]
