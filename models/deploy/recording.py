"""Recording the calls of parts while images are drawn: they define what is exported, and prove what was exported."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from models.deploy.forms import Form, NoForm, Tensors, bind, flatten
from models.deploy.parts import ModelPart, VaeDecoder, VaeEncoder
from models.errors import PhotogramError

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Call:
    """One call of a part, and what the part on torch answered."""

    inputs: Tensors
    outputs: Tensors
    call_form: Form
    result_form: Form

    @property
    def shapes(self) -> Shapes:
        """The shape of each input."""
        return tuple((name, tuple(each.shape)) for name, each in self.inputs.items())


class Recorder:
    """Keeps the calls of parts, at most ``per_shape`` with equal shapes of a part, spread over all that are made."""

    def __init__(self, per_shape: int = 6) -> None:
        self._per_shape = per_shape
        self._calls: dict[str, dict[Shapes, list[Call]]] = {}
        self._seen: dict[tuple[str, Shapes], int] = {}

    def add(self, part: str, call: Call) -> None:
        """Keep ``call``, or let another one go for it: of all that come, every n-th stays."""
        kept = self._calls.setdefault(part, {}).setdefault(call.shapes, [])
        seen = self._seen.get((part, call.shapes), 0)
        self._seen[part, call.shapes] = seen + 1
        if len(kept) < self._per_shape:
            kept.append(call)
        elif seen % self._per_shape == 0:
            kept[(seen // self._per_shape) % self._per_shape] = call

    def has(self, part: str) -> bool:
        """Whether ``part`` was called."""
        return part in self._calls

    def calls(self, part: str) -> list[Call]:
        """The calls of ``part`` that have the form of its first."""
        found = [call for same in self._calls.get(part, {}).values() for call in same]
        return [call for call in found if (call.call_form, call.result_form) == _form(found[0])]


def _form(call: Call) -> tuple[Form, Form]:
    return call.call_form, call.result_form


@contextmanager
def recording(parts: Sequence[ModelPart], recorder: Recorder) -> Iterator[None]:
    """Record all calls of the modules of ``parts`` in this context, and those of ``decode`` and ``encode`` of a VAE."""
    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(_hooked(part, recorder))
            if isinstance(part.module, VaeDecoder | VaeEncoder):
                stack.enter_context(_replaced(part.module))
        yield


@contextmanager
def _replaced(half: VaeDecoder | VaeEncoder) -> Iterator[None]:
    """Let the VAE's own method call ``half``, whose calls are recorded."""
    name = "decode" if isinstance(half, VaeDecoder) else "encode"
    setattr(half.vae, name, half.as_method)
    try:
        yield
    finally:
        delattr(half.vae, name)


@contextmanager
def _hooked(part: ModelPart, recorder: Recorder) -> Iterator[None]:
    def record(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
        recorder.add(part.name, _call(module, args, kwargs, result))

    handle = part.module.register_forward_hook(record, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _call(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> Call:
    try:
        inputs, call_form = flatten(bind(module.forward, args, kwargs))
        outputs, result_form = flatten(result)
    except NoForm as error:
        raise Unrecordable(f"{type(module).__name__}: {error}") from error
    return Call(_copied(inputs), _copied(outputs), call_form, result_form)


class Unrecordable(PhotogramError):
    """A part is called in a way that no graph can take."""


def _copied(tensors: Mapping[str, torch.Tensor]) -> Tensors:
    return {name: each.detach().clone() for name, each in tensors.items()}


def varying_axes(calls: Sequence[Call], which: Callable[[Call], Tensors]) -> dict[str, tuple[bool, ...]]:
    """For each tensor of ``calls`` by name, which of its axes have several lengths."""
    found: dict[str, list[set[int]]] = {}
    for call in calls:
        for name, tensor in which(call).items():
            lengths = found.setdefault(name, [set() for _ in tensor.shape])
            for known, length in zip(lengths, tensor.shape, strict=True):
                known.add(length)
    return {name: tuple(len(each) > 1 for each in lengths) for name, lengths in found.items()}


def bounds(calls: Sequence[Call]) -> dict[str, list[tuple[int, int]]]:
    """For each input by name, the shortest and the longest recorded length of each axis."""
    found: dict[str, list[tuple[int, int]]] = {}
    for call in calls:
        for name, tensor in call.inputs.items():
            shape = tuple(tensor.shape)
            known = found.get(name) or [(length, length) for length in shape]
            found[name] = [(min(low, each), max(high, each)) for (low, high), each in zip(known, shape, strict=True)]
    return found
