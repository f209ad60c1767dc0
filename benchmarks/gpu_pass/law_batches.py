"""The law bit by bit: with the same batch size and place in the batch, other neighbours do not change the latents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from benchmarks.gpu_pass.driving import verdict
from benchmarks.gpu_pass.images import Difference
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check, describe_error
from benchmarks.gpu_pass.subjects import Subject, Subjects
from benchmarks.gpu_pass.surface import DenoisingToImage, decode_one, prepare_denoising, run_to_the_end

BATCH, PLACE = 4, 2
SIZES = (2, 4, 8)


def _row(subject: Subject, sampler: str) -> DenoisingToImage:
    """The row that is compared."""
    params = subject.params(sampler=sampler, seed=7, prompt="a cat", num_inference_steps=4)
    return prepare_denoising(subject.checkpoint, params)


def _neighbour(subject: Subject, sampler: str, seed: int) -> DenoisingToImage:
    """Another row with the same number of steps, so that the batch keeps its size until the end."""
    params = subject.params(
        sampler=sampler, seed=seed, prompt=f"neighbour {seed}", guidance_scale=2.0 + seed % 5, num_inference_steps=4
    )
    return prepare_denoising(subject.checkpoint, params)


def _drawn_at(subject: Subject, sampler: str, size: int, place: int, first_seed: int) -> DenoisingToImage:
    """The compared row after its last step, drawn at ``place`` in a batch of ``size``."""
    row = _row(subject, sampler)
    batch = [_neighbour(subject, sampler, first_seed + number) for number in range(size)]
    batch[place] = row
    run_to_the_end(batch)
    return row


def same_bits(subject: Subject, samplers: Sequence[str]) -> Outcome:
    """Latents are bitwise equal with three sets of neighbours; a run that is not repeatable is reported as such."""
    unequal: dict[str, str] = {}
    for sampler in samplers:
        try:
            first, again, *others = (_drawn_at(subject, sampler, BATCH, PLACE, seed) for seed in (20, 20, 40, 60))
        except Exception as error:
            unequal[sampler] = describe_error(error)
            continue
        if not torch.equal(first.latents, again.latents):
            unequal[sampler] = f"not repeatable with the same neighbours: off by {_off(first, again):.3g}"
        elif not all(torch.equal(first.latents, other.latents) for other in others):
            unequal[sampler] = f"off by {max(_off(first, other) for other in others):.3g}"
    figures = {"equal": len(samplers) - len(unequal), "of": len(samplers)}
    return Outcome(not unequal, figures, "; ".join(f"{name}: {text}" for name, text in unequal.items()))


def _off(first: DenoisingToImage, second: DenoisingToImage) -> float:
    return float((first.latents.float() - second.latents.float()).abs().max())


def across_sizes(subject: Subject, samplers: Sequence[str]) -> Outcome:
    """Compare a row's image alone with its image in larger batches."""
    differences: dict[str, Difference] = {}
    problems: dict[str, str] = {}
    for sampler in samplers:
        try:
            alone = decode_one(_drawn_at(subject, sampler, 1, 0, 20))
            for size in SIZES:
                image = decode_one(_drawn_at(subject, sampler, size, size // 2, 20))
                differences[f"{sampler} 1:{size}"] = Difference.between(alone, image)
        except Exception as error:
            problems[sampler] = describe_error(error)
    return verdict(subject.dtype, differences, problems)


def checks(subjects: Subjects, name: str, dtype: str, samplers: Sequence[str]) -> Iterator[Check]:
    """Both checks with one model in one dtype."""
    few = [each for each in samplers if each in ("Euler", "Euler a", "DPM++ 2M Karras")]
    prefix = f"{name}/{dtype}"
    yield Check(f"{prefix}/same size and place: bitwise", subjects.on(name, dtype, same_bits, samplers))
    yield Check(f"{prefix}/across batch sizes", subjects.on(name, dtype, across_sizes, few))
