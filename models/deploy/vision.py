"""Deploying a vision model of timm, and seeing with its package: one graph, from pixels to all that jobs read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package, read_package, require_usable, write_manifest
from torch import nn

from models.deploy.backends import check_target
from models.deploy.choosing import fastest
from models.deploy.descriptions import vision_description
from models.deploy.exporting import in_numpy
from models.deploy.packaging import (
    Progress,
    Subject,
    Target,
    Tell,
    differences,
    digest_of_weights,
    export_parts,
    manifest_of,
    open_graphs,
)
from models.deploy.parts import ModelPart
from models.deploy.profiling_keys import DEPLOYED, TORCH
from models.deploy.proof import judge_parts, parts_document
from models.deploy.recording import Call, Recorder, recording
from models.deploy.scenes import scenes
from models.deploy.serving import GraphModule
from models.deploy.store import PackageStore
from models.vision.model import EMBEDDING, LOGITS, POOLED, VisionModel, of_one_shape

KIND, FAMILY, PART = "vision", "timm", "model"
BATCHES = (1, 8, 2, 7, 3, 6, 4, 5, 1, 8, 1, 8)
"""How many images the recorded calls have."""


class Eyes(nn.Module):
    """A vision model as one module: pixels [N, 3, H, W] to what jobs read, by name."""

    def __init__(self, model: VisionModel) -> None:
        super().__init__()
        self.module = model.module
        self.has_classifier = bool(model.labels)
        self.projection = None if model.projection is None else nn.Parameter(model.projection, requires_grad=False)

    def forward(self, pixels: torch.Tensor) -> Mapping[str, torch.Tensor]:
        """See the class."""
        features = self.module.forward_features(pixels)
        pooled = self.module.forward_head(features, pre_logits=True)
        found = {LOGITS: self.module.forward_head(features)} if self.has_classifier else {}
        found[POOLED] = pooled
        if self.projection is not None:
            found[EMBEDDING] = pooled @ self.projection.T
        return found


@dataclass(frozen=True)
class Agreement:
    """How alike the outputs of a graph and of torch are for single images."""

    top_1: float | None
    """The share of images with the same most probable class; ``None`` without a classifier."""
    cosine: float
    """The lowest cosine similarity of an image's two vectors."""
    images: int


@dataclass(frozen=True)
class VisionThreshold:
    """What a precision must reach."""

    top_1: float
    cosine: float


THRESHOLDS: Mapping[str, VisionThreshold] = {
    "f32": VisionThreshold(1.0, 0.99999),
    "fp16": VisionThreshold(0.98, 0.9995),
    "bf16": VisionThreshold(0.9, 0.99),
    "int8": VisionThreshold(0.8, 0.97),
    "w4": VisionThreshold(0.7, 0.95),
}
"""By precision."""


def deploy_vision(model: VisionModel, target: Target, store: PackageStore, *, is_forced: bool, tell: Tell) -> Package:
    """Make the package of ``model`` for ``target`` and publish it, whether it passes its checks or not.

    Args:
        model: on torch, in float32 on the CPU, without a package.
        is_forced: whether it is served even if it does not pass.

    Raises:
        UnknownTarget, Missing: the target cannot be had here.
        Unexportable: the model cannot be exported.
        Busy: another process is making the same package.
        OSError: the disk is full.
    """
    backend = check_target(target.backend, target.precision)
    eyes = Eyes(model).eval()
    part = ModelPart(PART, eyes)
    subject = Subject(model.spec.name, FAMILY, KIND, model.spec.licence, model.device, {PART: eyes})
    with store.writing(model.spec.name, target.name) as folder:
        calls = {PART: _recorded(model, part, tell)}
        written = export_parts([part], calls, FAMILY, target, backend, folder, tell)
        manifest = manifest_of(subject, target, written, backend)
        description = vision_description(model)
        if description is not None:
            manifest[KIND] = description
        write_manifest(folder, manifest)
        checks, manifest["profile"] = _checked(eyes, read_package(folder), calls[PART], target.precision, tell)
        manifest["checks"] = checks | {"forced": is_forced}
        write_manifest(folder, manifest)
    return read_package(store.place(model.spec.name, target.name))


