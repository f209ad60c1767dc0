"""Deploying a diffusion model: draw and record, export each part, check everything, and publish the package."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.graphs import Graph, open_graph
from photogram_runtime.package import Package, Port, read_package, write_manifest
from PIL.Image import Image

from models.catalog.catalog import Catalog
from models.deploy.backends import check_target
from models.deploy.exporting import Unexportable, trace
from models.deploy.parts import ModelPart, parts_of
from models.deploy.profiling import profile
from models.deploy.profiling_keys import BUILT_IN, DEPLOYED, TORCH
from models.deploy.proof import ImageDifference, PartDifference, Verdict, judge, psnr_db, ssim
from models.deploy.recipes import Recipe, draw, recipes_of
from models.deploy.recording import Call, Recorder, recording
from models.deploy.serving import attached
from models.deploy.sheet import comparison_sheet
from models.deploy.source import source_digest
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.eyes.encoders import image_encoder, text_encoder

SHEET = "comparison.png"
_ROUNDS = 3
_TOOLS = ("torch", "diffusers", "transformers", "timm", "onnx", "onnxscript", "nncf", "openvino", "onnxruntime")


@dataclass(frozen=True)
class Progress:
    """What a deployment is doing."""

    stage: str
    """``recording``, ``exporting``, ``checking``, ``drawing`` or ``measuring``."""
    done: int
    total: int
    detail: str = ""


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Target:
    """What is made of a model."""

    backend: str
    precision: str
    steps: int | None = None
    """Of each image that is drawn for recording and for the checks; ``None`` takes the model's default."""
    parts: tuple[str, ...] = ()
    """The parts that are exported; empty for all."""

    @property
    def name(self) -> str:
        """As packages are called."""
        return f"{self.backend}-{self.precision}"


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
    backend = check_target(target.backend, target.precision)
    spec = checkpoint.spec
    recipes = _recipes(checkpoint, catalog, target.steps)
    recorded = _Recorded.of(checkpoint, catalog, recipes, target, tell)
    with store.writing(spec.name, target.name) as folder:
        build, written = backend.build(), {}
        for number, part in enumerate(recorded.parts):
            tell(Progress("exporting", number, len(recorded.parts), part.name))
            exported = trace(part, recorded.calls[part.name], spec.family, target.backend)
            file = build(exported, spec.family, target.precision, folder)
            written[part.name] = _written(file, exported.inputs, exported.outputs, recorded.calls[part.name][0])
        manifest = _manifest(checkpoint, target, written, backend.packages)
        write_manifest(folder, manifest)
        package = read_package(folder)
        verdict, sheet = _compared_with(checkpoint, catalog, package, recorded, recipes, tell)
        sheet.save(folder / SHEET)
        figures = measured(checkpoint, catalog, package, _ROUNDS, target.steps, tell)
        checks = verdict.document() | {"forced": is_forced}
        write_manifest(folder, manifest | {"checks": checks, "profile": figures})
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
    deployed = attached(checkpoint, package, _opened(package))
    load_s = time.perf_counter() - began_at
    recipe = _recipes(checkpoint, catalog, steps)[0]
    figures = profile(
        {TORCH: _on_torch(checkpoint), BUILT_IN: checkpoint, DEPLOYED: deployed}, catalog, recipe, rounds,
        told=lambda done, total: tell(Progress("measuring", done, total)),
    )  # fmt: skip
    return figures | {"load_s": round(load_s, 3)}


def _recipes(checkpoint: Checkpoint, catalog: Catalog, steps: int | None) -> list[Recipe]:
    return recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), steps)


def _opened(package: Package) -> dict[str, Graph]:
    return {name: open_graph(package, part, torch.get_num_threads()) for name, part in package.parts.items()}


def _compared_with(
    checkpoint: Checkpoint,
    catalog: Catalog,
    package: Package,
    recorded: _Recorded,
    recipes: Sequence[Recipe],
    tell: Tell,
) -> tuple[Verdict, Image]:
    """The verdict over ``package``, and the comparison sheet."""
    graphs = _opened(package)
    differences: dict[str, PartDifference] = {}
    for number, (name, graph) in enumerate(graphs.items()):
        tell(Progress("checking", number, len(graphs), name))
        differences[name] = PartDifference.of(graph, recorded.calls[name])
    deployed = attached(checkpoint, package, graphs)
    found = draw(recipes, catalog, deployed, lambda done, total: tell(Progress("drawing", done, total)))
    judged = [number for number, each in enumerate(recipes) if each.is_judged]
    images = [_compared(recipes[number], recorded.images[number], found[number]) for number in judged]
    sheet = comparison_sheet([recorded.images[each] for each in judged], [found[each] for each in judged], images)
    return judge(package.precision, differences, images), sheet


def _on_torch(checkpoint: Checkpoint) -> Checkpoint:
    return replace(checkpoint, denoiser=checkpoint.eager, deployed=None)


def _compared(recipe: Recipe, expected: Image, found: Image) -> ImageDifference:
    seen, of_torch = (_score(each, recipe.params.prompt) for each in (found, expected))
    return ImageDifference(recipe.title, psnr_db(expected, found), ssim(expected, found), seen, of_torch)


def _score(image: Image, prompt: str) -> float:
    """How well ``image`` fits ``prompt``, from -1 to 1, as the built-in vision model sees it."""
    return float(image_encoder().encode(image) @ text_encoder().encode([prompt])[0])


def _written(file: str, inputs: Sequence[Port], outputs: Sequence[Port], call: Call) -> dict[str, Any]:
    return {
        "file": file,
        "inputs": [asdict(each) for each in inputs],
        "outputs": [asdict(each) for each in outputs],
        "call": {"arguments": call.call_form, "result": call.result_form},
    }


def _manifest(checkpoint: Checkpoint, target: Target, parts: dict[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    spec = checkpoint.spec
    return {
        "model": spec.name, "family": spec.family, "kind": "drawing", "backend": target.backend,
        "precision": target.precision, "steps": target.steps, "parts": parts,
        "source": {"sha256": source_digest(checkpoint)},
        "versions": {name: found for name in _TOOLS if (found := _version(name)) is not None},
        "requires": {name: version(name) for name in packages},
        "device": {"type": checkpoint.device.type, "machine": platform.machine(), "processor": _processor()},
        "licence": spec.licence, "made_at": round(time.time()), "checks": {}, "profile": {},
    }  # fmt: skip


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
