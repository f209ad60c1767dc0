"""Deploying a vision model of timm, and seeing with its package: one graph, from pixels to all that jobs read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package, require_usable
from torch import nn

from models.deploy.choosing import fastest
from models.deploy.descriptions import vision_description
from models.deploy.exporting import in_numpy
from models.deploy.names import VISION
from models.deploy.packaging import Progress, Subject, Tell, differences, digest_of_weights, open_graphs
from models.deploy.parts import ModelPart
from models.deploy.profiling import ROUNDS, described, in_turns, profiles
from models.deploy.profiling_keys import TORCH
from models.deploy.proof import judge_parts, parts_document
from models.deploy.recording import Call, Recorder, recording
from models.deploy.scenes import drawings, scenes
from models.deploy.serving import GraphModule, served_name
from models.deploy.store import PackageStore
from models.vision.model import EMBEDDING, LOGITS, POOLED, VisionModel, of_one_shape

FAMILY, PART = "timm", "model"
BATCHES = (1, 8, 2, 7, 3, 6, 4, 5, 1, 8, 1, 8)
"""How many images the recorded calls have."""
_MOST_IMAGES = 0.75
"""The share of the images by which the scores of labels are judged; one that is like two labels may be far off."""


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
    score_error: float | None
    """How far the scores of all labels are off in three of four images, as a share of their distance from their mean,
    and at most 1; ``None`` without a classifier. Labels and vectors alone do not tell: a classifier that was trained on
    images of one kind may turn a small error of the vector into another label, and see one label in all made-up images.
    """
    images: int


@dataclass(frozen=True)
class VisionThreshold:
    """What a precision must reach."""

    top_1: float
    cosine: float
    score_error: float


THRESHOLDS: Mapping[str, VisionThreshold] = {
    "f32": VisionThreshold(1.0, 0.99999, 1e-3),
    "fp16": VisionThreshold(0.98, 0.9995, 5e-3),
    "bf16": VisionThreshold(0.9, 0.99, 0.06),
    "int8": VisionThreshold(0.8, 0.97, 0.1),
    "fp8": VisionThreshold(0.8, 0.97, 0.1),
    "w4": VisionThreshold(0.7, 0.95, 0.15),
}
"""By precision."""


@dataclass(frozen=True)
class RecordedVision:
    """What a vision model saw on torch; a :class:`models.deploy.making.Recorded`."""

    model: VisionModel
    eyes: Eyes
    recorded: Sequence[Call]

    @cached_property
    def subject(self) -> Subject:
        """See :class:`Recorded`."""
        spec = self.model.spec
        return Subject(spec.name, FAMILY, VISION, spec.licence, self.model.device, {PART: self.eyes})

    @property
    def parts(self) -> Sequence[ModelPart]:
        """See :class:`Recorded`."""
        return [ModelPart(PART, self.eyes)]

    @property
    def calls(self) -> Mapping[str, Sequence[Call]]:
        """See :class:`Recorded`."""
        return {PART: self.recorded}

    def described(self, folder: Path) -> dict[str, Any] | None:
        """See :class:`Recorded`."""
        return vision_description(self.model)

    def checked(self, package: Package, tell: Tell) -> dict[str, Any]:
        """See :class:`Recorded`."""
        graphs = open_graphs(package)
        errors = differences(graphs, self.calls, tell)
        agreement = agreement_of(graphs[PART], self.recorded)
        failures = [*judge_parts(package.precision, errors), *judge_agreement(package.precision, agreement)]
        return {
            "passed": not failures, "failures": failures, "parts": parts_document(errors),
            "agreement": asdict(agreement),
        }  # fmt: skip

    def measured(self, packages: Mapping[str, Package], tell: Tell) -> dict[str, dict[str, Any]]:
        """See :class:`Recorded`; the speed is that of all recorded calls, after one another."""
        runs: dict[str, Callable[[], object]] = {TORCH: self._on_torch}
        load_s: dict[str, float] = {}
        for name, package in packages.items():
            began_at = time.perf_counter()
            runs[name] = partial(self._on_graph, open_graphs(package)[PART])
            load_s[name] = time.perf_counter() - began_at
        largest, images = max(BATCHES), sum(len(call.inputs["pixels"]) for call in self.recorded)
        seconds = in_turns(
            {name: {largest: run} for name, run in runs.items()}, ROUNDS,
            lambda done, total: tell(Progress("measuring", done, total)),
        )  # fmt: skip
        figures = {
            name: {"images_per_s": {str(largest): round(images / min(found[largest]), 3)}}
            for name, found in seconds.items()
        }
        common = described(f"{len(self.recorded)} calls of 1 to {largest} images", ROUNDS)
        return profiles(common, figures, (TORCH,), load_s)

    @torch.inference_mode()
    def _on_torch(self) -> None:
        for call in self.recorded:
            self.eyes(call.inputs["pixels"])

    def _on_graph(self, graph: Graph) -> None:
        for call in self.recorded:
            graph(in_numpy(call.inputs))


def record_vision(model: VisionModel, tell: Tell) -> RecordedVision:
    """Let ``model`` see images, and record its calls.

    Args:
        model: on torch, in float32 on the CPU, without a package.
    """
    eyes, recorder = Eyes(model).eval(), Recorder()
    with recording([ModelPart(PART, eyes)], recorder), torch.no_grad():
        for number, count in enumerate(BATCHES):
            tell(Progress("recording", number, len(BATCHES)))
            inputs = model.prepare([*scenes((count + 1) // 2, number), *drawings(count // 2, number)])
            for places in of_one_shape(inputs):
                eyes(torch.stack([inputs[place] for place in places]))
    return RecordedVision(model, eyes, recorder.calls(PART))


def agreement_of(graph: Graph, calls: Sequence[Call]) -> Agreement:
    """The agreement of ``graph`` with the torch module that answered ``calls``."""
    names = [*calls[0].outputs]
    vector = EMBEDDING if EMBEDDING in names else POOLED
    same, cosines, off = [], [], list[float]()
    for call in calls:
        found = dict(zip(names, graph(in_numpy(call.inputs)), strict=True))
        expected = in_numpy(call.outputs)
        if LOGITS in found:
            same += (found[LOGITS].argmax(1) == expected[LOGITS].argmax(1)).tolist()
            off += _score_errors(found[LOGITS], expected[LOGITS]).tolist()
        cosines += _cosines(found[vector], expected[vector]).tolist()
    lowest = min(cosines) if np.isfinite(cosines).all() else -inf
    return Agreement(
        sum(same) / len(same) if same else None, lowest if lowest > -inf else -1.0,
        float(np.quantile(off, _MOST_IMAGES, method="lower")) if off else None, len(cosines),
    )  # fmt: skip


def _score_errors(found: Any, expected: Any) -> Any:
    """The error of each row of logits [N, C]; a shift of all of a row is none, but for a single class."""
    one, other = (np.asarray(each, np.float64) for each in (found, expected))
    if other.shape[1] > 1:
        one, other = (each - each.mean(1, keepdims=True) for each in (one, other))
    norms = np.maximum(np.linalg.norm(other, axis=1), np.finfo(np.float64).tiny)
    return np.nan_to_num(np.linalg.norm(one - other, axis=1) / norms, nan=1.0).clip(max=1.0)


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
    if found.score_error is not None and not found.score_error <= bound.score_error:
        failures.append(
            f"the scores of its labels are off by {found.score_error:.2g} of their spread, more than "
            f"{bound.score_error:g}"
        )
    return failures


def serve_vision(model: VisionModel, package: Package, cache: Path | None = None) -> VisionModel:
    """``model`` with the graph of ``package``, which computes all but features before pooling; ``cache`` keeps it
    compiled.

    Raises:
        PackageError: the package must not be used here, or its graph cannot be read.
    """
    require_usable(package)
    graph = open_graphs(package, cache=cache)[PART]
    module = GraphModule(Eyes(model).eval(), package.parts[PART], graph)
    return replace(model, deployed=module, backend=served_name(package))


def see_fastest(model: VisionModel, store: PackageStore) -> VisionModel:
    """``model`` with the fastest of its packages in ``store``; unchanged if none may be used, or all are slower."""
    served = fastest(
        store, model.spec.name, VISION, lambda: digest_of_weights({PART: Eyes(model)}),
        lambda package: serve_vision(model, package, store.compiled),
    )  # fmt: skip
    return served or model
