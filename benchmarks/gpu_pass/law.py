"""The stage ``law``: an image does not depend on its neighbours, and alone it is the plain pipeline's, on this device."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.gpu_pass import law_backends, law_batches, law_device, law_images, law_memory
from benchmarks.gpu_pass.report import Report
from benchmarks.gpu_pass.running import Check, run_all
from benchmarks.gpu_pass.subjects import DTYPES, Subjects

BUDGET_S = 330.0
COMPILED_CAP_S = 60.0
FEW = ("Euler", "Euler a", "DPM++ 2M SDE", "Heun")
"""The samplers of a rehearsal."""


def run(report: Report, device: torch.device, budget_s: float, *, rehearse: bool) -> None:
    """Run all checks on ``device``. Float32 is computed in float32: TF32 is off."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    subjects = Subjects(device, rehearse=rehearse)
    run_all(list(checks(subjects, rehearse=rehearse)), report, budget_s, device)


def checks(subjects: Subjects, *, rehearse: bool) -> Iterator[Check]:
    """What is likely to teach the most comes first; what may take minutes comes last."""
    samplers = FEW if rehearse else law_images.SAMPLERS
    yield from _pixels(subjects, "tiny", samplers)
    yield from law_backends.checks(subjects, tuple(DTYPES))
    yield from law_device.checks(subjects, 12 if rehearse else 40)
    yield from _pixels(subjects, "sd15", samplers[:2] if rehearse else samplers)
    yield from law_memory.checks(subjects, "float16")
    yield from law_backends.compiled_checks(subjects, samplers[:2], COMPILED_CAP_S)


def _pixels(subjects: Subjects, name: str, samplers: tuple[str, ...]) -> Iterator[Check]:
    """The law by images and by bits, in each dtype."""
    for dtype in DTYPES:
        yield from law_images.checks(subjects, name, dtype, samplers)
        yield from law_batches.checks(subjects, name, dtype, samplers)
