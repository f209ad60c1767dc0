"""Recipes: graphs for runtimes that are not here are written, checked, and never served."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from photogram_runtime.errors import PackageUnsupported
from photogram_runtime.package import read_package, require_usable, write_manifest
from torch import nn

from models.deploy.backends import BACKENDS, Missing, UnknownTarget, check_target
from models.deploy.builders import tensorrt
from models.deploy.exporting import Exported, trace
from models.deploy.parts import ModelPart
from models.deploy.recording import Recorder, recording


@pytest.fixture(scope="module")
def exported() -> Exported:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.SiLU()).eval()
    part, recorder = ModelPart("unet", module), Recorder()
    with recording([part], recorder), torch.no_grad():
        for batch, size in ((1, 8), (2, 12), (3, 10)):
            module(torch.randn(batch, 3, size, size))
    return trace(part, recorder.calls("unet"), "stable-diffusion", "tensorrt")


def test_the_graph_for_tensorrt_is_checked_and_run_and_has_its_command(exported: Exported, tmp_path: Path) -> None:
    file = tensorrt.build(exported, "stable-diffusion", "fp16", tmp_path)
    found = tensorrt.proof(exported, tmp_path / file)
    written = {
        "file": file,
        "inputs": [asdict(each) for each in exported.inputs],
        "outputs": [asdict(each) for each in exported.outputs],
    }
    write_manifest(tmp_path, manifest({"recipe": True, "passed": False, "forced": True}, {"unet": written}))
    package = read_package(tmp_path)

    assert found is not None and found.relative < 1e-5 and found.calls == 3
    assert (
        "trtexec --onnx=unet.onnx --saveEngine=unet.plan --fp16 --minShapes='input':1x3x8x8 "
        "--optShapes='input':3x3x12x12 --maxShapes='input':3x3x12x12"
    ) in tensorrt.readme(package)
    with pytest.raises(PackageUnsupported, match="is a recipe"):
        require_usable(package)


def test_a_package_of_other_instructions_is_refused(tmp_path: Path) -> None:
    write_manifest(tmp_path, manifest({"passed": True}, {}, instructions=["avx9000"]))

    with pytest.raises(PackageUnsupported, match="compiled for a processor with avx9000, which this one lacks"):
        require_usable(read_package(tmp_path))


def manifest(checks: dict[str, object], parts: dict[str, object], **device: object) -> dict[str, object]:
    import platform

    return {
        "model": "tiny", "backend": "tensorrt", "precision": "fp16", "kind": "drawing", "family": "stable-diffusion",
        "parts": parts, "source": {}, "versions": {}, "requires": {},
        "device": {"machine": platform.machine(), **device}, "checks": checks,
    }  # fmt: skip


def test_what_this_machine_lacks_is_said_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Missing, match=r"aoti-f32 cannot be made here: there is no C\+\+ compiler"):
        check_target("aoti", "f32")
    with pytest.raises(UnknownTarget, match="aoti cannot have bf16"):
        check_target("aoti", "bf16")


def test_bfloat16_is_refused_by_a_processor_without_it() -> None:
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        check_target("openvino", "bf16")
        return
    with pytest.raises(Missing, match="openvino-bf16 cannot be made here: this processor has no bfloat16"):
        check_target("openvino", "bf16")


def test_a_recipe_without_its_package_is_refused() -> None:
    absent = [name for name in ("executorch", "coreml") if BACKENDS[name].obstacle("any") is not None]
    for name in absent:
        with pytest.raises(Missing, match="is not installed"):
            check_target(name, BACKENDS[name].precisions[0])
