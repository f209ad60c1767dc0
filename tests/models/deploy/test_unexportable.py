"""A part with an operator that an exporter lacks is refused by a sentence that names both."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from models.deploy.exporting import Unexportable, trace, write_onnx
from models.deploy.parts import ModelPart
from models.deploy.recording import Call, Recorder, recording


class Eigen(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigh(pixels)[1]


class Unknown(nn.Module):
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = doubled(pixels)
        return found


@torch.library.custom_op("photogram_test::doubled", mutates_args=())
def doubled(pixels: torch.Tensor) -> torch.Tensor:
    return pixels * 2


def recorded(module: nn.Module, *sizes: int) -> tuple[ModelPart, list[Call]]:
    """A part and its calls with square matrices of ``sizes``."""
    part, recorder = ModelPart("unet", module), Recorder()
    with recording([part], recorder):
        for size in sizes:
            module(torch.eye(size))
    return part, recorder.calls("unet")


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    exported = trace(*recorded(Eigen(), 3), "stable-diffusion", "openvino", tmp_path)

    with pytest.raises(Unexportable) as caught:
        write_onnx(exported, tmp_path / "unet.onnx", "stable-diffusion")

    said = str(caught.value)
    assert said.startswith("unet (Eigen) cannot be exported: ONNX has no operator for aten._linalg_eigh; a rewriter")
    assert "\x1b" not in said and not (tmp_path / "unet.onnx").exists()


def test_an_operator_that_cannot_be_traced_is_named(tmp_path: Path) -> None:
    part, calls = recorded(Unknown(), 3)

    with pytest.raises(Unexportable, match=r"unet \(Unknown\).*cannot trace photogram_test::doubled; a rewriter"):
        trace(part, calls, "stable-diffusion", "openvino", tmp_path)
