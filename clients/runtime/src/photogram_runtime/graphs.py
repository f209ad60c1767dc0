"""Running one graph on its runtime: named arrays in, arrays out."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from photogram_runtime.compiled import compile_graph
from photogram_runtime.errors import PackageDamaged, PackageUnsupported
from photogram_runtime.package import Package, Part

Array = npt.NDArray[Any]
_ERRORS = 3
"""ONNX Runtime's level of its log; below it, it tells of each constant that it does not fold."""


class Graph(Protocol):
    """A graph that is ready to run; may be called from any thread, one call at a time runs."""

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs in their order, for all inputs by name."""
        ...


def open_graph(package: Package, part: Part, threads: int | None = None, cache: Path | None = None) -> Graph:
    """Open the graph of ``part``; the runtime is imported here.

    Args:
        threads: how many the runtime uses; by default all cores.
        cache: a folder that keeps compiled graphs, if the runtime can.

    Raises:
        PackageUnsupported: nothing here runs the package's backend, or this processor cannot compute so.
        PackageDamaged: the runtime cannot read the graph.
    """
    require_runtime(package)
    try:
        return _OPENERS[package.backend](_Opening(package, part, threads or os.cpu_count() or 1, cache))
    except ImportError as error:
        raise PackageUnsupported(f"{package.backend} is not installed") from error
    except PackageUnsupported:
        raise
    except Exception as error:  # each runtime has errors of its own
        raise PackageDamaged(f"{package.backend} cannot read {part.file}: {str(error)[:200]}") from error


def require_runtime(package: Package) -> None:
    """Refuse a package whose graphs nothing here can run, whatever is installed.

    Raises:
        PackageUnsupported: its backend is another one.
    """
    if package.backend not in _OPENERS:
        raise PackageUnsupported(f"{package.backend} graphs cannot be run here, only {' and '.join(_OPENERS)}")


@dataclass(frozen=True)
class _Opening:
    """What is opened, and how."""

    package: Package
    part: Part
    threads: int
    cache: Path | None

    @property
    def file(self) -> Path:
        """The graph."""
        return self.package.path(self.part)


class OnnxRuntimeGraph:
    """A graph in ONNX Runtime on the CPU."""

    def __init__(self, file: Path, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = _ERRORS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would take the cores
        self._session: Any = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See :class:`Graph`."""
        outputs: list[Array] = self._session.run(None, dict(inputs))
        return outputs


class OpenVinoGraph:
    """A graph in OpenVINO on the CPU."""

    def __init__(self, opening: _Opening) -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # disables telemetry at import
        import openvino

        core: Any = openvino.Core()
        precision = opening.package.precision
        problem = openvino_problem(precision)
        if problem is not None:
            raise PackageUnsupported(problem)
        properties = {
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": opening.threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        }
        of = f"{opening.package.manifest.get('digest')} {opening.part.name}"
        model = compile_graph(core, opening.file, properties, opening.cache, of)
        self._request: Any = model.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, inputs: Mapping[str, Array]) -> list[Array]:
        """See :class:`Graph`."""
        contiguous = {name: np.ascontiguousarray(each) for name, each in inputs.items()}
        with self._lock:
            outputs = self._request.infer(contiguous, share_inputs=True)
            return [np.array(outputs[number]) for number in range(len(outputs))]


def openvino_problem(precision: str) -> str | None:
    """Why OpenVINO cannot compute in ``precision`` on this processor; ``None`` if it can."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    if precision == "bf16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "this processor has no bfloat16 instructions, and OpenVINO would compute in float32"
    return None


_OPENERS: dict[str, Callable[[_Opening], Graph]] = {
    "onnxruntime": lambda opening: OnnxRuntimeGraph(opening.file, opening.threads),
    "openvino": OpenVinoGraph,
}
