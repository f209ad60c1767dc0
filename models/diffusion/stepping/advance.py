"""One step of each image of a batch: together where the schedulers' steps are of one family, otherwise one by one."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from models.diffusion.denoising import Denoising
from models.diffusion.failures import attempt
from models.diffusion.stepping.family import Stack, StepFamily
from models.diffusion.stepping.guidance import guide
from models.diffusion.stepping.transfer import send, send_noise
from models.errors import JobFailure


@dataclass(eq=False)
class _Row:
    """One image of the batch, and what becomes of it."""

    denoising: Denoising
    prediction: torch.Tensor
    """[1, C, h, w], after guidance."""
    failure: JobFailure | None = None

    def step_by_scheduler(self) -> None:
        self.failure = attempt(partial(self.denoising.step_by_scheduler, self.prediction))

    def move_to(self, latents: torch.Tensor) -> None:
        self.failure = attempt(partial(self.denoising.move_to, latents))


def advance(batch: Sequence[Denoising], outputs: Sequence[torch.Tensor]) -> list[JobFailure | None]:
    """Take one step of each image in ``batch`` with the model's output [inputs, C, h, w] for it.

    Returns each image's failure, or ``None``. If a computation for several images fails, each of them steps alone.
    """
    predictions = _predictions(batch, outputs)
    rows = [
        prediction if isinstance(prediction, JobFailure) else _Row(denoising, prediction)
        for denoising, prediction in zip(batch, predictions, strict=True)
    ]
    for group in _groups([row for row in rows if isinstance(row, _Row)]):
        if len(group) == 1 or isinstance(attempt(partial(_step_together, group)), JobFailure):
            for row in group:
                row.step_by_scheduler()
    return [row.failure if isinstance(row, _Row) else row for row in rows]


def _predictions(batch: Sequence[Denoising], outputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor | JobFailure]:
    """The prediction [1, C, h, w] of each image, or its failure."""
    if len(batch) > 1:
        together = attempt(lambda: guide(outputs, [each.output_weights for each in batch]))
        if not isinstance(together, JobFailure):
            return list(together.split(1))
    return [attempt(partial(each.guide, output)) for each, output in zip(batch, outputs, strict=True)]


def _groups(rows: Sequence[_Row]) -> list[list[_Row]]:
    """The rows that step together; a row that must step alone is a group of its own."""
    groups: dict[Hashable, list[_Row]] = {}
    for row in rows:
        key = attempt(partial(_group_key, row))
        groups.setdefault(row if isinstance(key, JobFailure) else key, []).append(row)
    return list(groups.values())


def _group_key(row: _Row) -> Hashable:
    """Equal for rows whose next steps are one formula; no family knows the option ``eta``."""
    scheduler, family = row.denoising.scheduler, row.denoising.table.family
    if family is None or row.denoising.options.get("eta"):
        return row
    return family, scheduler.config.get("prediction_type"), family.variant(scheduler), family.adds_noise(scheduler)


def _step_together(rows: Sequence[_Row]) -> None:
    """Step all of ``rows``, which have one group key. An exception leaves them as they were."""
    denoisings = [row.denoising for row in rows]
    family = denoisings[0].table.family
    assert family is not None
    coefficients = [each.table.coefficients(each.scheduler, each.timestep_numbers[each.step]) for each in denoisings]
    with _restored_generators(denoisings if family.adds_noise(denoisings[0].scheduler) else ()):
        latents, *kept = family.step(_stack(family, rows, coefficients))
    parts = zip(rows, coefficients, latents.split(1), *(each.split(1) for each in kept), strict=True)
    for row, used, following, *state in parts:
        family.commit(row.denoising.scheduler, used, state)
        row.move_to(following)


def _stack(family: StepFamily, rows: Sequence[_Row], coefficients: Sequence[tuple[float, ...]]) -> Stack:
    latents = torch.cat([row.denoising.latents for row in rows])
    schedulers = [row.denoising.scheduler for row in rows]
    ones = [1] * (latents.dim() - 1)
    columns = send(list(zip(*coefficients, strict=True)), torch.float32, latents.device)
    noise = None
    if family.adds_noise(schedulers[0]):
        generators = [row.denoising.options["generator"] for row in rows]
        noise = send_noise(generators, latents.shape[1:], family.noise_dtype or latents.dtype, latents.device)
    return Stack(
        schedulers=schedulers,
        prediction_type=schedulers[0].config.get("prediction_type"),
        latents=latents,
        prediction=torch.cat([row.prediction for row in rows]),
        columns=columns.view(*columns.shape, *ones).unbind(),
        noise=noise,
    )


@contextmanager
def _restored_generators(denoisings: Sequence[Denoising]) -> Iterator[None]:
    """Take back the random numbers that were drawn within, if an exception leaves it."""
    generators = [each.options["generator"] for each in denoisings]
    states = [each.get_state() for each in generators]
    try:
        yield
    except BaseException:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
        raise
