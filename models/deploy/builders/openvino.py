"""OpenVINO: an IR of each part, read from its ONNX graph."""

from __future__ import annotations

import sys
from pathlib import Path

from models.deploy import quantizing
from models.deploy.exporting import Exported
from models.deploy.parts import TEXT_ENCODERS

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # disables telemetry at import
import openvino as ov  # noqa: E402


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the IR of a part; bf16 is f32 that OpenVINO computes in bfloat16.

    Text encoders have float16 weights where others have fewer bits: the last hidden states of the built-in one differ
    by 0.19 with int8 weights, and the file is no smaller, because most of it is embeddings, which stay as they are.

    Raises:
        Unexportable: ONNX has no operator for something in the part.
        Exception: whatever OpenVINO or NNCF raises.
    """
    name = exported.part.name
    model = ov.Core().read_model(exported.onnx())
    for port, known in zip(model.outputs, exported.outputs, strict=True):
        port.get_tensor().set_names({known.name})
    is_text = name in TEXT_ENCODERS
    if precision == "int8" and not is_text:
        model = quantizing.int8_openvino(model)
    elif precision == "w4" and not is_text:
        model = quantizing.int4_openvino(model)
    if precision == "fp16" or (precision in ("int8", "w4") and is_text):
        quantizing.fp16_openvino(model)
    ov.save_model(model, folder / f"{name}.xml", compress_to_fp16=False)
    return f"{name}.xml"
