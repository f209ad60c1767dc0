"""A face detector with YuNet's inputs and outputs that takes every pure red square of 8 x 8 px for a face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

CELL_PX = 8
LANDMARKS_PX = np.array([(-30, -20), (30, -20), (0, 5), (-20, 30), (20, 30)], np.float64)
"""Where the face's landmarks are, from the top left corner of the red square."""
_RED_BGR = (-1.0, -1.0, 1.0)


def build_tiny_detector(path: Path) -> Path:
    """Write it to ``path``; it takes images of any size, as BGR values from 0 to 255."""
    heads = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
    nodes, weights = [], {"flat": np.array([1, -1], np.int64)}
    for stride in (8, 16, 32):
        pool = {"kernel_shape": [stride, stride], "strides": [stride, stride]}
        nodes.append(helper.make_node("AveragePool", ["input"], [f"cells_{stride}"], **pool))
        for head, width in heads.items():
            nodes += _head(f"{head}_{stride}", width, f"cells_{stride}")
            weights |= _weights(head, width, stride)
            weights[f"{head}_shape"] = np.array([1, -1, width], np.int64)
    outputs = [
        _value(f"{head}_{stride}", (1, (640 // stride) ** 2, width))
        for head, width in heads.items()
        for stride in (8, 16, 32)
    ]
    graph = helper.make_graph(
        nodes, "tiny", [_value("input", (1, 3, 640, 640))], outputs,
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), path)
    return path


def _head(name: str, width: int, cells: str) -> Iterator[NodeProto]:
    kind = name.split("_")[0]
    yield helper.make_node("Conv", [cells, f"{name}_weight", f"{name}_bias"], [f"{name}_map"], kernel_shape=[1, 1])
    yield helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1])
    bounded = f"{name}_bounded" if width == 1 else name
    yield helper.make_node("Reshape", [f"{name}_last", f"{kind}_shape"], [bounded])
    if width == 1:
        yield helper.make_node("Sigmoid", [bounded], [name])


def _weights(head: str, width: int, stride: int) -> dict[str, np.ndarray]:
    """Scores that only pure red at the finest stride drives above 0; a box and landmarks that are always the same."""
    weight, bias = np.zeros((width, 3, 1, 1), np.float32), np.zeros(width, np.float32)
    if width == 1:
        bias[:] = -240
        weight[0, :, 0, 0] = _RED_BGR if stride == CELL_PX else 0
    elif head == "bbox":
        bias[2:] = np.log(80 / stride)
    else:
        bias[:] = LANDMARKS_PX.ravel() / stride
    return {f"{head}_{stride}_weight": weight, f"{head}_{stride}_bias": bias}


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
