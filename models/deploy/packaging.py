"""What every deployment shares, whatever the model does: its target, its parts' graphs, and ``deploy.json``."""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package, Port

from models.deploy.backends import Backend, Build
from models.deploy.exporting import Exported, Unexportable
from models.deploy.opening import open_graph
from models.deploy.proof import PartDifference
from models.deploy.recording import Call
from models.deploy.traces import Traces
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.failures import summary
from models.errors import PhotogramError
from models.jobs.params import LoraUse

_TOOLS = ("torch", "diffusers", "transformers", "timm", "onnx", "onnxscript", "nncf", "openvino", "onnxruntime")


@dataclass(frozen=True)
class Progress:
    """What a deployment is doing."""

    stage: str
    """``recording``, ``exporting``, ``checking``, ``drawing`` or ``measuring``."""
    done: int
    total: int
    detail: str = ""
    """The part."""
    target: str = ""
    """The target's name, if it is for one of them alone."""


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Target:
    """What is made of a model."""

    backend: str
    precision: str
    steps: int | None = None
    """Of each image that is drawn for recording and for the checks; ``None`` takes the model's default."""
    parts: tuple[str, ...] = ()
    """The parts that are exported; empty for all."""
    shapes: tuple[tuple[int, int], ...] = ()
    """Widths and heights in pixels of images that are covered besides the model's default; empty for those that the
    recipes choose.
    """

    @property
    def name(self) -> str:
        """As packages are called."""
        return f"{self.backend}-{self.precision}"


@dataclass(frozen=True)
class Subject:
    """The model that is deployed, as ``deploy.json`` tells of it."""

    name: str
    family: str
    kind: str
    """``drawing``, ``vision`` or ``upscaling``."""
    licence: str
    device: torch.device
    modules: Mapping[str, torch.nn.Module]
    """All that have weights, by name."""
    base: str | None = None
    """The model without the LoRAs, if it has some."""
    loras: Sequence[LoraUse] = ()
    """The LoRAs that are baked in."""

    @cached_property
    def digest(self) -> str:
        """See :func:`digest_of_weights`."""
        return digest_of_weights(self.modules)


def export_parts(traces: Traces, target: Target, backend: Backend, folder: Path, tell: Tell) -> dict[str, Any]:
    """Write the graphs of all parts into ``folder``, and give what ``deploy.json`` says about them.

    Raises:
        Unexportable: a part cannot be exported.
    """
    build, written = backend.build(), {}
    for number, name in enumerate(traces.parts):
        tell(Progress("exporting", number, len(traces.parts), name))
        exported = traces.of(name, target.backend)
        file = _built(build, exported, traces.family, target, folder)
        written[name] = _written(file, exported.inputs, exported.outputs, exported.calls[0])
    return written


def _built(build: Build, exported: Exported, family: str, target: Target, folder: Path) -> str:
    try:
        return build(exported, family, target.precision, folder)
    except (PhotogramError, OSError):
        raise
    except Exception as error:  # backends and NNCF raise whatever they like
        raise Unexportable(f"{exported.part.name} cannot be made for {target.name}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """The line of ``error`` that says most: OpenVINO begins with places in its code, and ends with what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines and lines[0].startswith("Exception from ") else summary(error)


def _written(file: str, inputs: Sequence[Port], outputs: Sequence[Port], call: Call) -> dict[str, Any]:
    return {
        "file": file,
        "inputs": [asdict(each) for each in inputs],
        "outputs": [asdict(each) for each in outputs],
        "call": {"arguments": call.call_form, "result": call.result_form},
    }


def manifest_of(subject: Subject, target: Target, parts: Mapping[str, Any], backend: Backend) -> dict[str, Any]:
    """``deploy.json`` before any check."""
    return {
        "model": subject.name, "family": subject.family, "kind": subject.kind, "backend": target.backend,
        "precision": target.precision, "steps": target.steps, "shapes": [list(each) for each in target.shapes],
        "base": subject.base, "loras": [each.to_payload() for each in subject.loras],
        "parts": parts, "source": {"sha256": subject.digest},
        "versions": {name: found for name in _TOOLS if (found := _version(name)) is not None},
        "requires": {name: version(name) for name in backend.packages},
        "device": {
            "type": subject.device.type, "machine": platform.machine(), "processor": processor(),
            "instructions": backend.instruction_sets(),
        },
        "licence": subject.licence, "made_at": round(time.time()), "checks": {}, "profile": {},
    }  # fmt: skip


def open_graphs(package: Package, threads: int | None = None, cache: Path | None = None) -> dict[str, Graph]:
    """The graphs of all parts of ``package``, on as many threads as torch uses unless told otherwise.

    Args:
        cache: a folder that keeps compiled graphs, if the runtime can.

    Raises:
        PackageError: a graph cannot be run here, or cannot be read.
    """
    used = threads or torch.get_num_threads()
    return {name: open_graph(package, part, used, cache) for name, part in package.parts.items()}


def differences(
    graphs: Mapping[str, Graph], calls: Mapping[str, Sequence[Call]], tell: Tell
) -> dict[str, PartDifference]:
    """How far each graph is from torch, over all recorded calls of its part."""
    found: dict[str, PartDifference] = {}
    for number, (name, graph) in enumerate(graphs.items()):
        tell(Progress("checking", number, len(graphs), name))
        found[name] = PartDifference.of(graph, calls[name])
    return found


def modules_of(checkpoint: Checkpoint) -> dict[str, torch.nn.Module]:
    """The modules of ``checkpoint`` on torch, by the names of their components."""
    components = checkpoint.pipeline.components.items()
    return {name: each for name, each in components if isinstance(each, torch.nn.Module)}


def digest_of_weights(modules: Mapping[str, torch.nn.Module]) -> str:
    """The SHA-256 of all weights of ``modules`` and their names; takes about a second for each GB."""
    digest = hashlib.sha256()
    for name, module in sorted(modules.items()):
        for key, weights in module.state_dict().items():
            digest.update(f"{name} {key} {weights.dtype} {tuple(weights.shape)}".encode())
            digest.update(weights.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def processor() -> str:
    """The name of this machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
