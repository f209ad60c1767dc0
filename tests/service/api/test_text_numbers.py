"""Which texts are read as numbers."""

from __future__ import annotations

import pytest

from service.api.text_numbers import number_of, whole_of


@pytest.mark.parametrize(
    ("value", "number", "whole"),
    [
        ("20", 20, 20),
        (" -1 ", -1, -1),
        ("9007199254740993", 9007199254740993, 9007199254740993),
        ("7.5", 7.5, 7.5),
        ("7.0", 7.0, 7),
        ("1e2", 100.0, 100),
        (7.0, 7.0, 7),
        (True, True, True),
        ("", "", ""),
        ("ten", "ten", "ten"),
        ("1_000", "1_000", "1_000"),
        ("0x10", "0x10", "0x10"),
        ("nan", "nan", "nan"),
        ("1" * 21, "1" * 21, "1" * 21),
        (None, None, None),
    ],
)
def test_texts_of_numbers_become_numbers_and_nothing_else_does(value, number, whole):
    assert (number_of(value), type(number_of(value))) == (number, type(number))
    assert (whole_of(value), type(whole_of(value))) == (whole, type(whole))
