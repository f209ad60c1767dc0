"""ONNX Runtime: the ONNX graph of each part."""

from __future__ import annotations

from pathlib import Path

from models.deploy import quantizing
from models.deploy.exporting import Exported, write_onnx


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the ONNX graph of a part.

    Raises:
        Unexportable: ONNX has no operator for something in the part.
        Exception: whatever NNCF raises.
    """
    file = folder / f"{exported.part.name}.onnx"
    write_onnx(exported, file, family)
    if precision == "int8":
        quantizing.int8_onnx(file)
    return file.name
