"""Several targets are made from one recording: traced once, measured beside one torch, and each on its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from photogram_runtime.package import Package

from models.catalog.vision import VisionSpec
from models.deploy import quantizing
from models.deploy.backends import UnknownTarget
from models.deploy.making import Outcome, Unrunnable, groups_that_fit, make_package, make_packages
from models.deploy.packaging import Progress, Target
from models.deploy.store import Busy, PackageStore
from models.deploy.vision import RecordedVision, record_vision
from models.vision.model import load_vision_model
from tests.models.vision.rig import save

TARGETS = [
    Target("openvino", "f32"),
    Target("openvino", "int8"),
    Target("onnxruntime", "f32"),
    Target("onnxruntime", "int8"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> RecordedVision:
    spec = VisionSpec(name="tiny", folder=save("test_resnet", tmp_path_factory.mktemp("model") / "tiny"))
    return record_vision(load_vision_model(spec, torch.device("cpu")), lambda progress: None)


def counting(counts: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        counts[name] += 1
        return function(*args, **kwargs)

    return counted


def made(model: RecordedVision, store: PackageStore, *targets: Target) -> Mapping[Target, Outcome]:
    return dict(make_packages(model, targets, store, is_forced=False, tell=lambda progress: None))


def test_targets_share_a_trace_a_graph_and_the_measurement_of_torch(
    model: RecordedVision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    monkeypatch.setattr(torch.export, "export", counting(counts, "traces", torch.export.export))
    monkeypatch.setattr(torch.onnx, "export", counting(counts, "graphs", torch.onnx.export))
    found = made(model, PackageStore(tmp_path), *TARGETS)
    assert counts == {"traces": 1, "graphs": 1}
    packages = [each for each in found.values() if isinstance(each, Package)]
    assert [f"{each.backend}-{each.precision}" for each in packages] == [target.name for target in TARGETS]
    assert len({each.manifest["profile"]["torch"]["images_per_s"]["8"] for each in packages}) == 1
    sizes = {target.name: size(each) for target, each in found.items() if isinstance(each, Package)}
    assert sizes["onnxruntime-int8"] < sizes["onnxruntime-f32"] and sizes["openvino-int8"] < sizes["openvino-f32"]
    assert not list(tmp_path.rglob("*.partial")), "nothing is left of what they shared"


def size(package: Package) -> int:
    return sum(int(each["bytes"]) for each in package.manifest["files"].values())


def test_a_target_that_cannot_be_made_leaves_the_others_alone(model: RecordedVision, tmp_path: Path) -> None:
    store, (busy, _, other, _) = PackageStore(tmp_path), TARGETS
    with store.writing("tiny", busy.name):
        found = made(model, store, busy, Target("onnxruntime", "w9"), other)
        assert isinstance(found[busy], Busy) and isinstance(found[Target("onnxruntime", "w9")], UnknownTarget)
        assert store.targets("tiny") == [other.name]


def test_a_runtime_that_fails_with_a_graph_is_told(
    model: RecordedVision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantizing, "_flatten_scales", lambda model: None)  # ONNX Runtime reads it, and cannot run it
    store = PackageStore(tmp_path)
    found = made(model, store, TARGETS[3])[TARGETS[3]]
    assert isinstance(found, Unrunnable) and "cannot be run here: [ONNXRuntimeError]" in str(found)
    assert store.targets("tiny") == []


def test_a_package_that_cannot_be_measured_leaves_the_others_alone(
    model: RecordedVision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, other, store = TARGETS[1], TARGETS[0], PackageStore(tmp_path)
    measured = RecordedVision.measured

    def failing_with_one(self: RecordedVision, packages: Mapping[str, Package], tell: Any) -> Any:
        if failing.name in packages:
            raise MemoryError("no memory for a graph")
        return measured(self, packages, tell)

    monkeypatch.setattr(RecordedVision, "measured", failing_with_one)
    found = made(model, store, failing, other)
    assert isinstance(found[failing], Unrunnable) and "cannot be measured: " in str(found[failing])
    package = found[other]
    assert isinstance(package, Package) and "deployed" in package.manifest["profile"]
    assert store.targets("tiny") == [other.name] and not list(tmp_path.rglob("*.partial"))
    made(model, store, other)
    assert store.targets("tiny") == [other.name], "its lock is free"


def test_nothing_is_published_if_a_run_breaks_off(model: RecordedVision, tmp_path: Path) -> None:
    def full(progress: Progress) -> None:
        if progress.stage == "measuring":
            raise OSError(28, "No space left on device")

    store = PackageStore(tmp_path)
    with pytest.raises(OSError, match="No space"):
        make_package(model, TARGETS[0], store, is_forced=False, tell=full)
    assert store.targets("tiny") == [] and not list(tmp_path.rglob("*.partial"))


def test_progress_names_the_target_of_what_is_done_for_it_alone(model: RecordedVision, tmp_path: Path) -> None:
    told: list[Progress] = []
    make_package(model, TARGETS[2], PackageStore(tmp_path), is_forced=True, tell=told.append)
    assert {each.stage: each.target for each in told} == {
        "exporting": "onnxruntime-f32", "checking": "onnxruntime-f32", "measuring": "",
    }  # fmt: skip


def test_packages_that_do_not_fit_into_memory_together_are_measured_in_groups() -> None:
    assert groups_that_fit({"a": 3, "b": 4, "c": 5, "d": 99, "e": 1}, 8) == [["a", "b"], ["c"], ["d"], ["e"]]
    assert groups_that_fit({}, 8) == []
