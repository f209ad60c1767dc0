"""Parts are traced with open axes, and a trace that fixes one is refused by its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.embeddings import PatchEmbed
from torch import nn

from models.deploy.exporting import Exported, Unexportable, trace, write_onnx
from models.deploy.parts import ModelPart
from models.deploy.recording import Call, Recorder, recording


def calls_of(part: ModelPart, sizes: Sequence[tuple[int, ...]]) -> list[Call]:
    recorder = Recorder()
    with recording([part], recorder), torch.no_grad():
        for size in sizes:
            part.module(torch.rand(size))
    return recorder.calls(part.name)


def traced(module: nn.Module, *sizes: tuple[int, ...], scratch: Path = Path("unused")) -> Exported:
    part = ModelPart("unet", module.eval())
    return trace(part, calls_of(part, sizes), "sdxl", "openvino", scratch)


class Reshaped(nn.Module):
    """Works only for the length that its trace saw."""

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return sample + torch.ones(int(sample.shape[1]) if sample.shape[1] == 6 else 1)


class Branching(nn.Module):
    """Chooses by a value."""

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return sample * 2 if float(sample.sum()) > 0 else sample


class Embedded(nn.Module):
    """Patches with their positions."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = PatchEmbed(height=8, width=8, patch_size=2, in_channels=4, embed_dim=16)

    def forward(self, sample: torch.Tensor) -> tuple[torch.Tensor]:
        """See the class."""
        return (self.embed(sample),)


class Summed(nn.Module):
    """Several outputs, nested, one of which has the name of an input."""

    def forward(self, sample: torch.Tensor) -> dict[str, Any]:
        """See the class."""
        return {"sample": sample * 2, "sums": (sample.sum(1), sample.mean(1))}


def test_axes_of_several_lengths_stay_open_and_others_are_fixed() -> None:
    exported = traced(nn.Linear(4, 2), (1, 7, 4), (3, 5, 4))
    (port,), (output,) = exported.inputs, exported.outputs
    assert (port.name, port.dtype, port.shape) == ("input", "float32", (None, None, 4))
    assert port.bounds == ((1, 3), (5, 7), (4, 4)) and output.shape == (None, None, 2)


def test_an_open_axis_that_is_1_long_in_the_largest_call_stays_open() -> None:
    exported = traced(nn.Linear(4, 2), (1, 100, 4), (3, 5, 4))
    assert exported.inputs[0].shape == (None, None, 4)


def test_an_axis_that_the_trace_fixes_is_refused_by_its_name() -> None:
    with pytest.raises(Unexportable, match=r"unet: the trace works only if axis 1 of sample is 6 long; a rewriter"):
        traced(Reshaped(), (2, 6), (2, 5))


def test_a_branch_over_values_is_refused_with_the_part_and_its_class() -> None:
    with pytest.raises(Unexportable, match=r"unet \(Branching\) cannot be exported: .*rewriter"):
        traced(Branching(), (2, 6))


def test_the_onnx_graph_computes_what_torch_computes_for_other_lengths(tmp_path: Path) -> None:
    import onnxruntime

    exported = traced(Summed(), (1, 100), (3, 5))
    write_onnx(exported, tmp_path / "unet.onnx", "sdxl")
    session = onnxruntime.InferenceSession(tmp_path / "unet.onnx", providers=["CPUExecutionProvider"])
    assert [each.name for each in session.get_outputs()] == ["sample.out", "sums.0", "sums.1"]
    given = np.random.default_rng(0).random((4, 9), dtype=np.float32)
    found = session.run(None, {"sample": given})
    for expected, each in zip((given * 2, given.sum(1), given.mean(1)), found, strict=True):
        np.testing.assert_allclose(each, expected, rtol=1e-5)


def test_a_single_result_has_a_name_which_graphs_need(tmp_path: Path) -> None:
    import openvino

    exported = traced(nn.Linear(4, 2), (1, 7, 4), (3, 5, 4), scratch=tmp_path)
    assert [port.name for port in exported.outputs] == ["value"]
    model = openvino.Core().read_model(exported.onnx())
    assert model.output().get_any_name() == "value" and exported.onnx() is exported.onnx(), "it is written once"


def test_positions_of_patches_are_computed_for_every_size(tmp_path: Path) -> None:
    import onnxruntime

    module = Embedded()
    exported = traced(module, (4, 4, 8, 8), (1, 4, 12, 10))
    assert (module.embed.height, module.embed.width) == (4, 4), "the module is as it was"
    write_onnx(exported, tmp_path / "unet.onnx", "pixart-sigma")
    session = onnxruntime.InferenceSession(tmp_path / "unet.onnx", providers=["CPUExecutionProvider"])
    for size in ((1, 4, 8, 8), (3, 4, 6, 10)):
        given = torch.rand(size)
        with torch.no_grad():
            expected = module(given)[0].numpy()
        np.testing.assert_allclose(session.run(None, {"sample": given.numpy()})[0], expected, rtol=1e-4, atol=1e-5)
