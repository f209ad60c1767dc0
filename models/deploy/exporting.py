"""From a part on torch and its recorded calls to one ONNX graph, which ONNX Runtime and OpenVINO both read."""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.package import Port
from torch import nn
from torch.fx.experimental.symbolic_shapes import free_symbols

from models.deploy.forms import Tensors, flatten, rebuild
from models.deploy.parts import ModelPart
from models.deploy.recording import Call, bounds, varying_axes
from models.deploy.rewriters import rewritten
from models.errors import PhotogramError

OPSET = 20
ONE_FILE_MAX_BYTES = 1 << 30
"""Larger weights are written beside the graph: one ONNX file may have 2 GB."""


class Unexportable(PhotogramError):
    """A part cannot be exported; the message names the part, what it has, and what to do."""


class FlatModule(nn.Module):
    """A part that takes tensors in the order of a recorded call's inputs, and gives a tuple of its outputs."""

    def __init__(self, module: nn.Module, call: Call) -> None:
        super().__init__()
        self.module = module
        self._form, self._names = call.call_form, tuple(call.inputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        arguments = rebuild(self._form, dict(zip(self._names, tensors, strict=True)))
        return tuple(flatten(self.module(**arguments))[0].values())


@dataclass(frozen=True)
class Exported:
    """A part as torch.export traced it, for all backends that have the same rewriters."""

    part: ModelPart
    family: str
    calls: Sequence[Call]
    program: Any
    """A ``torch.export.ExportedProgram``."""
    scratch: Path
    """The folder of what several targets read, such as the ONNX graph."""

    def onnx(self) -> Path:
        """The ONNX graph, alone in a folder with its weights; written once, and to be read only.

        Raises:
            Unexportable: as :func:`write_onnx`.
        """
        if isinstance(self._onnx, Unexportable):
            raise self._onnx
        return self._onnx

    @cached_property
    def _onnx(self) -> Path | Unexportable:
        folder = Path(tempfile.mkdtemp(dir=self.scratch))
        file = folder / f"{self.part.name}.onnx"
        try:
            write_onnx(self, file, self.family)
        except Unexportable as error:
            return error
        return file

    @property
    def inputs(self) -> tuple[Port, ...]:
        """The inputs of the graph in order, each with the lengths that were recorded."""
        varying = varying_axes(self.calls, lambda call: call.inputs)
        lengths = bounds(self.calls)
        return tuple(
            Port(name, _dtype(tensor), _shape(tensor, varying[name]), tuple(lengths[name]))
            for name, tensor in self.calls[0].inputs.items()
        )

    @property
    def outputs(self) -> tuple[Port, ...]:
        """The outputs of the graph in order."""
        varying = varying_axes(self.calls, lambda call: call.outputs)
        return tuple(
            Port(name, _dtype(tensor), _shape(tensor, varying[name])) for name, tensor in self.calls[0].outputs.items()
        )


def trace(part: ModelPart, calls: Sequence[Call], family: str, backend: str, scratch: Path) -> Exported:
    """Trace ``part`` with inputs like its largest recorded call; axes of several lengths in ``calls`` stay open.

    Args:
        scratch: a folder that exists as long as the trace is used.

    Raises:
        Unexportable: torch.export cannot take the part, or it fixes an axis that must stay open.
    """
    example = max(calls, key=lambda call: sum(each.numel() for each in call.inputs.values()))
    varying = varying_axes(calls, lambda call: call.inputs)
    auto = torch.export.Dim.AUTO  # type: ignore[attr-defined]
    axes = tuple({axis: auto for axis, varies in enumerate(varying[name]) if varies} for name in example.inputs)
    with exporting(part.module, family, backend):
        flat = FlatModule(part.module, example).eval()
        tensors = tuple(_longer(tensor, varying[name]) for name, tensor in example.inputs.items())
        try:
            program = torch.export.export(flat, tensors, dynamic_shapes=(axes,), strict=False)
        except Exception as error:  # torch.export raises whatever traced code raises
            raise Unexportable(told(part, "torch.export", error)) from error
    found = Exported(part, family, calls, program, scratch)
    _require_open(found, varying)
    return found


def _longer(tensor: torch.Tensor, varying: Sequence[bool]) -> torch.Tensor:
    """A copy of ``tensor``, twice along each axis that must stay open and is 1 long: a trace fixes lengths of 1."""
    return tensor.repeat(
        *(2 if varies and length == 1 else 1 for varies, length in zip(varying, tensor.shape, strict=True))
    )


def write_onnx(exported: Exported, file: Path, family: str) -> None:
    """Write ``exported`` as an ONNX graph; weights that one file cannot hold are written beside it.

    Raises:
        Unexportable: ONNX has no operator for something in the part.
    """
    with exporting(exported.part.module, family, "onnx"):
        try:
            written: Any = torch.onnx.export(
                exported.program,
                input_names=[port.name for port in exported.inputs],
                output_names=_output_names(exported),
                opset_version=OPSET,
                dynamo=True,
                optimize=False,  # runtimes optimise by themselves, and the exporter may drop outputs
                verbose=False,
            )
        except Exception as error:
            raise Unexportable(told(exported.part, "ONNX", error)) from error
        size = sum(each.numel() * each.element_size() for each in exported.part.module.parameters())
        written.save(str(file), external_data=size > ONE_FILE_MAX_BYTES)


def _output_names(exported: Exported) -> list[str]:
    """Names of outputs, none of which is that of an input."""
    taken = {port.name for port in exported.inputs}
    return [f"{port.name}.out" if port.name in taken else port.name for port in exported.outputs]


@contextmanager
def exporting(module: nn.Module, family: str, backend: str) -> Iterator[None]:
    """No gradients, no inference mode, the rewriters in effect, and none of the exporter's notes."""
    noisy = [
        logging.getLogger(name)
        for name in ("torch.export", "torch._export", "torch.onnx", "torch.onnx._internal.exporter", "onnxscript")
    ]
    levels = [each.level for each in noisy]
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings(), rewritten(module, family, backend):
        warnings.simplefilter("ignore")
        for each in noisy:
            each.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for each, level in zip(noisy, levels, strict=True):
                each.setLevel(level)


def _require_open(exported: Exported, varying: dict[str, tuple[bool, ...]]) -> None:
    """Refuse a trace that fixed an axis which has several lengths: torch.export does so without a word."""
    nodes = [node for node in exported.program.graph.nodes if node.op == "placeholder"]
    users = exported.program.graph_signature.user_inputs
    by_name = {node.name: node.meta["val"] for node in nodes}
    for name, target in zip(varying, users, strict=True):
        for axis, (varies, length) in enumerate(zip(varying[name], by_name[target].shape, strict=True)):
            if varies and not free_symbols(length):  # an int, or a symbol that a guard made one
                raise Unexportable(
                    f"{exported.part.name}: the trace works only if axis {axis} of {name} is {length} long; a rewriter "
                    "(models/deploy/rewriters.py) must replace the code that depends on it"
                )


def told(part: ModelPart, exporter: str, error: Exception) -> str:
    """What cannot be exported, in one sentence: the part, its class, the operator if ``error`` names one, and what to
    do.
    """
    causes = [error]
    while (cause := causes[-1].__cause__) is not None and isinstance(cause, Exception):
        causes.append(cause)
    texts = [_COLOURS.sub("", str(each)) for each in causes]
    start = f"{part.name} ({type(part.module).__name__}) cannot be exported: "
    for pattern, problem in _OPERATORS:
        found = next((match for text in reversed(texts) if (match := pattern.search(text))), None)
        if found is not None:
            return (
                f"{start}{problem.format(operator=found[1], exporter=exporter)}; a rewriter "
                "(models/deploy/rewriters.py) can compute it of other operators, or deploy the other parts alone"
            )
    lines = [line.strip() for line in texts[0].splitlines() if line.strip()]
    first = lines[0] if lines else type(error).__name__
    return f"{start}{first[:300]}; a rewriter (models/deploy/rewriters.py) can replace what cannot be traced"


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OPERATORS = (
    (re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'"), "{exporter} has no operator for {operator}"),
    (re.compile(r"no fake impl registered for <CustomOpDef\(([^)]+)\)>"), "torch.export cannot trace {operator}"),
    (re.compile(r"Unsupported fx node [^,]*, kind (\S+)"), "{exporter} has no operator for {operator}"),
    (re.compile(r"Missing out variants: \{'([^']+)'"), "{exporter} has no operator for {operator}"),
)
"""How exporters name an operator that they lack, and what is said of it."""


def _shape(tensor: torch.Tensor, varying: Sequence[bool]) -> tuple[int | None, ...]:
    return tuple(None if varies else length for varies, length in zip(varying, tensor.shape, strict=True))


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def in_numpy(tensors: Tensors) -> dict[str, Any]:
    """Arrays of ``tensors``, which are on the CPU."""
    return {name: each.detach().contiguous().numpy() for name, each in tensors.items()}
