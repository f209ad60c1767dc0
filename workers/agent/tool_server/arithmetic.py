"""Arithmetic from text, by a small interpreter of the syntax tree: nothing but numbers, and every number is bounded."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType

from workers.agent.tool_server.errors import Refused

EXPRESSION_MAX_CHARS = 300
_NODES_MAX = 150
_BITS_MAX = 256
"""The largest whole number."""

_DIGITS_MAX = 15

Number = int | float


def _round(number: Number, digits: Number = 0) -> Number:
    if not isinstance(digits, int) or abs(digits) > _DIGITS_MAX:
        raise OverflowError
    return round(number, digits) if digits else round(number)


_BINARY: Mapping[type[ast.operator], Callable[[Number, Number], Number]] = MappingProxyType({
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
})  # fmt: skip
_FUNCTIONS: Mapping[str, Callable[..., Number]] = MappingProxyType({
    "min": min, "max": max, "round": _round, "abs": abs, "sqrt": math.sqrt, "floor": math.floor, "ceil": math.ceil,
})  # fmt: skip
_ALLOWED = f"numbers, + - * / // % **, parentheses and {', '.join(_FUNCTIONS)}"


def calculate(expression: str) -> Number:
    """The value of ``expression``.

    Raises:
        Refused: it is no such arithmetic, has no value, or one that is too large.
    """
    if len(expression) > EXPRESSION_MAX_CHARS:
        raise Refused(f"the expression is longer than {EXPRESSION_MAX_CHARS} characters")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        if sum(1 for _ in ast.walk(tree)) > _NODES_MAX:
            raise Refused("the expression has too many parts; calculate it in several steps")
        return _value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Refused(f"this is no arithmetic that has a value; allowed are {_ALLOWED}") from error
    except ZeroDivisionError as error:
        raise Refused("the expression divides by zero") from error
    except (OverflowError, TypeError) as error:
        raise Refused("a number in it is too large, or a function gets the wrong numbers") from error


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool()):
            raise Refused(f"allowed are {_ALLOWED}")
        case ast.Constant(value=int() | float() as number):
            return _bounded(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _bounded(_power(_value(left), _value(right)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _bounded(_BINARY[type(op)](_value(left), _value(right)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS and arguments:
            return _bounded(_FUNCTIONS[name](*map(_value, arguments)))
    raise Refused(f"allowed are {_ALLOWED}")


def _power(base: Number, exponent: Number) -> Number:
    """Checked before it is calculated: the bits of a power are known from those of its base."""
    if isinstance(base, int) and isinstance(exponent, int) and exponent > 0:
        if base.bit_length() * exponent > _BITS_MAX + exponent:
            raise OverflowError
        return int(base**exponent)
    if abs(exponent) > _BITS_MAX:
        raise OverflowError
    return _real(base**exponent)


def _real(number: complex) -> Number:
    if isinstance(number, complex):
        raise Refused("the expression has no real value")
    return number


def _bounded(number: Number) -> Number:
    if isinstance(number, int) and number.bit_length() > _BITS_MAX:
        raise OverflowError
    if isinstance(number, float) and not math.isfinite(number):
        raise OverflowError
    return number
