"""OpenVINO: an IR of each part, read from its ONNX graph."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from models.deploy import quantizing
from models.deploy.exporting import Exported, write_onnx

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # disables telemetry at import
import openvino as ov  # noqa: E402

_CONVOLUTIONAL = ("unet", "vae_decoder", "vae_encoder", "model")
"""Parts with convolutions, whose activations are quantised as well."""


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the IR of a part; bf16 is f32 that OpenVINO computes in bfloat16.

    Raises:
        Unexportable: ONNX has no operator for something in the part.
        Exception: whatever OpenVINO or NNCF raises.
    """
    name = exported.part.name
    with tempfile.TemporaryDirectory(prefix="photogram-") as scratch:
        graph = Path(scratch) / f"{name}.onnx"
        write_onnx(exported, graph, family)
        model = ov.Core().read_model(graph)
        for port, known in zip(model.outputs, exported.outputs, strict=True):
            port.get_tensor().set_names({known.name})
        model = _reduced(model, exported, precision)
        ov.save_model(model, folder / f"{name}.xml", compress_to_fp16=precision == "fp16")
    return f"{name}.xml"


def _reduced(model: Any, exported: Exported, precision: str) -> Any:
    match precision:
        case "int8":
            return quantizing.int8_openvino(model, exported.calls, exported.part.name in _CONVOLUTIONAL)
        case "w4":
            return quantizing.int4_openvino(model)
        case _:
            return model
