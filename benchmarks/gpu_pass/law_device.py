"""Checks that need a real device: the side-work thread, cancellation, rows that fail, memory that is freed."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu_pass.driving import Ended, Rows, draw, drive, judge, step_engine
from benchmarks.gpu_pass.law_images import together
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import PROMPTS, Subject, Subjects
from benchmarks.gpu_pass.surface import (
    INPAINT,
    TXT2IMG,
    Conditioning,
    Denoiser,
    Progressed,
    Residuals,
    add_row,
    open_engine,
)

SIDE_THREAD = "side-work"
"""The prefix of the names of the engine's side-work threads."""


def short_jobs(subject: Subject, count: int) -> Rows:
    """Jobs of 1 to 4 steps, so that prompts are encoded and images are decoded all the time."""
    return {
        f"job {number}": (
            TXT2IMG,
            subject.params(
                num_inference_steps=1 + number % 4, seed=number, prompt=f"{PROMPTS[number % 5]} {number}",
                sampler=("Euler", "DDIM", "Euler a")[number % 3],
            ),
        )
        for number in range(count)
    }  # fmt: skip


def side_thread(subject: Subject) -> Outcome:
    """On CUDA, the text encoder and the VAE run in the side-work thread, and the UNet in the caller's thread."""
    seen: dict[str, set[str]] = {}
    pipeline: Any = subject.checkpoint.pipeline
    modules = {"unet": pipeline.unet, "text encoder": pipeline.text_encoder, "vae": pipeline.vae.decoder}
    rows = short_jobs(subject, 4)
    with ExitStack() as hooks, open_engine(subject.checkpoint, 4) as engine:
        for name, module in modules.items():
            record = partial(_record_thread, seen.setdefault(name, set()))
            hooks.callback(module.register_forward_pre_hook(record).remove)
        ended = draw(engine, subject, rows)
    outcome = judge(subject, rows, ended.images, ended.failures)
    is_cuda = subject.checkpoint.device.type == "cuda"
    in_side_thread = {name: {each.startswith(SIDE_THREAD) for each in threads} for name, threads in seen.items()}
    is_right = in_side_thread == {name: {is_cuda and name != "unet"} for name in modules}
    figures = outcome.figures | {"threads": {name: sorted(each) for name, each in seen.items()}}
    return Outcome(outcome.passed is not False and is_right, figures, outcome.detail)


def _record_thread(seen: set[str], *_: object) -> None:
    seen.add(threading.current_thread().name)


def side_thread_under_load(subject: Subject, jobs: int) -> Outcome:
    """Many short jobs: encoding and decoding run beside nearly every step and change no image."""
    return together(subject, short_jobs(subject, jobs))


def previews(subject: Subject) -> Outcome:
    """Previews come: on a CPU at every step but the last, on a GPU at some later steps; none has only one colour."""
    seen: list[Any] = []
    with open_engine(subject.checkpoint, 4, preview_every=1) as engine:
        add_row(engine, "row", subject.checkpoint, subject.params(num_inference_steps=12))
        ended = drive(engine, Ended(), lambda event: seen.append(event.preview))
    extrema = [image.getextrema() for image in seen if image is not None]
    flat = sum(all(low == high for low, high in each) for each in extrema)
    figures = {"steps": len(seen), "previews": len(extrema), "of_one_colour": flat}
    least = 1 if subject.checkpoint.device.type == "cuda" else len(seen) - 1
    return Outcome(len(extrema) >= least and not flat and "row" in ended.images, figures, str(ended.failures or ""))


@dataclass
class Poisoned:
    """A denoiser whose output is NaN for one prompt."""

    inner: Denoiser
    states: torch.Tensor
    name: str = "poisoned"
    relative_error: float | None = None

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        output = self.inner.denoise(latents, timesteps, conditioning, residuals)
        hit = ((conditioning.hidden_states - self.states).abs() < 0.05).flatten(1).all(1)
        return torch.where(hit[:, None, None, None], torch.nan, output)


def nan_row(subject: Subject) -> Outcome:
    """A row with a NaN prediction fails, and only that row."""
    checkpoint = subject.checkpoint
    states = checkpoint.pipeline.encode_prompt("poison", checkpoint.device, 1, False, "")[0]
    rows = {f"good {seed}": (TXT2IMG, subject.params(seed=seed)) for seed in range(3)}
    bad = {"bad": (TXT2IMG, subject.params(prompt="poison"))}
    with open_engine(checkpoint, 8, denoiser=Poisoned(checkpoint.denoiser, states)) as engine:
        ended = draw(engine, subject, {**bad, **rows})
    failure = ended.failures.pop("bad", None)
    outcome = judge(subject, rows, ended.images, ended.failures)
    passed = outcome.passed is not False and failure is not None and "not finite" in failure
    return Outcome(passed, outcome.figures, f"{failure}; {outcome.detail}")


