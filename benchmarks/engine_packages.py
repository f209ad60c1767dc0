"""The part of ``benchmarks.engine`` that measures packages of the built-in model beside torch and plain diffusers.

All take turns in every round, and each round begins with another, so that a slow minute does not hit one alone. The
first request is measured in processes of their own: the model and its package are read and one image is drawn, as a
worker does that has imported its libraries. The denoiser's share is that of the time of images alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from photogram_runtime.errors import PackageDamaged
from photogram_runtime.package import Package
from PIL.Image import Image

from benchmarks.engine_ways import (
    MIXED_SAMPLERS,
    Finished,
    Job,
    Way,
    alone,
    continuous,
    make_jobs,
    one_by_one,
    time_alone,
)
from benchmarks.gpu_pass.spans import Watch, WatchedDenoiser
from models.catalog.catalog import ModelSpec, house_spec
from models.deploy.packaging import digest_of_weights, modules_of
from models.deploy.proof import psnr_db
from models.deploy.serving import serve
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint

PLAIN, TORCH = "plain diffusers", "torch f32"
_ALONE = 4
"""How many images are drawn one after the other."""


@dataclass
class Subject:
    """What is measured: a checkpoint, as it is or with a package, in the engine or in the plain pipeline."""

    checkpoint: Checkpoint
    package: Package | None
    alone: Way
    mixed: Way
    alone_per_s: list[float] = field(default_factory=list)
    mixed_per_s: list[float] = field(default_factory=list)
    """Images per second of each round; those of all subjects belong together."""
    denoiser_shares: list[float] = field(default_factory=list)
    """The share of the time alone that the denoiser took."""
    first_s: list[tuple[float, float]] = field(default_factory=list)
    """Of each start: the seconds until the model could be used, and those of its first image."""
    images: dict[Job, Image] = field(default_factory=dict)
    """Of the mixed load, in the last round."""


def compared(folder: Path, targets: Sequence[str], count: int, load: float, rounds: int) -> str:
    """Measure, and give the markdown table.

    Args:
        folder: of a package store.
        targets: of the built-in model in it; empty for all.
        count: how many jobs the mixed load has.
        load: how many of them come in the time that plain diffusers takes for one.
        rounds: how often each is measured.

    Raises:
        PackageError: a package is missing, damaged, or cannot be used here.
    """
    store, spec = PackageStore(folder), house_spec()
    subjects = _subjects(spec, store, targets or store.targets(spec.name))
    gap_s = time_alone(subjects[TORCH].checkpoint) / load
    jobs = make_jobs(spec, count, gap_s, MIXED_SAMPLERS)
    loads, names = [], list(subjects)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _measure(name, subjects[name], jobs, folder)
            loads.append(os.getloadavg()[0])
        print(f"after {turn + 1} of {rounds} rounds:\n{table(subjects)}", file=sys.stderr, flush=True)
    said = f"{spec.name}, {torch.get_num_threads()} threads, {count} jobs, one every {gap_s:.3f} s, {rounds} rounds; "
    return f"{said}load average {min(loads):.1f} to {max(loads):.1f}\n\n{table(subjects)}"


def _subjects(spec: ModelSpec, store: PackageStore, targets: Sequence[str]) -> dict[str, Subject]:
    plain = load_checkpoint(spec, torch.device("cpu"))
    found = {PLAIN: Subject(plain, None, _all_at_once, one_by_one), TORCH: Subject(plain, None, alone, continuous)}
    for target in targets:
        found[target] = Subject(*_packaged(plain, store, target), alone, continuous)
    return found


def _packaged(checkpoint: Checkpoint, store: PackageStore, target: str) -> tuple[Checkpoint, Package]:
    """``checkpoint`` with a package, verified as a worker verifies it."""
    package = store.read(checkpoint.spec.name, target)
    if package.manifest["source"]["sha256"] != digest_of_weights(modules_of(checkpoint)):
        raise PackageDamaged(f"{target} was made of other weights")
    return serve(checkpoint, package, store.compiled), package


def _all_at_once(jobs: Sequence[Job], checkpoint: Checkpoint) -> Iterator[Finished]:
    return one_by_one([replace(job, arrival_s=0.0) for job in jobs], checkpoint)


def _measure(name: str, subject: Subject, jobs: Sequence[Job], folder: Path) -> None:
    watch, watched = Watch(subject.checkpoint.device), subject.checkpoint
    if name != PLAIN:
        watched = replace(watched, denoiser=WatchedDenoiser(watched.denoiser, watch))
    finished = list(subject.alone([_usual(job, watched.spec) for job in jobs[:_ALONE]], watched))
    subject.alone_per_s.append(_per_second(finished))
    if name != PLAIN:
        subject.denoiser_shares.append(watch.shares()["unet"])
        subject.first_s.append(_first("" if name == TORCH else name, folder))
    finished = list(subject.mixed(jobs, subject.checkpoint))
    subject.mixed_per_s.append(_per_second(finished))
    subject.images = {each.job: each.image for each in finished}


def _usual(job: Job, spec: ModelSpec) -> Job:
    defaults = spec.defaults
    return replace(job, params=replace(job.params, num_inference_steps=defaults.num_inference_steps,
                                       sampler=defaults.sampler))  # fmt: skip


def _per_second(finished: Sequence[Finished]) -> float:
    return len(finished) / _last_s(finished)


def _last_s(finished: Sequence[Finished]) -> float:
    return max(each.finished_s for each in finished)


def _first(target: str, folder: Path) -> tuple[float, float]:
    """See ``Subject.first_s``; measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.engine_packages", str(folder), target]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    ready_s, image_s = json.loads(ran.stdout.splitlines()[-1])
    return ready_s, image_s


