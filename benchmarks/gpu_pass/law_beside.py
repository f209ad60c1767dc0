"""The law for other work on the device: upscaling and seeing, alone and beside rows that are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Image

from benchmarks.gpu_pass.driving import FLOAT32_WORST, Ended, draw, drive, verdict
from benchmarks.gpu_pass.images import Difference, photo
from benchmarks.gpu_pass.law_weights import rows_of
from benchmarks.gpu_pass.report import Outcome
from benchmarks.gpu_pass.running import Check
from benchmarks.gpu_pass.subjects import Subject, Subjects
from benchmarks.gpu_pass.surface import (
    PSNR_DB,
    Engine,
    Upscaling,
    add_row,
    add_seeing,
    add_upscaling,
    load_upscaler,
    open_bare_engine,
    open_engine,
)
from tests.models.diffusion.upscaling.tiny_upscalers import TINY_UPSCALERS, noise, write

CPU = torch.device("cpu")
TILE_PX, OVERLAP_PX = 64, 24
SEEING_BOUND = 1e-3
"""The largest difference of a number of an embedding of length 1, and of a similarity."""
CAP_S = 20.0


def weights_of(subjects: Subjects, architecture: str) -> Path:
    """The file of a tiny upscaler with random weights, whose pixels span their range."""
    path = subjects.folder(f"{architecture}.safetensors")
    if not path.exists():
        write(lambda: _stretched(TINY_UPSCALERS[architecture][0]()), path)
    return path


@torch.no_grad()
def _stretched(model: torch.nn.Module) -> torch.nn.Module:
    """Scale the last layer, or all pixels would be nearly the same."""
    last = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)][-1]
    pixels = model.eval()(torch.rand(1, 3, 64, 64))
    gain = 0.25 / float(pixels.std())
    last.weight.mul_(gain)
    if last.bias is not None:
        last.bias.mul_(gain)
    return model


def tiles(subjects: Subjects, architecture: str) -> Outcome:
    """An image enlarged in tiles on the device is the one that the CPU makes."""
    path, image = weights_of(subjects, architecture), noise(147, 131)
    images = {device: _enlarged(path, image, device) for device in (CPU, subjects.device)}
    return verdict("float32", {architecture: Difference.between(images[CPU], images[subjects.device])}, {})


@torch.inference_mode()
def _enlarged(path: Path, image: Image, device: torch.device) -> Image:
    upscaler = replace(load_upscaler(path, device, torch.float32), tile_px=TILE_PX, overlap_px=OVERLAP_PX)
    job = Upscaling(image, upscaler.scale, upscaler)
    while not job.is_done:
        (output,) = job.forward([job])
        if not isinstance(output, torch.Tensor):
            raise output
        job.take_step(output)
    return job.image()


def upscaling_beside(subject: Subject, subjects: Subjects) -> Outcome:
    """Images that are enlarged beside rows are those of the CPU; on a GPU the upscalers compute in 16 bits."""
    sources = {"ESRGAN": photo(96), "Compact": noise(80, 64)}

    def add(engine: Engine) -> None:
        for name, image in sources.items():
            add_upscaling(engine, name, weights_of(subjects, name), image, TINY_UPSCALERS[name][1])

    found, expected = _beside(subject, add), _on_the_cpu(add)
    problems = {**found.failures, **expected.failures, **_changed_rows(subject, found)}
    dtype = "float16" if subjects.device.type == "cuda" else "float32"
    both = [name for name in sources if name in expected.images and name in found.images]
    differences = {name: Difference.between(expected.images[name], found.images[name]) for name in both}
    return verdict(dtype, differences, problems)


def seeing_beside(subject: Subject) -> Outcome:
    """What the built-in vision model sees beside rows is what it sees on the CPU."""

    def add(engine: Engine) -> None:
        images = [photo(96), noise(80, 64), photo(48)]
        for number, image in enumerate(images):
            add_seeing(engine, f"embed {number}", [image])
        add_seeing(engine, "similarity", images, ["a cat", "two boats at sea"])

    found, expected = _beside(subject, add), _on_the_cpu(add)
    problems = {**found.failures, **expected.failures, **_changed_rows(subject, found)}
    numbers = {name: list(_numbers(document)) for name, document in found.documents.items()}
    wanted = {name: list(_numbers(document)) for name, document in expected.documents.items()}
    off = {
        name: max(abs(one - other) for one, other in zip(numbers.get(name, []), each, strict=True))
        for name, each in wanted.items()
    }
    worst = max(off.values(), default=-1.0)
    figures = {"worst": worst, "bound": SEEING_BOUND, "documents": off}
    passed = len(off) == 4 and worst <= SEEING_BOUND and not problems
    return Outcome(passed, figures, "; ".join(f"{name}: {problem}" for name, problem in problems.items()))


def _beside(subject: Subject, add: Callable[[Engine], None]) -> Ended:
    """Draw rows, and the jobs that ``add`` adds beside them."""
    with open_engine(subject.checkpoint, 8) as engine:
        for row_id, (kind, params) in rows_of(subject).items():
            add_row(engine, row_id, subject.checkpoint, params, kind)
        add(engine)
        return drive(engine, Ended())


def _on_the_cpu(add: Callable[[Engine], None]) -> Ended:
    with open_bare_engine(CPU) as engine:
        add(engine)
        return drive(engine, Ended())


def _changed_rows(subject: Subject, ended: Ended) -> Mapping[str, str]:
    """The rows whose images differ from those that are drawn without other jobs, by more than batches change them."""
    with open_engine(subject.checkpoint, 8) as engine:
        expected = draw(engine, subject, rows_of(subject)).images
    problems = {row_id: "no image" for row_id in expected.keys() - ended.images.keys()}
    for row_id in expected.keys() & ended.images.keys():
        off = Difference.between(expected[row_id], ended.images[row_id])
        if not (off.worst <= FLOAT32_WORST or off.psnr_db >= PSNR_DB.get(subject.dtype, math.inf)):
            problems[row_id] = f"changed: {off}"
    return problems


def _numbers(document: Any) -> Iterator[float]:
    """All numbers in ``document``, in their order."""
    if isinstance(document, Mapping):
        for name in sorted(document):
            yield from _numbers(document[name])
    elif isinstance(document, list | tuple):
        for each in document:
            yield from _numbers(each)
    elif isinstance(document, float | int):
        yield float(document)


def checks(subjects: Subjects, dtypes: tuple[str, ...]) -> Iterator[Check]:
    """Upscaling in tiles, and both kinds of work beside rows."""
    for architecture in TINY_UPSCALERS:
        yield Check(f"new/upscaling in tiles, {architecture}", partial(tiles, subjects, architecture), CAP_S)
    for dtype in dtypes:
        yield Check(f"new/{dtype}/upscaling beside rows", subjects.on("tiny", dtype, upscaling_beside, subjects), CAP_S)
        yield Check(f"new/{dtype}/seeing beside rows", subjects.on("tiny", dtype, seeing_beside), CAP_S)
