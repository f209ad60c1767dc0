"""Smaller weights by NNCF: int8, or int4 in groups; all products are computed in float32 from them.

Activations stay as they are. With int8 activations (``nncf.quantize``) the outputs of the built-in model's UNet differ
from torch's by 0.33, and by 0.23 if only its convolutions have them, while weights alone cost 0.024; and on a processor
without instructions for int8 products the forward was not faster with either.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_GROUP = 64
"""How many int4 weights share a scale."""


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
        yield
    finally:
        logger.setLevel(level)


def int8_onnx(source: Path, file: Path) -> None:
    """Write the ONNX graph in ``source`` to ``file`` with int8 weights."""
    import nncf
    import onnx

    with _quietly():
        made = nncf.compress_weights(onnx.load(str(source)), mode=nncf.CompressWeightsMode.INT8_ASYM)
    onnx.save(made, str(file))
