"""The stage ``law``: an image does not depend on its batch, and alone it equals the plain pipeline's image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks.gpu_pass import (
    law_backends,
    law_batches,
    law_beside,
    law_device,
    law_families,
    law_images,
    law_memory,
    law_weights,
)
from benchmarks.gpu_pass.report import Report
from benchmarks.gpu_pass.running import Check, run_all
from benchmarks.gpu_pass.subjects import DTYPES, Subjects

BUDGET_S = 330.0
COMPILED_CAP_S = 45.0
FEW = ("Euler", "Euler a", "DPM++ 2M SDE", "Heun")
"""The samplers whose latents are compared bit by bit at full size; a rehearsal uses the first two."""


def run(report: Report, device: torch.device, budget_s: float, only: str, *, rehearse: bool) -> None:
    """Run the checks with ``only`` in their names on ``device``. TF32 is turned off."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    subjects = Subjects(device, rehearse=rehearse)
    chosen = [check for check in checks(subjects, rehearse=rehearse) if only in check.name]
    run_all(chosen, report, budget_s, device)


def checks(subjects: Subjects, *, rehearse: bool) -> Iterator[Check]:
    """All checks: the most informative ones first, those that may take minutes last."""
    samplers = FEW[:2] if rehearse else law_images.SAMPLERS
    yield from _new(subjects, rehearse=rehearse)
    yield from _both(subjects, "tiny", tuple(DTYPES), samplers, samplers)
    yield from law_backends.checks(subjects, tuple(DTYPES))
    yield from law_device.checks(subjects, 6 if rehearse else 40)
    if rehearse:
        yield from _both(subjects, "sd15", ("float32", "bfloat16"), samplers[1:], samplers[:1])
    else:
        yield from _both(subjects, "sd15", tuple(DTYPES), samplers, FEW)
    yield from law_memory.checks(subjects, "float16")
    yield from law_backends.compiled_checks(subjects, samplers[:2], COMPILED_CAP_S)


def _new(subjects: Subjects, *, rehearse: bool) -> Iterator[Check]:
    """What was added last: other work on the device, offloading, weights in fewer bits, families with transformers."""
    dtypes = ("float32",) if rehearse else ("float32", "float16")
    yield from law_beside.checks(subjects, dtypes)
    yield from law_weights.checks(subjects, dtypes)
    yield from law_families.checks(subjects, tuple(DTYPES))


def _both(
    subjects: Subjects, name: str, dtypes: Sequence[str], by_images: Sequence[str], by_bits: Sequence[str]
) -> Iterator[Check]:
    """The comparisons of images, and those of latents bit by bit, with the given samplers."""
    for dtype in dtypes:
        yield from law_images.checks(subjects, name, dtype, by_images)
        yield from law_batches.checks(subjects, name, dtype, by_bits)
