"""Packages of AOTInductor with weights of 8 bits: they are smaller, near torch, and leave the model as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from photogram_runtime.package import Package
from torch import nn

from models.catalog.vision import VisionSpec
from models.deploy.builders.aoti import build
from models.deploy.exporting import trace
from models.deploy.making import make_packages
from models.deploy.packaging import Target, digest_of_weights
from models.deploy.parts import ModelPart
from models.deploy.recording import Recorder, recording
from models.deploy.store import PackageStore
from models.deploy.vision import record_vision
from models.deploy.weights_of_8_bits import DTYPES, Dequantized, in_8_bits
from models.vision.model import load_vision_model
from tests.models.vision.rig import save

pytestmark = pytest.mark.timeout(600)  # a busy machine takes minutes to compile a graph
RELATIVE = {"int8": 0.02, "fp8": 0.1}
"""The largest error that is expected of each precision: it has 7 bits, or 3 and the implied one."""


class Mixed(nn.Module):
    """A convolution and a linear layer that are large, and one of each that is not."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(64, 128, 3, padding=1), nn.Linear(128, width)
        self.small, self.pointwise = nn.Linear(width, 4), nn.Conv2d(3, 64, 1)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """See the class."""
        hidden = self.convolution(self.pointwise(pixels)).flatten(2).transpose(1, 2)
        found: torch.Tensor = self.small(torch.nn.functional.silu(self.linear(hidden)))
        return found


@pytest.fixture
def mixed() -> Mixed:
    torch.manual_seed(0)
    return Mixed().eval()


@pytest.mark.parametrize("precision", DTYPES)
def test_large_weights_are_stored_in_8_bits_and_compute_nearly_the_same(mixed: Mixed, precision: str) -> None:
    pixels = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = mixed(pixels)
        with in_8_bits(mixed, DTYPES[precision]):
            found = mixed(pixels)
            stored = {name: each.dtype for name, each in mixed.state_dict().items()}
    assert 0 < relative(found, expected) < RELATIVE[precision]
    eight = [name for name, dtype in stored.items() if dtype == DTYPES[precision]]
    assert eight == [f"{layer}.parametrizations.weight.original0" for layer in ("convolution", "linear")]


def test_the_model_is_the_same_afterwards_also_after_an_error(mixed: Mixed) -> None:
    before, parameters = digest_of_weights({"unet": mixed}), dict(mixed.named_parameters())
    with pytest.raises(ZeroDivisionError), in_8_bits(mixed, torch.int8):
        raise ZeroDivisionError
    after = dict(mixed.named_parameters())
    assert list(after) == list(parameters) and all(after[name] is each for name, each in parameters.items())
    assert all(each.requires_grad for each in after.values()) and type(mixed.linear) is nn.Linear
    assert digest_of_weights({"unet": mixed}) == before


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_channels_that_are_zero_and_the_largest_weights_stay_finite(dtype: torch.dtype) -> None:
    weight = torch.tensor([[0.0, 0.0], [3e38, -1.0], [1e-30, -1e-30]])
    dequantized = Dequantized(dtype)
    found = dequantized(*dequantized.right_inverse(weight))
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found[:2].amax(1), weight[:2].amax(1))


def test_a_graph_is_small_and_takes_other_sizes(tmp_path: Path) -> None:
    module = Mixed(width=1 << 14).eval()
    part, recorder = ModelPart("unet", module), Recorder()
    with recording([part], recorder), torch.no_grad():
        for side in (16, 24):
            module(torch.randn(2, 3, side, side))
    exported = trace(part, recorder.calls("unet"), "stable-diffusion", "aoti", tmp_path)
    file = tmp_path / build(exported, "stable-diffusion", "fp8", tmp_path)
    weights_bytes = sum(each.numel() * each.element_size() for each in module.parameters())
    assert file.stat().st_size < 0.7 * weights_bytes
    pixels = torch.randn(2, 3, 20, 20)
    with torch.inference_mode():
        assert relative(torch._inductor.aoti_load_package(str(file))(pixels)[0], module(pixels)) < RELATIVE["fp8"]


def test_a_package_passes_its_checks(tmp_path: Path) -> None:
    spec = VisionSpec(name="tiny", folder=save("test_resnet", tmp_path / "tiny"))
    model = record_vision(load_vision_model(spec, torch.device("cpu")), lambda progress: None)
    store, targets = PackageStore(tmp_path / "deployed"), [Target("aoti", "int8")]
    ((_, package),) = make_packages(model, targets, store, is_forced=False, tell=lambda progress: None)
    assert isinstance(package, Package), package
    assert package.has_passed, package.manifest["checks"]["failures"]
    assert package.manifest["checks"]["parts"]["model"]["relative"] > 1e-4, "the weights are not those of torch"


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The norm of the difference over that of ``expected``."""
    return float((found - expected).norm() / expected.norm())
