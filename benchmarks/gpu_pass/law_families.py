"""The law with the families whose denoiser is a transformer: Stable Diffusion 3, FLUX and PixArt-Sigma, tiny ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from benchmarks.gpu_pass.driving import Rows
from benchmarks.gpu_pass.law_images import GUIDANCE, alone, together
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import PROMPTS, Subject, Subjects
from benchmarks.gpu_pass.surface import FLUX, TXT2IMG

SAMPLERS = {"tiny-sd3": ("Euler",), "tiny-flux": ("Euler",), "tiny-pixart": ("Euler", "DPM++ 2M", "DDIM")}
ROWS = 5
CAP_S = 20.0


def rows_of(subject: Subject, samplers: Sequence[str]) -> Rows:
    """Rows that differ in everything; one of them has no guidance."""
    negative = ("",) if subject.checkpoint.spec.family == FLUX else ("ugly", "")
    return {
        f"row {number}": (
            TXT2IMG,
            subject.params(
                sampler=samplers[number % len(samplers)], num_inference_steps=3 + number % 3, seed=number,
                prompt=PROMPTS[number % len(PROMPTS)], negative_prompt=negative[number % len(negative)],
                guidance_scale=1.0 if number == 2 else GUIDANCE[number % 4],
            ),
        )
        for number in range(ROWS)
    }  # fmt: skip


def drawn(subject: Subject, run: Callable[[Subject, Rows], Outcome], samplers: Sequence[str]) -> Outcome:
    """``run`` with the rows of :func:`rows_of`."""
    return run(subject, rows_of(subject, samplers))


def checks(subjects: Subjects, dtypes: Sequence[str]) -> Iterator[Check]:
    """Each family in each dtype, alone and together."""
    for dtype in dtypes:
        for name, samplers in SAMPLERS.items():
            for title, run in (("alone", alone), ("together", together)):
                yield Check(f"new/{dtype}/{name}, {title}", subjects.on(name, dtype, drawn, run, samplers), CAP_S)
