"""ONNX Runtime: the ONNX graph of each part."""

from __future__ import annotations

import shutil
from pathlib import Path

from models.deploy import quantizing
from models.deploy.exporting import Exported
from models.deploy.parts import TEXT_ENCODERS


def build(exported: Exported, family: str, precision: str, folder: Path) -> str:
    """Write the ONNX graph of a part; text encoders stay as they are, for the reason that OpenVINO's have.

    Raises:
        Unexportable: ONNX has no operator for something in the part.
        Exception: whatever NNCF raises.
    """
    graph = exported.onnx()
    if precision == "int8" and exported.part.name not in TEXT_ENCODERS:
        quantizing.int8_onnx(graph, folder / graph.name)
    else:
        for each in graph.parent.iterdir():
            shutil.copyfile(each, folder / each.name)
    return graph.name
