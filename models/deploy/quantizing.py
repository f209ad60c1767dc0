"""Smaller weights by NNCF: int8, or int4 in groups; all products are computed in float32 from them.

Activations stay as they are. With int8 activations (``nncf.quantize``) the outputs of the built-in model's UNet differ
from torch's by 0.33, and by 0.23 if only its convolutions have them, while weights alone cost 0.024; and on a processor
without instructions for int8 products the forward was not faster with either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from math import prod
from pathlib import Path
from typing import Any

from models.deploy.exporting import ONE_FILE_MAX_BYTES

_GROUP = 64
"""How many int4 weights share a scale."""
_LARGE = 4096
"""Constants of fewer values stay as they are."""


def fp16_openvino(model: Any) -> None:
    """Give ``model``, an ``openvino.Model``, float16 weights in place; all is computed in float32 from them.

    OpenVINO's own compression rounds small constants too. Among them are the frequencies of timesteps, which are up to
    1000: the phase of a rounded frequency is wrong by up to half a radian.
    """
    import numpy as np
    import openvino as ov
    from openvino import opset13 as operators

    for constant in model.get_ops():
        if constant.get_type_name() != "Constant" or constant.get_element_type() != ov.Type.f32:
            continue
        values = constant.data
        if values.size >= _LARGE and np.abs(values).max() <= np.finfo(np.float16).max:
            half = operators.constant(values.astype(np.float16))
            constant.output(0).replace(operators.convert(half, "f32").output(0))


def int8_openvino(model: Any) -> Any:
    """``model``, an ``openvino.Model``, with int8 weights that have a scale for each output channel."""
    import nncf

    with _quietly():
        return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)


def int4_openvino(model: Any) -> Any:
    """``model`` with int4 weights in groups of ``_GROUP``; layers that this does not suit get int8."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedCompressionParameters, GroupSizeFallbackMode

    with _quietly():
        return nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=_GROUP, ratio=1.0,
            advanced_parameters=AdvancedCompressionParameters(group_size_fallback_mode=GroupSizeFallbackMode.ADJUST),
        )  # fmt: skip


@contextmanager
def _quietly() -> Iterator[None]:
    """Without NNCF's tables and progress bars."""
    import nncf

    logger = logging.getLogger("nncf")
    level = logger.level
    nncf.set_log_level(logging.ERROR)
    try:
        with redirect_stdout(StringIO()):  # where the bars go
            yield
    finally:
        logger.setLevel(level)


def int8_onnx(source: Path, file: Path) -> None:
    """Write the ONNX graph in ``source`` to ``file`` with int8 weights."""
    import nncf
    import onnx

    model = onnx.load(str(source))
    _transpose_weights(model)
    with _quietly():
        made = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
    _flatten_scales(made)
    onnx.save(made, str(file), save_as_external_data=made.ByteSize() > ONE_FILE_MAX_BYTES)


def _transpose_weights(model: Any) -> None:
    """Replace each transposition of weights by transposed weights: NNCF takes the former for weights without values."""
    from onnx import numpy_helper

    weights = {each.name: each for each in model.graph.initializer}
    folded = [node for node in model.graph.node if node.op_type == "Transpose" and node.input[0] in weights]
    for node in folded:
        order = next((list(each.ints) for each in node.attribute if each.name == "perm"), None)
        values = numpy_helper.to_array(weights[node.input[0]]).transpose(order)
        model.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input}
    for node in folded:
        weight = weights.pop(node.input[0], None)
        if weight is not None and weight.name not in used:
            model.graph.initializer.remove(weight)


def _flatten_scales(model: Any) -> None:
    """Give scales and zero points of whole channels one axis, as ONNX wants: for convolutions NNCF makes several."""
    values = {each.name: each for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and not any(each.name == "block_size" for each in node.attribute):
            for name in node.input[1:]:
                dims = values[name].dims if name in values else ()
                if len(dims) > 1 and max(dims) == prod(dims):
                    values[name].dims[:] = [max(dims)]
