"""Upscalers come from files of weights alone, and what is none is refused with the reason."""

from __future__ import annotations

import importlib.util
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers.utils import is_torchvision_available

from models.diffusion.upscaling.architectures import import_spandrel
from models.diffusion.upscaling.upscaler import load_upscaler
from models.errors import ModelUnavailable
from tests.models.diffusion.upscaling.tiny_upscalers import CPU, TINY_UPSCALERS, compact, esrgan, write

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")  # building SwinIR


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("architecture", TINY_UPSCALERS)
def test_an_architecture_is_recognised_by_its_weights(architecture: str, suffix: str, tmp_path: Path):
    build, scale = TINY_UPSCALERS[architecture]
    upscaler = load_upscaler(write(build, tmp_path / f"any name{suffix}"), CPU, torch.float32)
    assert upscaler.descriptor.architecture.id == architecture
    assert upscaler.scale == scale

    enlarged = upscaler(torch.randint(0, 256, (2, 3, 16, 24), dtype=torch.uint8))
    assert enlarged.shape == (2, 3, 16 * scale, 24 * scale)
    assert enlarged.min() >= 0 and enlarged.max() <= 1


@pytest.mark.skipif(importlib.util.find_spec("torchvision") is not None, reason="torchvision is installed")
def test_spandrel_is_imported_without_torchvision_and_nobody_is_told_that_there_is_one():
    spandrel = import_spandrel()
    assert "ESRGAN" in spandrel.MAIN_REGISTRY
    assert not [name for name, module in sys.modules.items() if module and name.split(".")[0] == "torchvision"]
    assert not is_torchvision_available()
    with pytest.raises(ModuleNotFoundError, match="torchvision"):  # the stand-in is gone
        importlib.import_module("spandrel.architectures.LaMa")


def test_what_cannot_be_computed_in_a_dtype_is_computed_in_float32(tmp_path: Path):
    for build, dtype in ((TINY_UPSCALERS["SwinIR"][0], torch.float32), (compact, torch.float16)):
        path = write(build, tmp_path / "model.safetensors")
        upscaler = load_upscaler(path, CPU, torch.float16)
        assert upscaler.descriptor.dtype == dtype
        enlarged = upscaler(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
        assert enlarged.dtype == torch.float32


class Intruder:
    """Runs code when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (self.trace,)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(tmp_path: Path):
    path, trace = tmp_path / "model.pth", tmp_path / "ran"
    torch.save({"params": Intruder(trace)}, path)
    with pytest.raises(ModelUnavailable, match="holds more than tensors"):
        load_upscaler(path, CPU, torch.float32)
    assert not trace.exists()


def test_damaged_files_are_refused(tmp_path: Path):
    for name in ("model.safetensors", "model.pth"):
        path = tmp_path / name
        path.write_bytes(b"no weights at all")
        with pytest.raises(ModelUnavailable, match=f"{name} (is damaged|cannot be loaded)"):
            load_upscaler(path, CPU, torch.float32)


def test_a_file_cut_short_is_refused(tmp_path: Path):
    for name in ("model.safetensors", "model.pth"):
        path = write(esrgan, tmp_path / name)
        path.write_bytes(path.read_bytes()[:5000])
        with pytest.raises(ModelUnavailable, match=name):
            load_upscaler(path, CPU, torch.float32)


def test_what_is_no_upscaler_is_refused_with_the_reason(tmp_path: Path):
    grey = write(partial(esrgan, channels=1), tmp_path / "grey.safetensors")
    foreign, bare = tmp_path / "foreign.safetensors", tmp_path / "bare.pth"
    save_file({"some.weight": torch.zeros(3)}, foreign)
    torch.save(torch.zeros(3), bare)
    for path, reason in (
        (grey, "takes 1 and returns 1 channels"),
        (foreign, "of an unknown architecture"),
        (bare, "of an unknown architecture"),
        (tmp_path / "absent.pth", "there is no file"),
        (tmp_path / "model.ckpt", "must be a file .safetensors or .pth"),
    ):
        with pytest.raises(ModelUnavailable, match=reason) as refused:
            load_upscaler(path, CPU, torch.float32)
        assert str(tmp_path) not in str(refused.value)  # clients read this
