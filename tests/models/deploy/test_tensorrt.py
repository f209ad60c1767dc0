"""For TensorRT: a graph that was checked here, and the command line that makes an engine of it elsewhere."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.deploy.builders.tensorrt import build
from models.deploy.exporting import Exported, Unexportable, trace
from models.deploy.parts import ModelPart
from models.deploy.recording import Recorder, recording

SIZES = ((2, 5, 4), (2, 5, 4), (4, 5, 4), (2, 7, 4))


class Scaled(nn.Module):
    """Two inputs with open axes, and one without."""

    def forward(self, sample: torch.Tensor, timestep: torch.Tensor, scale: torch.Tensor) -> tuple[torch.Tensor]:
        """See the class."""
        return (sample * timestep[:, None, None] * scale,)


def exported(folder: Path, sizes: Sequence[tuple[int, ...]] = SIZES) -> Exported:
    part, recorder = ModelPart("unet", Scaled().eval()), Recorder()
    with recording([part], recorder), torch.no_grad():
        for size in sizes:
            part.module(torch.rand(size), torch.rand(size[0]), scale=torch.rand(1))
    return trace(part, recorder.calls("unet"), "sdxl", "tensorrt", folder)


@pytest.mark.parametrize(("precision", "flag"), [("f32", "--noTF32"), ("fp16", "--fp16"), ("bf16", "--bf16")])
def test_the_script_has_the_profile_of_the_recorded_sizes(tmp_path: Path, precision: str, flag: str) -> None:
    (folder := tmp_path / "package").mkdir()
    assert build(exported(tmp_path), "sdxl", precision, folder) == "unet.onnx"
    assert sorted(each.name for each in folder.iterdir()) == ["unet.onnx", "unet.trtexec.sh"]
    command = shlex.split((folder / "unet.trtexec.sh").read_text().splitlines()[-1])
    assert command == [
        "trtexec", "--onnx=unet.onnx", "--minShapes=sample:1x5x4,timestep:1", "--optShapes=sample:2x5x4,timestep:2",
        "--maxShapes=sample:4x7x4,timestep:4", flag, "--skipInference", "--saveEngine=$engines/unet.engine",
    ]  # fmt: skip


def test_a_graph_that_differs_from_torch_is_refused(tmp_path: Path) -> None:
    found = exported(tmp_path)
    wrong = [replace(each, outputs={name: value + 1 for name, value in each.outputs.items()}) for each in found.calls]
    (folder := tmp_path / "package").mkdir()
    with pytest.raises(Unexportable, match="unet: its ONNX graph differs from torch by"):
        build(replace(found, calls=wrong), "sdxl", "f32", folder)
    assert not list(folder.iterdir())