def _recorded(model: VisionModel, part: ModelPart, tell: Tell) -> list[Call]:
    recorder = Recorder()
    with recording([part], recorder), torch.no_grad():
        for number, count in enumerate(BATCHES):
            tell(Progress("recording", number, len(BATCHES)))
            inputs = model.prepare(scenes(count, seed=number))
            for places in of_one_shape(inputs):
                part.module(torch.stack([inputs[place] for place in places]))
    return recorder.calls(PART)


def _checked(
    eyes: Eyes, package: Package, calls: Sequence[Call], precision: str, tell: Tell
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The sections ``checks`` and ``profile`` of ``deploy.json``; the speed is that of all recorded calls."""
    began_at = time.perf_counter()
    graphs = open_graphs(package)
    load_s = time.perf_counter() - began_at
    errors = differences(graphs, {PART: calls}, tell)
    agreement = agreement_of(graphs[PART], calls)
    failures = [*judge_parts(precision, errors), *judge_agreement(precision, agreement)]
    with torch.inference_mode():
        torch_s = _seconds(lambda call: eyes(call.inputs["pixels"]), calls)
    deployed_s = _seconds(lambda call: graphs[PART](in_numpy(call.inputs)), calls)
    checks = {
        "passed": not failures, "failures": failures, "parts": parts_document(errors), "agreement": asdict(agreement),
    }  # fmt: skip
    figures = {TORCH: _figures(torch_s, calls), DEPLOYED: _figures(deployed_s, calls), "load_s": round(load_s, 3)}
    return checks, {"image": f"{len(calls)} calls of 1 to {max(BATCHES)} images", "rounds": 1, **figures}


def _figures(seconds: float, calls: Sequence[Call]) -> dict[str, Any]:
    images = sum(len(call.inputs["pixels"]) for call in calls)
    return {"images_per_s": {str(max(BATCHES)): round(images / seconds, 3)}}


def _seconds(run: Any, calls: Sequence[Call]) -> float:
    began_at = time.perf_counter()
    for call in calls:
        run(call)
    return time.perf_counter() - began_at


def agreement_of(graph: Graph, calls: Sequence[Call]) -> Agreement:
    """The agreement of ``graph`` with the torch module that answered ``calls``."""
    names = [*calls[0].outputs]
    vector = EMBEDDING if EMBEDDING in names else POOLED
    same, cosines = [], []
    for call in calls:
        found = dict(zip(names, graph(in_numpy(call.inputs)), strict=True))
        expected = in_numpy(call.outputs)
        if LOGITS in found:
            same += (found[LOGITS].argmax(1) == expected[LOGITS].argmax(1)).tolist()
        cosines += _cosines(found[vector], expected[vector]).tolist()
    lowest = min(cosines) if np.isfinite(cosines).all() else -inf
    return Agreement(sum(same) / len(same) if same else None, lowest if lowest > -inf else -1.0, len(cosines))


def _cosines(first: Any, second: Any) -> Any:
    one, other = (np.asarray(each, np.float64).reshape(len(each), -1) for each in (first, second))
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(1) / np.maximum(norms, np.finfo(np.float64).tiny)


def judge_agreement(precision: str, found: Agreement) -> list[str]:
    """What does not reach the thresholds of ``precision``, as sentences."""
    bound, failures = THRESHOLDS[precision], []
    if found.top_1 is not None and not found.top_1 >= bound.top_1:
        failures.append(
            f"{found.top_1:.1%} of the images have torch's most probable class, less than {bound.top_1:.0%}"
        )
    if not found.cosine >= bound.cosine:
        failures.append(f"a vector has a cosine of {found.cosine:.5f} with torch's, less than {bound.cosine:g}")
    return failures


def serve_vision(model: VisionModel, package: Package, threads: int | None = None) -> VisionModel:
    """``model`` with the graph of ``package``, which computes all but features before pooling.

    Raises:
        PackageError: the package must not be used here, or its graph cannot be read.
    """
    require_usable(package)
    graph = open_graphs(package, threads)[PART]
    return replace(model, deployed=GraphModule(Eyes(model).eval(), package.parts[PART], graph))


def see_fastest(model: VisionModel, store: PackageStore) -> VisionModel:
    """``model`` with the fastest of its packages in ``store``; unchanged if none may be used, or all are slower."""
    served = fastest(
        store, model.spec.name, TORCH, lambda: digest_of_weights({PART: Eyes(model)}),
        lambda package: serve_vision(model, package),
    )  # fmt: skip
    return served or model
