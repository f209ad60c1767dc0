"""The compiled UNet computes what the plain one computes, padded or not, and leaves that one uncompiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch._dynamo.utils import counters
from torch._inductor import exc
from torch._inductor.cpp_builder import get_cpp_compiler

from models.diffusion.backends.compiled import CompiledDenoiser, bucket
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import Residuals
from tests.models.diffusion.backends.unets import inputs_for, relative_difference, run_denoiser, run_torch


def _has_compiler() -> bool:
    try:
        return bool(get_cpp_compiler())
    except exc.InvalidCxxCompiler:
        return False


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
needs_compiler = pytest.mark.skipif(not _has_compiler(), reason="there is no C++ compiler")


def test_buckets() -> None:
    counts = (1, 2, 3, 4, 5, 8, 9, 16, 17, 32, 33)
    assert [bucket(count) for count in counts] == [1, 2, 4, 4, 8, 8, 16, 16, 32, 32, 48]


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """All of torch.compile but its last stage, which takes seconds for each kind of block."""
    torch.compiler.set_default_backend("aot_eager")
    yield
    torch.compiler.set_default_backend(None)


@needs_compiler
def test_compiled_resnet_blocks_equal_torch() -> None:
    unet = build_smallest(down_block_types=("DownBlock2D",), mid_block_type=None)
    denoiser, inputs = CompiledDenoiser(unet, fixed_shapes=True), inputs_for(unet, 3)
    assert relative_difference(run_denoiser(denoiser, inputs), run_torch(unet, inputs)) < 1e-5


def test_padded_batches_equal_torch_and_the_given_unet_stays_uncompiled(uncompiled: None) -> None:
    unet = build_smallest()
    denoiser = CompiledDenoiser(unet, fixed_shapes=True)
    graphs = counters["stats"]["unique_graphs"]
    for count, controlled in ((3, True), (4, False), (2, True)):
        inputs = inputs_for(unet, count)
        residuals = residuals_for(unet, inputs) if controlled else None
        output = run_denoiser(denoiser, inputs, residuals)
        assert len(output) == count
        assert relative_difference(output, run_torch(unet, inputs, residuals)) < 1e-5
        if count == 3:
            of_four = counters["stats"]["unique_graphs"] - graphs
    assert of_four > 0 and counters["stats"]["unique_graphs"] - graphs == 2 * of_four
    assert all(module._compiled_call_impl is None for module in unet.modules())


def test_free_shapes_are_compiled_once(uncompiled: None) -> None:
    unet = build_smallest()
    denoiser, graphs = CompiledDenoiser(unet, fixed_shapes=False), set()
    for count, size, tokens in ((2, (9, 7), 77), (5, (6, 11), 154), (3, (12, 8), 24)):
        inputs = inputs_for(unet, count, size, tokens)
        assert relative_difference(run_denoiser(denoiser, inputs), run_torch(unet, inputs)) < 1e-5
        graphs.add(counters["stats"]["unique_graphs"])
    assert len(graphs) == 1


def test_weights_are_shared(uncompiled: None) -> None:
    unet = build_smallest()
    denoiser, inputs = CompiledDenoiser(unet, fixed_shapes=True), inputs_for(unet)
    with torch.no_grad():
        unet.conv_out.weight.mul_(2)
    assert relative_difference(run_denoiser(denoiser, inputs), run_torch(unet, inputs)) < 1e-5


def build_smallest(**config: Any) -> Any:
    """A UNet of one level, for each kind of block is compiled for itself."""
    torch.manual_seed(0)
    defaults: dict[str, Any] = {
        "sample_size": 8, "block_out_channels": (8,), "layers_per_block": 1, "cross_attention_dim": 8,
        "attention_head_dim": 2, "norm_num_groups": 4, "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("UpBlock2D",),
    }  # fmt: skip
    return UNet2DConditionModel(**(defaults | config)).eval()


def residuals_for(unet: Any, inputs: Inputs) -> Residuals:
    """What a ControlNet would give: all of one shape, for nothing is halved."""
    generator = torch.Generator().manual_seed(1)
    shape = (len(inputs.latents), unet.config.block_out_channels[0], *inputs.latents.shape[2:])
    noise = [torch.randn(shape, generator=generator) for _ in range(3)]
    return Residuals(tuple(noise[:2]), noise[2])
