"""Smaller weights: int8 of weights and activations, and int4 of weights, by NNCF on recorded calls."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.deploy.exporting import in_numpy
from models.deploy.recording import Call

CALIBRATION_CALLS = 24
"""How many recorded calls tell the ranges of activations."""
_GROUP = 64
"""How many int4 weights share a scale."""


def int8_openvino(model: Any, calls: Sequence[Call], is_convolutional: bool) -> Any:
    """``model`` with int8 weights, and for a convolutional part with int8 activations where they are matrices' inputs.

    Args:
        model: an ``openvino.Model``.
        is_convolutional: a part whose time goes into convolutions; others only get smaller weights, which costs no
            accuracy that one sees and needs no calibration.
    """
    import nncf

    with _quietly():
        if not is_convolutional:
            return nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
        chosen = _spread(calls, CALIBRATION_CALLS)
        dataset = nncf.Dataset(chosen, lambda call: in_numpy(call.inputs))
        return nncf.quantize(
            model, dataset, subset_size=len(chosen), model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
        )  # fmt: skip


def int4_openvino(model: Any) -> Any:
    """``model`` with int4 weights in groups of ``_GROUP``; layers that this does not suit get int8."""
    import nncf

    with _quietly():
        return nncf.compress_weights(
            model, mode=nncf.CompressWeightsMode.INT4_SYM, group_size=_GROUP, ratio=1.0,
            group_size_fallback_mode=nncf.parameters.GroupSizeFallbackMode.ADJUST,
        )  # fmt: skip


def _spread(calls: Sequence[Call], most: int) -> list[Call]:
    """At most ``most`` of ``calls``, evenly over all."""
    step = max(1, len(calls) / most)
    return [calls[int(number * step)] for number in range(min(most, len(calls)))]


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


def int8_onnx(file: Path, calls: Sequence[Call]) -> None:
    """Quantise weights and activations of the ONNX graph in ``file`` to int8, in place."""
    import nncf
    import onnx

    with _quietly():
        chosen = _spread(calls, CALIBRATION_CALLS)
        dataset = nncf.Dataset(chosen, lambda call: in_numpy(call.inputs))
        made = nncf.quantize(
            onnx.load(str(file)), dataset, subset_size=len(chosen), model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
        )  # fmt: skip
    onnx.save(made, str(file))