def first_request(folder: Path, target: str) -> tuple[float, float]:
    """The seconds until the built-in model can be used, and those of its first image; ``target`` is empty for torch."""
    began_at = time.perf_counter()
    checkpoint = load_checkpoint(house_spec(), torch.device("cpu"))
    if target:
        checkpoint, _ = _packaged(checkpoint, PackageStore(folder), target)
    ready_s = time.perf_counter() - began_at
    (job,) = make_jobs(checkpoint.spec, 1, 0.0, MIXED_SAMPLERS)
    return ready_s, _last_s(list(alone([_usual(job, checkpoint.spec)], checkpoint)))


def table(subjects: Mapping[str, Subject]) -> str:
    """The rows of all subjects, by medians; a ratio is the median of those of the rounds."""
    heads = ("", "alone, images/s", "mixed load, images/s", "beside plain diffusers", "denoiser's share",
             "first request, s", "package", "lowest PSNR")  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    base = subjects[PLAIN].mixed_per_s
    for name, each in subjects.items():
        ratios = [found / plain for found, plain in zip(each.mixed_per_s, base, strict=True)]
        cells = (
            name, _median(each.alone_per_s, "{:.2f}"), _median(each.mixed_per_s, "{:.2f}"),
            f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
            _median(each.denoiser_shares, "{:.0%}"), _first_cell(each.first_s), _size_cell(each.package),
            _psnr_cell(each.images, subjects[PLAIN].images) if name != PLAIN else "",
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _median(values: Sequence[float], form: str) -> str:
    return form.format(statistics.median(values)) if values else ""


def _first_cell(starts: Sequence[tuple[float, float]]) -> str:
    if not starts:
        return ""
    readies, images = zip(*starts, strict=True)
    whole = statistics.median(sum(each) for each in starts)
    ready, image = statistics.median(readies), statistics.median(images)
    return f"{whole:.1f} (ready {ready:.1f}, image {image:.1f})"


def _size_cell(package: Package | None) -> str:
    if package is None:
        return ""
    return f"{sum(each['bytes'] for each in package.manifest['files'].values()) / 1e6:.0f} MB"


def _psnr_cell(images: Mapping[Job, Image], expected: Mapping[Job, Image]) -> str:
    """The lowest of all images, against those of plain diffusers."""
    return f"{min(psnr_db(expected[job], image) for job, image in images.items()):.0f} dB"


if __name__ == "__main__":
    print(json.dumps(first_request(Path(sys.argv[1]), sys.argv[2])))
