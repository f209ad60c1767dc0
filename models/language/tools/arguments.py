"""Parses the untrusted arguments of tool calls: JSON, or the literals of a Python call."""

from __future__ import annotations

import ast
import json
import sys
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from models.language.tools.types import ToolCallError

DEPTH_MAX = 8
"""The nesting limit of lists and objects; the arguments themselves are level 1."""
VALUES_MAX = 1000
"""The limit of values in all arguments of a call."""
INTEGER_MAX = 2**53
"""Larger integers are not exact in every JSON parser."""
NAME_MAX_CHARS = 64
_LARGEST: Mapping[type, float] = {bool: 1, int: INTEGER_MAX, float: sys.float_info.max}
_QUOTE_CHARS = 80
"""How many characters of invalid input an error quotes."""


def json_call(text: str, name_key: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of the call ``{name_key: name, "arguments": {...}}``.

    Raises:
        ToolCallError: ``text`` is not such a call.
    """
    call = json_object(text)
    name = call.get(name_key)
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX_CHARS:
        raise ToolCallError(f'the call lacks "{name_key}", the name of a tool')
    if not isinstance(call.get("arguments"), dict):
        raise ToolCallError('"arguments" must be a JSON object')
    return name, checked(call["arguments"])


def json_object(text: str) -> dict[str, Any]:
    """Parse ``text`` as a JSON object.

    Raises:
        ToolCallError: it is not one, repeats a key, or contains NaN or an infinity.
    """
    try:
        # not strict, since vLLM's grammars allow line ends in strings; the job's validation checks prompts
        value = json.loads(text, strict=False, object_pairs_hook=_unique_keys, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        raise ToolCallError(f"the call is not valid JSON: {error.msg} (character {error.pos + 1})") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)[:_QUOTE_CHARS]
        raise ToolCallError(f"the call is not valid JSON: {reason}") from None
    if not isinstance(value, dict):
        raise ToolCallError("the call must be a JSON object")
    return value


def python_call(code: str) -> dict[str, Any]:
    """The arguments of ``tool_call(name=literal, ...)``; the code is parsed and never evaluated.

    Raises:
        ToolCallError: ``code`` is not such a call.
    """
    call = _parsed(code)
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "tool_call"):
        raise ToolCallError("the code must be one call of tool_call(...) and nothing else")
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise ToolCallError("tool_call takes keyword arguments only")
    return checked(_unique_keys((str(keyword.arg), _literal(keyword.value, 1)) for keyword in call.keywords))


def _parsed(code: str) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about invalid escapes such as "\d"
            return ast.parse(code.strip(), mode="eval").body
    except SyntaxError as error:
        raise ToolCallError(f"the call is not valid Python: {str(error.msg)[:_QUOTE_CHARS]}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ToolCallError("the call is not valid Python, or is nested too deeply") from None


def _literal(node: ast.expr, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ToolCallError(f"the arguments are nested more than {DEPTH_MAX} deep")
    match node:
        case ast.Constant(value=str() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_literal(element, depth + 1) for element in elements]
        case ast.Dict():
            return _unique_keys((_key(key), _literal(value, depth + 1)) for key, value in _items(node))
    raise ToolCallError("arguments must be plain values: texts in quotes, numbers, True, False, None, lists and dicts")


def _items(node: ast.Dict) -> Iterable[tuple[ast.expr | None, ast.expr]]:
    return zip(node.keys, node.values, strict=True)


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ToolCallError("the keys of a dict must be texts in quotes")


def _unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ToolCallError(f"{key[:_QUOTE_CHARS]!r} is given twice")
        found[key] = value
    return found


def _reject_constant(name: str) -> NoReturn:
    raise ToolCallError(f"{name} is not a number in JSON")


def checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return ``arguments`` if their size is within the limits and they can be encoded as JSON in UTF-8.

    Raises:
        ToolCallError: otherwise.
    """
    waiting: list[tuple[Any, int]] = [(arguments, 1)]
    for seen in range(VALUES_MAX):
        if not waiting:
            return arguments
        value, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise ToolCallError(f"the arguments are nested more than {DEPTH_MAX} deep")
        if isinstance(value, dict):
            waiting += ((item, depth + 1) for pair in value.items() for item in pair)
        elif isinstance(value, list):
            waiting += ((item, depth + 1) for item in value)
        else:
            _check_scalar(value)
        if seen + len(waiting) > VALUES_MAX:
            break
    raise ToolCallError(f"the arguments have more than {VALUES_MAX} values")


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
            raise ToolCallError("a text has characters that are not allowed")
    elif isinstance(value, int | float) and abs(value) > _LARGEST[type(value)]:
        raise ToolCallError("a number is too large")
