"""Out of memory on a real device: a row that cannot fit fails alone, and a batch that does not fit is split.

One large allocation fills the memory. Without a CUDA device, a denoiser that rejects large inputs simulates that, so
that a rehearsal runs the same code.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from PIL.Image import Image

from benchmarks.gpu_pass.driving import Ended, Rows, draw, judge
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import Subject, Subjects
from benchmarks.gpu_pass.surface import TXT2IMG, Conditioning, Denoiser, Residuals, open_engine

ROW_FREE_BYTES = 3 << 30
"""The memory left for a few rows of 512 px and one of 4096 px."""
BATCH_FREE_BYTES = 1200 << 20
"""The memory left for sixteen rows of 512 px."""


@contextmanager
def memory_filled(device: torch.device, free_bytes: int) -> Iterator[None]:
    """Allocate all of the device's memory but ``free_bytes``."""
    if device.type != "cuda":
        yield
        return
    gc.collect()
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    ballast = torch.empty(max(0, free - free_bytes), dtype=torch.uint8, device=device)
    try:
        yield
    finally:
        del ballast
        gc.collect()
        torch.cuda.empty_cache()


@dataclass
class LimitedDenoiser:
    """A denoiser that raises for latents of more than ``limit`` elements, for devices whose memory cannot be filled."""

    inner: Denoiser
    limit: int
    name: str = "limited"
    relative_error: float | None = None

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        if latents.numel() > self.limit:
            raise torch.OutOfMemoryError(f"{latents.numel()} elements do not fit")
        return self.inner.denoise(latents, timesteps, conditioning, residuals)


def _draw(subject: Subject, rows: Rows, free_bytes: int, simulated_limit: int) -> tuple[Ended, int]:
    """Draw ``rows`` with ``free_bytes`` of memory. Also returns the peak of the reserved bytes, 0 without CUDA."""
    checkpoint = subject.checkpoint
    is_cuda = checkpoint.device.type == "cuda"
    denoiser = checkpoint.denoiser if is_cuda else LimitedDenoiser(checkpoint.denoiser, simulated_limit)
    with open_engine(checkpoint, 16, denoiser=denoiser) as engine, memory_filled(checkpoint.device, free_bytes):
        ended = draw(engine, subject, rows)
    return ended, torch.cuda.max_memory_reserved() if is_cuda else 0


def _expected(subject: Subject, rows: Rows) -> Mapping[str, Image]:
    """The plain pipeline's images, drawn before memory is filled."""
    return {row_id: subject.plain(kind, params) for row_id, (kind, params) in rows.items()}


def row_too_large(subject: Subject) -> Outcome:
    """A row that cannot fit fails as out of memory, and the other rows give their images."""
    px = 8 * subject.px
    rows = {f"small {seed}": (TXT2IMG, subject.params(seed=seed)) for seed in range(3)}
    large = {"large": (TXT2IMG, subject.params(width=px, height=px, num_inference_steps=2))}
    expected = _expected(subject, rows)
    ended, reserved = _draw(subject, {**large, **rows}, ROW_FREE_BYTES, 2 * 4 * (px // 16) ** 2)
    failure = ended.failures.pop("large", None)
    outcome = judge(subject, rows, ended.images, ended.failures, expected)
    is_right = failure is not None and failure.startswith("OutOfMemory")
    return Outcome(
        is_right and outcome.passed is not False,
        outcome.figures | {"large": failure or "drawn", "reserved_bytes": reserved, "simulated": not reserved},
        outcome.detail,
    )


def batch_too_large(subject: Subject) -> Outcome:
    """Sixteen rows, of which only some fit at once, all give their images."""
    rows = {f"row {seed}": (TXT2IMG, subject.params(seed=seed, num_inference_steps=3)) for seed in range(16)}
    expected = _expected(subject, rows)
    latents = 4 * (subject.px // 8) ** 2
    ended, reserved = _draw(subject, rows, BATCH_FREE_BYTES, 2 * latents * 6)
    outcome = judge(subject, rows, ended.images, ended.failures, expected)
    figures = {"engine_steps": ended.engine_steps, "reserved_bytes": reserved, "simulated": not reserved}
    return Outcome(outcome.passed is not False, outcome.figures | figures, outcome.detail)


def checks(subjects: Subjects, dtype: str) -> Iterator[Check]:
    """Both checks, with the model of full size."""
    yield Check(f"memory/{dtype}/a row that cannot fit", subjects.on("sd15", dtype, row_too_large))
    yield Check(f"memory/{dtype}/a batch that cannot fit", subjects.on("sd15", dtype, batch_too_large))
