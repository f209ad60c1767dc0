"""The layout of weights: channels last on every device but a CPU, where the pixels must stay what they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.control.loading import load_controlnet
from models.diffusion.devices import channels_last_on_gpu
from tests.models.diffusion.backends.unets import build_unet
from tests.models.diffusion.rig import Studio
from tests.tiny import build_tiny_controlnet

CPU, META = torch.device("cpu"), torch.device("meta")
"""``meta`` stands for a GPU: it has layouts, but no numbers."""


def is_channels_last(module: Any) -> bool:
    """Whether all weights of 3 x 3 convolutions are; those of 1 x 1 have both layouts at once."""
    weights = [each.weight for each in module.modules() if isinstance(each, nn.Conv2d) and each.kernel_size == (3, 3)]
    assert len(weights) > 1
    return all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize(("device", "expected"), [(CPU, False), (META, True)])
def test_a_unet_is_channels_last_except_on_a_cpu(device: torch.device, expected: bool) -> None:
    assert is_channels_last(EagerDenoiser(build_unet().to(device)).unet) is expected


@pytest.mark.parametrize(("device", "expected"), [(CPU, False), (META, True)])
def test_a_controlnet_has_the_layout_of_its_unet(
    device: torch.device, expected: bool, tiny_sd: Studio, tmp_path: Path
) -> None:
    folder = build_tiny_controlnet(tmp_path / "lines", tiny_sd.spec.folder)
    controlnet = load_controlnet(folder, tiny_sd.checkpoint.pipeline.unet, torch.float32, device)
    assert is_channels_last(controlnet) is expected


def test_only_weights_of_convolutions_are_converted() -> None:
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Linear(3, 4)).to(META)
    assert channels_last_on_gpu(module) is module
    assert module[0].weight.is_contiguous(memory_format=torch.channels_last) and module[1].weight.is_contiguous()
