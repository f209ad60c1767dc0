"""Deploying a diffusion model: images are drawn and recorded on torch, and drawn again with what was exported."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from photogram_runtime.package import Package
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.deploy.combinations import stored_name
from models.deploy.descriptions import drawing_description
from models.deploy.exporting import Unexportable
from models.deploy.names import DRAWING
from models.deploy.packaging import Progress, Subject, Target, Tell, differences, modules_of, open_graphs
from models.deploy.parts import ModelPart, parts_of
from models.deploy.profiling import ROUNDS, profile, profiles
from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, TORCH
from models.deploy.proof import ImageDifference, Verdict, judge, psnr_db, ssim
from models.deploy.recipes import Recipe, draw, recipes_of
from models.deploy.recording import Call, Recorder, recording
from models.deploy.serving import attached
from models.deploy.sheet import comparison_sheet
from models.deploy.store import SHEET
from models.diffusion.checkpoint import Checkpoint
from models.eyes.encoders import image_encoder, text_encoder
from models.jobs.params import LoraUse


@dataclass(frozen=True)
class RecordedDrawing:
    """A run on torch, which is a :class:`models.deploy.making.Recorded`: images, and the calls of all parts."""

    checkpoint: Checkpoint
    catalog: Catalog
    recipes: Sequence[Recipe]
    parts: Sequence[ModelPart]
    calls: Mapping[str, Sequence[Call]]
    images: Sequence[Image]
    loras: Sequence[LoraUse] = ()

    @cached_property
    def subject(self) -> Subject:
        """See :class:`Recorded`."""
        spec, modules = self.checkpoint.spec, modules_of(self.checkpoint)
        name, base = stored_name(spec.name, self.loras), spec.name if self.loras else None
        return Subject(
            name, spec.family, DRAWING, spec.licence, self.checkpoint.device, modules, base=base, loras=self.loras
        )

    def described(self, folder: Path) -> dict[str, Any] | None:
        """See :class:`Recorded`."""
        return drawing_description(self.checkpoint, folder)

    def checked(self, package: Package, tell: Tell) -> dict[str, Any]:
        """See :class:`Recorded`."""
        verdict, sheet = self.compared(package, tell)
        sheet.save(package.folder / SHEET)
        return verdict.document()

    def compared(self, package: Package, tell: Tell) -> tuple[Verdict, Image]:
        """The verdict over ``package``, and the comparison sheet."""
        graphs = open_graphs(package)
        parts = differences(graphs, self.calls, tell)
        deployed = attached(self.checkpoint, package, graphs)
        found = draw(self.recipes, self.catalog, deployed, lambda done, total: tell(Progress("drawing", done, total)))
        judged = [number for number, each in enumerate(self.recipes) if each.is_judged]
        images = [_compared(self.recipes[number], self.images[number], found[number]) for number in judged]
        sheet = comparison_sheet([self.images[each] for each in judged], [found[each] for each in judged], images)
        return judge(package.precision, parts, images), sheet

    def measured(self, packages: Mapping[str, Package], tell: Tell) -> dict[str, dict[str, Any]]:
        """See :class:`Recorded`."""
        return measured(self.checkpoint, self.catalog, packages, self.recipes[0], ROUNDS, tell)


def record(
    checkpoint: Checkpoint, catalog: Catalog, target: Target, tell: Tell, loras: Sequence[LoraUse] = ()
) -> RecordedDrawing:
    """Draw the recipes of ``checkpoint`` on torch, and record the calls of its parts.

    Args:
        checkpoint: in float32 on the CPU, with the backend that the server uses without a package.
        catalog: the catalog that has the model.
        target: its backend and its precision do not matter: one recording serves all.
        loras: that ``checkpoint`` has.

    Raises:
        Unexportable: the model does not have a part of ``target``.
        InvalidTicket, NotDrawn: the model does not take so few or so many steps; an image cannot be drawn.
    """
    recipes = _recipes(checkpoint, catalog, target.steps, target.shapes)
    recorder, plain = Recorder(), _on_torch(checkpoint)
    parts = [each for each in parts_of(plain.family, plain.pipeline) if not target.parts or each.name in target.parts]
    missing = set(target.parts) - {each.name for each in parts}
    if missing:
        raise Unexportable(f"the model has no part {', '.join(sorted(missing))}")
    with recording(parts, recorder):
        images = draw(recipes, catalog, plain, lambda done, total: tell(Progress("recording", done, total)))
    called = [each for each in parts if recorder.has(each.name)]
    calls = {each.name: recorder.calls(each.name) for each in called}
    return RecordedDrawing(checkpoint, catalog, recipes, called, calls, images, loras)


def check(checkpoint: Checkpoint, catalog: Catalog, package: Package, tell: Tell) -> dict[str, Any]:
    """Record once more, and compare ``package`` as it is; the checks as ``deploy.json`` has them. Nothing is written.

    Raises:
        PackageError: a graph cannot be opened here.
        NotDrawn: an image cannot be drawn.
    """
    steps, shapes = package.manifest.get("steps"), package.manifest.get("shapes", ())
    target = Target(
        package.backend, package.precision, steps, tuple(package.parts), tuple((int(w), int(h)) for w, h in shapes)
    )
    return record(checkpoint, catalog, target, tell).compared(package, tell)[0].document()


def measure(
    checkpoint: Checkpoint, catalog: Catalog, package: Package, rounds: int, steps: int | None, tell: Tell
) -> dict[str, Any]:
    """The speed of ``package`` beside torch and beside what the server uses without it.

    Raises:
        PackageError: a graph cannot be opened here.
        InvalidTicket, NotDrawn: the model does not take so few or so many steps; an image cannot be drawn.
    """
    recipe = _recipes(checkpoint, catalog, steps)[0]
    return measured(checkpoint, catalog, {DEPLOYED: package}, recipe, rounds, tell)[DEPLOYED]


def measured(
    checkpoint: Checkpoint, catalog: Catalog, packages: Mapping[str, Package], recipe: Recipe, rounds: int, tell: Tell
) -> dict[str, dict[str, Any]]:
    """The speed of each of ``packages``, all in turns; see :func:`measure`."""
    subjects, load_s = {TORCH: _on_torch(checkpoint), BUILT_IN: checkpoint}, {}
    for name, package in packages.items():
        began_at = time.perf_counter()
        subjects[name] = attached(checkpoint, package, open_graphs(package))
        load_s[name] = time.perf_counter() - began_at
    common, figures = profile(
        subjects, catalog, recipe, rounds, lambda done, total: tell(Progress("measuring", done, total))
    )
    return profiles(common, figures, (TORCH, BUILT_IN), load_s)


def _recipes(
    checkpoint: Checkpoint, catalog: Catalog, steps: int | None, shapes: Sequence[tuple[int, int]] = ()
) -> list[Recipe]:
    return recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), steps, shapes)


def _on_torch(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, denoiser=checkpoint.eager, deployed=None)


def _compared(recipe: Recipe, expected: Image, found: Image) -> ImageDifference:
    seen, of_torch = (_score(each, recipe.params.prompt) for each in (found, expected))
    return ImageDifference(recipe.title, psnr_db(expected, found), ssim(expected, found), seen, of_torch)


def _score(image: Image, prompt: str) -> float:
    """How well ``image`` fits ``prompt``, from -1 to 1, as the built-in vision model sees it."""
    return float(image_encoder().encode(image) @ text_encoder().encode([prompt])[0])
