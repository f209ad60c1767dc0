"""TensorRT, a recipe: the ONNX graph of each part, checked and run here, and the commands that build engines of it."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
from photogram_runtime.graphs import OnnxRuntimeGraph
from photogram_runtime.package import Package, Part, Port

from models.deploy.exporting import Exported, Unexportable, write_onnx
from models.deploy.proof import PartDifference


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the ONNX graph of a part and check it; float16 is chosen when an engine is built.

    Raises:
        Unexportable: ONNX has no operator for something in the part, or its checker refuses the graph.
    """
    file = folder / f"{exported.part.name}.onnx"
    write_onnx(exported, file, family)
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise Unexportable(f"{exported.part.name}: ONNX's checker refuses its graph: {str(error)[:300]}") from error
    return file.name


def proof(exported: Exported, file: Path) -> PartDifference | None:
    """How far the graph in float32, run by ONNX Runtime, is from torch."""
    return PartDifference.of(OnnxRuntimeGraph(file, "f32", 1), exported.calls)


def readme(package: Package) -> str:
    """The commands that build an engine of each part."""
    commands = "\n".join(_command(part) for part in package.parts.values())
    return (
        f"{package.name} for TensorRT 10 in float16. Nothing of TensorRT was run when this was made.\n"
        f"Each graph passed the full check of ONNX {onnx.__version__}, and ONNX Runtime {onnxruntime.__version__} ran "
        "it in float32 on all recorded calls;\ndeploy.json has the differences from torch under checks.parts.\n\n"
        f"Build the engines on the machine that will run them:\n\n{commands}\n"
    )


def _command(part: Part) -> str:
    command = f"trtexec --onnx={part.file} --saveEngine={part.name}.plan --fp16"
    if any(None in port.shape for port in part.inputs):
        command += f" --minShapes={_shapes(part.inputs, 0)}"
        command += f" --optShapes={_shapes(part.inputs, 1)} --maxShapes={_shapes(part.inputs, 1)}"
    return command


def _shapes(inputs: tuple[Port, ...], which: int) -> str:
    """As trtexec takes them, of the inputs that have open axes."""
    return ",".join(
        f"'{port.name}':{'x'.join(str(bound[which]) for bound in port.bounds)}" for port in inputs if None in port.shape
    )
