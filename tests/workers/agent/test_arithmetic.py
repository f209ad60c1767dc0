"""Arithmetic from text: what it calculates, and what it refuses at once."""

from __future__ import annotations

import math

import pytest

from workers.agent.tool_server.arithmetic import calculate
from workers.agent.tool_server.errors import Refused


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("(3 + 4) * 256", 1792), ("7 // 2 + 7 % 2", 4), ("2 ** 10", 1024), ("-2 ** 2", -4), ("+5", 5), ("1 / 4", 0.25),
        ("min(3, 1, 2) + max(1, 2)", 3), ("round(2.567, 2)", 2.57), ("round(2.5)", 2), ("abs(-3)", 3),
        ("sqrt(2)", math.sqrt(2)), ("floor(2.9) + ceil(2.1)", 5), ("10 ** 70", 10**70), ("2 ** -1", 0.5), (" 1 ", 1),
    ],
)  # fmt: skip
def test_values(expression: str, value: float):
    found = calculate(expression)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9", "9**9**9**9", "2**256", "2**-999", "1e308 * 10", "1e400", "9" * 299, "1" * 301,
        "(" * 150 + "1" + ")" * 149,
        "-" * 300, "round(5, -10**9)", "1 // 0", "1 % 0", "0 ** -1", "(-8) ** 0.5", "sqrt(-1)", "True", "'a' * 9",
        "[1] * 9",
        "__import__('os')", "(1).real", "x", "1 if 1 else 2", "1 << 9", "min()", "max(1)", "abs(1, 2)", "round(1, n=2)",
        "1, 2",
        "1 + 1; 2", "", "1 +", "lambda: 1", "+".join("1" * 100), "max(*[1, 2])", "1j", "f'{1}'", "1\0",
    ],
    ids=lambda text: text[:12].replace("\0", "NUL"),
)  # fmt: skip
def test_refusals(expression: str):
    with pytest.raises(Refused) as refused:
        calculate(expression)
    assert len(str(refused.value)) < 200
