"""Vision models are deployed, and see with their packages what torch sees."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from photogram_runtime.package import write_manifest

from models.catalog.vision import VisionSpec
from models.deploy.making import make_package
from models.deploy.packaging import Target
from models.deploy.recording import Call
from models.deploy.store import PackageStore
from models.deploy.vision import Agreement, agreement_of, judge_agreement, record_vision, see_fastest, serve_vision
from models.vision.model import EMBEDDING, FEATURES, LOGITS, POOLED, VisionModel, load_vision_model
from models.vision.work import Seeing
from tests.models.vision.rig import save, smooth_noise

IMAGES = [smooth_noise(seed) for seed in range(3)]


def load(folder: Path, name: str) -> VisionModel:
    return load_vision_model(VisionSpec(name="tiny", folder=save(name, folder)), torch.device("cpu"))


@pytest.mark.parametrize(
    ("name", "backend"),
    [("test_efficientnet", "openvino"), ("test_vit", "openvino"), ("test_resnet", "onnxruntime")],
)
def test_a_package_sees_what_torch_sees(tmp_path: Path, name: str, backend: str) -> None:
    model, store = load(tmp_path / "model", name), PackageStore(tmp_path / "deployed")
    recorded = record_vision(model, lambda progress: None)
    package = make_package(recorded, Target(backend, "f32"), store, is_forced=False, tell=lambda progress: None)
    checks = package.manifest["checks"]
    assert package.has_passed and checks["agreement"] == {
        "top_1": 1.0, "images": 54, "cosine": pytest.approx(1, abs=1e-6), "score_error": pytest.approx(0, abs=1e-3),
    }  # fmt: skip
    _are_scenes_and_drawings(recorded.recorded)
    assert package.kind == "vision" and [port.name for port in package.parts["model"].outputs] == [LOGITS, POOLED]
    deployed, inputs = serve_vision(model, package), model.prepare(IMAGES)
    for what in (LOGITS, POOLED, EMBEDDING):
        torch.testing.assert_close(deployed.see(inputs, what), model.see(inputs, what), atol=1e-4, rtol=1e-4)
    assert deployed.see(inputs, FEATURES).equal(model.see(inputs, FEATURES)), "features are torch's own"
    seeings = [Seeing(deployed, torch.stack(inputs), what) for what in (LOGITS, POOLED, LOGITS)]
    shapes = [each.shape for each in seeings[0].forward(seeings) if isinstance(each, torch.Tensor)]
    assert shapes == [model.see(inputs, what).shape for what in (LOGITS, POOLED, LOGITS)]
    other = torch.rand(1, 3, *(side + 32 for side in inputs[0].shape[1:]))
    if name != "test_vit":  # which takes one size only, on torch as well
        seen = deployed.outputs(other, [POOLED])[POOLED]
        assert seen.equal(model.outputs(other, [POOLED])[POOLED]), "a size that was not covered goes to torch"
    _choosing(store, model)


def _are_scenes_and_drawings(calls: Sequence[Call]) -> None:
    """Half of the recorded images have a plain ground: a model may have learnt from such images alone."""
    images = [each for call in calls for each in call.inputs["pixels"]]
    plain = [bool((each == each.median()).float().mean() > 0.2) for each in images]
    assert 0.25 < sum(plain) / len(plain) < 0.75


def _choosing(store: PackageStore, model: VisionModel) -> None:
    """A package is chosen if torch was slower, and if its weights are the model's."""
    place = next(iter(store.targets("tiny")))
    manifest = store.place("tiny", place) / "deploy.json"
    written = json.loads(manifest.read_text())
    for speeds, is_chosen in (((1.0, 2.0), True), ((2.0, 1.0), False)):
        written["profile"] |= {
            name: {"images_per_s": {"8": each}} for name, each in zip(("torch", "deployed"), speeds, strict=True)
        }
        write_manifest(manifest.parent, written)
        assert (see_fastest(model, store) is not model) == is_chosen
    written["profile"]["torch"] = {"images_per_s": {"8": 0.5}}
    write_manifest(manifest.parent, written)
    assert see_fastest(model, store) is not model
    trained = replace(model, projection=torch.eye(2))
    assert see_fastest(trained, store) is trained, "its weights are others"


def test_vectors_that_differ_or_are_no_numbers_do_not_pass() -> None:
    outputs = {LOGITS: torch.eye(4), POOLED: torch.eye(4)}
    call = Call({"pixels": torch.zeros(4, 3, 1, 1)}, outputs, {}, {})

    def agreement(found: object) -> Agreement:
        return agreement_of(lambda inputs: [np.asarray(found)] * 2, [call])

    assert judge_agreement("f32", agreement(np.eye(4))) == []
    assert len(judge_agreement("f32", agreement(np.roll(np.eye(4), 1, 0)))) == 3
    assert len(judge_agreement("w4", agreement(np.full((4, 4), np.nan)))) == 3


def test_scores_that_are_off_do_not_pass_though_labels_and_vectors_are_the_same() -> None:
    outputs = {LOGITS: torch.tensor([[6.0, -3.0, -3.0]] * 4), POOLED: torch.eye(4)}
    call = Call({"pixels": torch.zeros(4, 3, 1, 1)}, outputs, {}, {})

    def failures(precision: str, *scores: list[float]) -> list[str]:
        found = agreement_of(lambda inputs: [np.asarray(scores), np.eye(4)], [call])
        assert (found.top_1, found.cosine) == (1.0, 1.0)
        return judge_agreement(precision, found)

    off, right = [3.0, 1.0, -4.0], [6.0, -3.0, -3.0]
    (told,) = failures("w4", off, off, right, right)
    assert told.startswith("the scores of its labels are off by 0.")
    assert failures("f32", off, right, right, right) == [], "one image may be like two labels"
    assert failures("f32", *[[7.0, -2.0, -2.0]] * 4) == [], "what all scores have in common changes no probability"
