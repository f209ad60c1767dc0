"""Calls of a module as plain data: which tensors go in and come out, by name, and what else is passed.

A graph takes and gives named tensors only, while modules are called with nested arguments and answer with nested
results. The form of a call is all of it but the tensors, as JSON, so that a package can keep it: an exported part
serves a call if it has the form of those that were recorded, whatever the family.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from models.errors import PhotogramError

Tensors = dict[str, torch.Tensor]
Form = Any
"""JSON: a dictionary with the key ``TENSOR`` stands for the tensor of that name; everything else for itself."""
TENSOR, TUPLE = "$tensor", "$tuple"
UNNAMED = "value"
"""The name of a tensor that is a whole result: graphs need one."""


class NoForm(PhotogramError):
    """A call passes something that is neither a tensor nor plain data; the message says what."""


def bind(forward: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call of ``forward`` by name, without those that are ``None``."""
    bound = inspect.signature(forward).bind(*args, **kwargs)
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            raise NoForm(f"a call passes unnamed arguments as *{name}")
        named |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
    return {name: value for name, value in named.items() if value is not None}


def flatten(value: Any, prefix: str = "") -> tuple[Tensors, Form]:
    """The tensors in ``value`` by their names, such as ``added_cond_kwargs.time_ids``, and its form.

    Raises:
        NoForm: there is something that is neither a tensor nor plain data.
    """
    tensors: Tensors = {}

    def visit(each: Any, name: str) -> Form:
        if isinstance(each, torch.Tensor):
            named = name or UNNAMED
            tensors[named] = each
            return {TENSOR: named}
        if isinstance(each, Mapping):
            return {str(key): visit(inner, _joined(name, key)) for key, inner in each.items() if inner is not None}
        if isinstance(each, tuple | list):
            return {TUPLE: [visit(inner, _joined(name, index)) for index, inner in enumerate(each)]}
        if each is None or isinstance(each, bool | int | float | str):
            return each
        raise NoForm(f"a call passes {name or 'a value'} of the type {type(each).__name__}")

    return tensors, visit(value, prefix)


def rebuild(form: Form, tensors: Mapping[str, torch.Tensor]) -> Any:
    """The inverse of :func:`flatten`; dictionaries become :class:`Result`."""
    if isinstance(form, Mapping):
        if TENSOR in form:
            return tensors[form[TENSOR]]
        if TUPLE in form:
            return tuple(rebuild(each, tensors) for each in form[TUPLE])
        return Result((key, rebuild(each, tensors)) for key, each in form.items())
    return form


class Result(OrderedDict[str, Any]):
    """What a module answers, as the outputs of transformers and diffusers: by name, by attribute or by number."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, key: Any) -> Any:
        return tuple(self.values())[key] if isinstance(key, int | slice) else super().__getitem__(key)


def _joined(prefix: str, name: object) -> str:
    return f"{prefix}.{name}" if prefix else str(name)
