"""Weights of fewer bits make graphs smaller, and leave alone what must be exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from models.deploy.builders.openvino import build
from models.deploy.exporting import trace
from models.deploy.parts import ModelPart
from models.deploy.recording import Recorder, recording


class Timed(nn.Module):
    """The phases of a timestep, as diffusion models embed it, and a large layer."""

    def __init__(self) -> None:
        super().__init__()
        self.frequencies = nn.Buffer(torch.exp(-torch.linspace(0, 9, 160)))
        self.layer = nn.Linear(160, 512)

    def forward(self, timestep: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See the class."""
        phases = torch.cos(timestep[:, None] * self.frequencies)
        return phases, self.layer(phases)


def test_float16_weights_leave_the_phases_of_timesteps_exact(tmp_path: Path) -> None:
    import openvino

    torch.manual_seed(0)
    part, recorder = ModelPart("unet", Timed().eval()), Recorder()
    timesteps = torch.tensor([999.0, 873.0, 501.0])
    with recording([part], recorder), torch.no_grad():
        expected = part.module(timesteps)
    exported = trace(part, recorder.calls("unet"), "sdxl", "openvino", tmp_path)
    sizes, found = {}, {}
    for precision in ("f32", "fp16"):
        (folder := tmp_path / precision).mkdir()
        file = folder / build(exported, "sdxl", precision, folder)
        sizes[precision] = file.with_suffix(".bin").stat().st_size
        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found[precision] = list(compiled([timesteps.numpy()]).values())
    assert sizes["fp16"] < 0.6 * sizes["f32"]
    np.testing.assert_allclose(found["fp16"][0], expected[0].numpy(), atol=1e-4)
    np.testing.assert_allclose(found["fp16"][1], expected[1].numpy(), atol=5e-3)
