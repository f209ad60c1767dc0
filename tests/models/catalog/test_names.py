"""Names that nothing has, and those that come close to them."""

from __future__ import annotations

import pytest

from models.catalog.names import did_you_mean, unknown_name
from models.errors import ProblemCode


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("eulr a", " (did you mean 'Euler a'?)"),
        ("EULER  A", " (did you mean 'Euler a'?)"),
        ("heum", " (did you mean 'Heun'?)"),
        ("nothing like it", ""),
        ("", ""),
        ("x" * 101, ""),
    ],
)
def test_close_names_are_named_in_any_case(name: str, hint: str) -> None:
    assert did_you_mean(name, ["Euler a", "Heun", "DPM++ 2M", "x" * 100]) == hint


def test_an_unknown_name_has_close_and_first_names() -> None:
    problem = unknown_name("model", "hous", ["house", *(f"other {number}" for number in range(20))])
    assert problem.message.startswith("there is no model 'hous' (did you mean 'house'?); there are: house, other 0, ")
    assert problem.message.endswith(" and 9 more")
    assert problem.code is ProblemCode.UNKNOWN_NAME and problem.allowed is not None and len(problem.allowed) == 12


def test_a_catalog_without_names_says_so() -> None:
    assert unknown_name("LoRA", "a", []).message == "there is no LoRA 'a': the catalog has none"
