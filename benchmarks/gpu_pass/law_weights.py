"""The law for weights that are offloaded to the host's memory, and for weights stored in fewer bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from diffusers.quantizers.gguf.utils import GGUFLinear, dequantize_gguf_tensor

from benchmarks.gpu_pass.driving import Rows, draw, judge
from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import DTYPES, PROMPTS, Subject, Subjects
from benchmarks.gpu_pass.surface import STORED, TXT2IMG, open_engine, parts_of

OFFLOADS = ("model", "sequential")
OFFLOADED = (("tiny", "auto"), ("tiny-sdxl", "auto"), ("tiny-flux", "auto"), ("tiny", "fp8"), ("tiny", "int8"))
"""The models that are offloaded, and how their weights are stored."""
CAP_S = 20.0


def rows_of(subject: Subject) -> Rows:
    """Three rows that all families can draw; one of them has no guidance."""
    return {
        f"row {seed}": (
            TXT2IMG, subject.params(seed=seed, prompt=PROMPTS[seed], guidance_scale=(5.0, 1.0, 7.5)[seed])
        )
        for seed in range(3)
    }  # fmt: skip


def offloaded(subjects: Subjects, name: str, dtype: str, offload: str, weights: str) -> Outcome:
    """Rows of an offloaded model get the images that they get without offloading.

    Before the first row, no weights are on the device, and after the last one at most those of one part.
    """
    usual, away = (
        subjects.loaded_with(name, dtype, weights=weights),
        subjects.loaded_with(name, dtype, offload, weights),
    )
    rows = rows_of(usual)
    with open_engine(usual.checkpoint, 8) as engine:
        expected = draw(engine, usual, rows)
    with open_engine(away.checkpoint, 8) as engine:
        before = _bytes_by_part(away)
        ended = draw(engine, away, rows)
        after = _bytes_by_part(away)
    outcome = judge(away, rows, ended.images, ended.failures | expected.failures, expected.images)
    figures = {"before_bytes": sum(before), "after_bytes": sum(after), "simulated": subjects.device.type != "cuda"}
    is_away = not any(before) and sum(size > 0 for size in after) <= (1 if offload == "model" else 0)
    passed = outcome.passed is not False and is_away and away.checkpoint.placement.offloads
    return Outcome(passed, outcome.figures | figures, outcome.detail)


def _bytes_by_part(subject: Subject) -> list[int]:
    """The bytes of each part's weights that are on the GPU; all 0 without one."""
    return [
        sum(each.nbytes for module in modules for each in module.parameters() if each.device.type == "cuda")
        for modules in parts_of(subject.checkpoint.pipeline.components).values()
    ]


def in_fewer_bits(subjects: Subjects, dtype: str, weights: str) -> Outcome:
    """Rows together get the images that the plain pipeline draws with the same weights; these differ from the usual."""
    plain, reduced = subjects.loaded_with("tiny", dtype), subjects.loaded_with("tiny", dtype, weights=weights)
    rows = rows_of(reduced)
    usual = {row_id: plain.plain(kind, params) for row_id, (kind, params) in rows.items()}
    layers = _reduce_plainly(plain, reduced, weights)
    plain_again = Subject(plain.name, dtype, plain.checkpoint)
    expected = {row_id: plain_again.plain(kind, params) for row_id, (kind, params) in rows.items()}
    with open_engine(reduced.checkpoint, 8) as engine:
        ended = draw(engine, reduced, rows)
    outcome = judge(reduced, rows, ended.images, ended.failures, expected)
    changed = max(Difference.between(usual[row_id], image).worst for row_id, image in expected.items())
    figures = {"layers": layers, "changed": changed}
    return Outcome(outcome.passed is not False and changed > 0, outcome.figures | figures, outcome.detail)


@torch.inference_mode(False)
def _reduce_plainly(plain: Subject, reduced: Subject, weights: str) -> int:
    """Give the UNet of ``plain`` the weights of ``reduced`` in a plain way; the number of layers that have fewer bits.

    8-bit floats are those of diffusers itself, and quantised weights are widened once and for all.
    """
    unet: Any = plain.checkpoint.pipeline.unet
    layers = list(reduced.checkpoint.pipeline.unet.named_modules())
    if weights == "fp8":
        unet.enable_layerwise_casting(STORED, DTYPES[plain.dtype])
        return sum(any(each.dtype == STORED for each in layer.parameters(recurse=False)) for _, layer in layers)
    quantized = {path: layer for path, layer in layers if isinstance(layer, GGUFLinear)}
    for path, layer in quantized.items():
        wide = dequantize_gguf_tensor(layer.weight)
        own = unet.get_submodule(path).weight
        own.data = wide.to(own.device, own.dtype)
    return len(quantized)


def checks(subjects: Subjects, dtypes: Sequence[str]) -> Iterator[Check]:
    """Each way of offloading, and each way of storing weights."""
    for dtype in dtypes:
        for name, weights in OFFLOADED:
            for offload in OFFLOADS:
                run = partial(offloaded, subjects, name, dtype, offload, weights)
                with_weights = "" if weights == "auto" else f", weights {weights}"
                yield Check(f"new/{dtype}/{name}, offload {offload}{with_weights}", run, CAP_S)
        for weights in ("fp8", "int8", "int4"):
            yield Check(f"new/{dtype}/tiny, weights {weights}", partial(in_fewer_bits, subjects, dtype, weights), CAP_S)
