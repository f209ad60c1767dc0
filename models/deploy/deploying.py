"""Deploying a diffusion model: draw and record, export each part, check everything, and publish the package."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from photogram_runtime.package import Package, read_package, write_manifest
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.deploy.backends import check_target
from models.deploy.descriptions import drawing_description
from models.deploy.exporting import Unexportable
from models.deploy.packaging import (
    Progress,
    Subject,
    Target,
    Tell,
    differences,
    export_parts,
    manifest_of,
    modules_of,
    open_graphs,
)
from models.deploy.parts import ModelPart, parts_of
from models.deploy.profiling import profile
from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, TORCH
from models.deploy.proof import ImageDifference, Verdict, judge, psnr_db, ssim
from models.deploy.recipes import Recipe, draw, recipes_of
from models.deploy.recording import Call, Recorder, recording
from models.deploy.serving import attached
from models.deploy.sheet import comparison_sheet
from models.deploy.store import SHEET, PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.eyes.encoders import image_encoder, text_encoder

KIND = "drawing"
_ROUNDS = 3


def deploy(
    checkpoint: Checkpoint, catalog: Catalog, target: Target, store: PackageStore, *, is_forced: bool, tell: Tell
) -> Package:
    """Make the package of ``checkpoint`` for ``target`` and publish it, whether it passes its checks or not.

    Args:
        checkpoint: in float32 on the CPU, with the backend that the server uses without a package.
        catalog: the catalog that has the model.
        is_forced: whether it is served even if it does not pass.

    Raises:
        UnknownTarget, Missing: the target cannot be had here.
        Unexportable: a part cannot be exported.
        Busy: another process is making the same package.
        JobFailure, OSError: an image cannot be drawn; the disk is full.
    """
    backend, spec = check_target(target.backend, target.precision), checkpoint.spec
    recipes = _recipes(checkpoint, catalog, target.steps)
    with store.writing(spec.name, target.name) as folder:
        recorded = _Recorded.of(checkpoint, catalog, recipes, target, tell)
        parts = export_parts(recorded.parts, recorded.calls, spec.family, target, backend, folder, tell)
        subject = Subject(spec.name, spec.family, KIND, spec.licence, checkpoint.device, modules_of(checkpoint))
        manifest = manifest_of(subject, target, parts, backend)
        description = drawing_description(checkpoint, folder)
        if description is not None:
            manifest[KIND] = description
        write_manifest(folder, manifest)
        package = read_package(folder)
        verdict, sheet = _compared_with(checkpoint, catalog, package, recorded, recipes, tell)
        sheet.save(folder / SHEET)
        manifest["checks"] = verdict.document() | {"forced": is_forced}
        manifest["profile"] = measured(checkpoint, catalog, package, _ROUNDS, target.steps, tell)
        write_manifest(folder, manifest)
    return read_package(store.place(spec.name, target.name))


@dataclass(frozen=True)
class _Recorded:
    """The run on torch."""

    parts: Sequence[ModelPart]
    calls: dict[str, list[Call]]
    images: Sequence[Image]

    @classmethod
    def of(
        cls, checkpoint: Checkpoint, catalog: Catalog, recipes: Sequence[Recipe], target: Target, tell: Tell
    ) -> _Recorded:
        recorder = Recorder()
        plain = _on_torch(checkpoint)
        parts = [
            each for each in parts_of(plain.family, plain.pipeline) if not target.parts or each.name in target.parts
        ]
        missing = set(target.parts) - {each.name for each in parts}
        if missing:
            raise Unexportable(f"the model has no part {', '.join(sorted(missing))}")
        with recording(parts, recorder):
            images = draw(recipes, catalog, plain, lambda done, total: tell(Progress("recording", done, total)))
        called = [each for each in parts if recorder.has(each.name)]
        return cls(called, {each.name: recorder.calls(each.name) for each in called}, images)


def check(checkpoint: Checkpoint, catalog: Catalog, package: Package, tell: Tell) -> dict[str, Any]:
    """Record once more, and compare ``package`` as it is; the checks as ``deploy.json`` has them. Nothing is written.

    Raises:
        PackageError: a graph cannot be opened here.
        JobFailure: an image cannot be drawn.
    """
    recipes = _recipes(checkpoint, catalog, package.manifest.get("steps"))
    target = Target(package.backend, package.precision, parts=tuple(package.parts))
    recorded = _Recorded.of(checkpoint, catalog, recipes, target, tell)
    return _compared_with(checkpoint, catalog, package, recorded, recipes, tell)[0].document()


def measured(
    checkpoint: Checkpoint, catalog: Catalog, package: Package, rounds: int, steps: int | None, tell: Tell
) -> dict[str, Any]:
    """The speed of ``package`` beside torch and beside what the server uses without it.

    Raises:
        PackageError: a graph cannot be opened here.
        InvalidTicket, JobFailure: the model does not take so few or so many steps; an image cannot be drawn.
    """
    began_at = time.perf_counter()
    deployed = attached(checkpoint, package, open_graphs(package))
    load_s = time.perf_counter() - began_at
    recipe = _recipes(checkpoint, catalog, steps)[0]
    figures = profile(
        {TORCH: _on_torch(checkpoint), BUILT_IN: checkpoint, DEPLOYED: deployed}, catalog, recipe, rounds,
        told=lambda done, total: tell(Progress("measuring", done, total)),
    )  # fmt: skip
    return figures | {"load_s": round(load_s, 3)}


def _recipes(checkpoint: Checkpoint, catalog: Catalog, steps: int | None) -> list[Recipe]:
    return recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), steps)


def _compared_with(
    checkpoint: Checkpoint,
    catalog: Catalog,
    package: Package,
    recorded: _Recorded,
    recipes: Sequence[Recipe],
    tell: Tell,
) -> tuple[Verdict, Image]:
    """The verdict over ``package``, and the comparison sheet."""
    graphs = open_graphs(package)
    parts = differences(graphs, recorded.calls, tell)
    deployed = attached(checkpoint, package, graphs)
    found = draw(recipes, catalog, deployed, lambda done, total: tell(Progress("drawing", done, total)))
    judged = [number for number, each in enumerate(recipes) if each.is_judged]
    images = [_compared(recipes[number], recorded.images[number], found[number]) for number in judged]
    sheet = comparison_sheet([recorded.images[each] for each in judged], [found[each] for each in judged], images)
    return judge(package.precision, parts, images), sheet


def _on_torch(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, denoiser=checkpoint.eager, deployed=None)


def _compared(recipe: Recipe, expected: Image, found: Image) -> ImageDifference:
    seen, of_torch = (_score(each, recipe.params.prompt) for each in (found, expected))
    return ImageDifference(recipe.title, psnr_db(expected, found), ssim(expected, found), seen, of_torch)


def _score(image: Image, prompt: str) -> float:
    """How well ``image`` fits ``prompt``, from -1 to 1, as the built-in vision model sees it."""
    return float(image_encoder().encode(image) @ text_encoder().encode([prompt])[0])