def canceled(subject: Subject) -> Outcome:
    """A canceled row reports no more events and its memory is freed; the other rows finish."""
    rows = {f"job {seed}": (TXT2IMG, subject.params(seed=seed, num_inference_steps=8)) for seed in range(4)}
    with open_engine(subject.checkpoint, 8) as engine:
        draw(engine, subject, rows)  # allocates what is kept after the first use
        before = _allocated(subject)
        for row_id, (kind, params) in rows.items():
            add_row(engine, row_id, subject.checkpoint, params, kind)
        progress: list[Progressed] = []
        ended = Ended()
        while len(progress) < 6:
            step_engine(engine, ended, progress.append)
        for row_id in ("job 0", "job 1"):
            engine.cancel_row(row_id)
        late: list[Progressed] = []
        drive(engine, ended, late.append)
    rest = {row_id: row for row_id, row in rows.items() if row_id not in ("job 0", "job 1")}
    outcome = judge(subject, rest, ended.images, ended.failures)
    reported = [event.row_id for event in late if event.row_id not in rest]
    leaked = _allocated(subject) - before
    figures = outcome.figures | {"reported_after": len(reported), "leaked_bytes": leaked}
    return Outcome(outcome.passed is not False and not reported and leaked < 1 << 20, figures, outcome.detail)


def _allocated(subject: Subject) -> int:
    gc.collect()
    return torch.cuda.memory_allocated() if subject.checkpoint.device.type == "cuda" else 0


def memory_returns(subject: Subject, rounds: int) -> Outcome:
    """After rounds of the same jobs, no more memory is allocated than after the first."""
    allocated = []
    with open_engine(subject.checkpoint, 8) as engine:
        for _ in range(rounds):
            ended = draw(engine, subject, short_jobs(subject, 8))
            allocated.append(_allocated(subject))
    return Outcome(allocated[-1] - allocated[0] < 1 << 20 and not ended.failures, {"allocated_bytes": allocated})


def inpaint_rows(subject: Subject) -> Outcome:
    """Inpainting rows in one batch."""
    rows = {
        sampler: (INPAINT, subject.params(INPAINT, sampler=sampler, seed=number))
        for number, sampler in enumerate(("Euler", "DDIM", "DPM++ 2M Karras"))
    }
    return together(subject, rows)


def family_rows(subject: Subject) -> Outcome:
    """Rows of another model in one batch."""
    rows = {
        sampler: (TXT2IMG, subject.params(sampler=sampler, seed=number, prompt=PROMPTS[number]))
        for number, sampler in enumerate(("Euler", "DDIM", "DPM++ 2M Karras", "Euler a"))
    }
    return together(subject, rows)


def reused_features(subject: Subject) -> Outcome:
    """Rows that reuse deep features (DeepCache) give the same images in a batch as alone."""
    rows = {f"row {seed}": (TXT2IMG, subject.params(seed=seed, reuse_interval=2)) for seed in range(3)}
    with open_engine(subject.checkpoint, 1) as engine:
        alone = {row_id: draw(engine, subject, {row_id: row}) for row_id, row in rows.items()}
    with open_engine(subject.checkpoint, 8) as engine:
        ended = draw(engine, subject, rows)
    expected = {row_id: each.images[row_id] for row_id, each in alone.items() if row_id in each.images}
    return judge(subject, rows, ended.images, ended.failures, expected)


def checks(subjects: Subjects, jobs: int) -> Iterator[Check]:
    """All checks of this module, with tiny models."""
    for dtype in ("float32", "float16"):
        on, prefix = partial(subjects.on, "tiny", dtype), f"device/{dtype}"
        yield Check(f"{prefix}/side thread is used", on(side_thread))
        yield Check(f"{prefix}/side thread under load", on(side_thread_under_load, jobs))
        yield Check(f"{prefix}/previews", on(previews))
        yield Check(f"{prefix}/a row that is NaN", on(nan_row))
        yield Check(f"{prefix}/canceled on the device", on(canceled))
        yield Check(f"{prefix}/memory returns", on(memory_returns, 3))
        yield Check(f"{prefix}/inpaint", on(inpaint_rows))
        yield Check(f"{prefix}/reused features", on(reused_features))
        for name in ("tiny-house", "tiny-sdxl"):
            yield Check(f"{prefix}/{name}", subjects.on(name, dtype, family_rows))
