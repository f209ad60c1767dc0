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

from models.diffusion.backends import compiled
from models.diffusion.backends.compiled import BUCKETS, CompiledDenoiser
from models.diffusion.backends.inputs import Inputs
from models.diffusion.denoiser import InputShape, Residuals, computed_inputs
from models.errors import OutOfMemory
from tests.models.diffusion.backends.unets import inputs_for, relative_difference, run_denoiser, run_torch


def _has_compiler() -> bool:
    try:
        return bool(get_cpp_compiler())
    except exc.InvalidCxxCompiler:
        return False


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
needs_compiler = pytest.mark.skipif(not _has_compiler(), reason="there is no C++ compiler")


SHAPE = InputShape(8, 8, 77)
"""Of the inputs that ``inputs_for`` makes by default."""


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((), [1, 2, 3, 5, 18, 33, 41]),
        (tuple(sorted(BUCKETS)), [1, 2, 4, 6, 20, 33, 44]),
        ((2, 8), [2, 2, 8, 8, 18, 34, 42]),
    ],
)
def test_batches_are_padded_to_the_next_size_and_divided_above_the_last(
    sizes: tuple[int, ...], expected: list[int]
) -> None:
    assert [computed_inputs(count, sizes) for count in (1, 2, 3, 5, 18, 33, 41)] == expected


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """All of torch.compile but its last stage, which takes seconds for each kind of block; nothing is compiled yet."""
    torch._dynamo.reset()
    torch.compiler.set_default_backend("aot_eager")
    yield
    torch.compiler.set_default_backend(None)


@needs_compiler
def test_compiled_resnet_blocks_equal_torch() -> None:
    unet = build_smallest(down_block_types=("DownBlock2D",), mid_block_type=None)
    denoiser, inputs = warm(unet, 4), inputs_for(unet, 3)
    assert relative_difference(run_denoiser(denoiser, inputs), run_torch(unet, inputs)) < 1e-5


def test_padded_and_divided_batches_equal_torch_and_nothing_more_is_compiled(uncompiled: None) -> None:
    unet = build_smallest()
    denoiser = warm(unet, 4, 2)
    assert denoiser.batch_sizes(SHAPE) == (2, 4)
    graphs = counters["stats"]["unique_graphs"]
    for count, controlled in ((3, True), (4, False), (2, True), (1, False), (11, True)):
        inputs = inputs_for(unet, count)
        residuals = residuals_for(unet, inputs) if controlled else None
        output = run_denoiser(denoiser, inputs, residuals)
        assert len(output) == count
        assert relative_difference(output, run_torch(unet, inputs, residuals)) < 1e-5
    assert counters["stats"]["unique_graphs"] == graphs
    assert all(module._compiled_call_impl is None for module in unet.modules())


def test_each_size_is_compiled_for_itself_and_once(uncompiled: None) -> None:
    denoiser, graphs = CompiledDenoiser(build_smallest(), fixed_shapes=True), []
    for size in (2, 4, 2):
        before = counters["stats"]["unique_graphs"]
        denoiser.warm_up(SHAPE, [size])
        graphs.append(counters["stats"]["unique_graphs"] - before)
    assert graphs[0] == graphs[1] > 0 == graphs[2]


def test_inputs_of_another_shape_run_uncompiled(uncompiled: None) -> None:
    unet = build_smallest()
    denoiser, graphs = warm(unet, 2), counters["stats"]["unique_graphs"]
    for size, tokens in (((8, 10), 77), ((8, 8), 154)):
        inputs = inputs_for(unet, 2, size, tokens)
        assert torch.equal(run_denoiser(denoiser, inputs), run_torch(unet, inputs))
        assert denoiser.batch_sizes(InputShape(*size, tokens)) == ()
    assert counters["stats"]["unique_graphs"] == graphs


def test_compiling_ends_in_time_and_with_the_sizes_that_count_most(uncompiled: None) -> None:
    denoiser = CompiledDenoiser(build_smallest(), fixed_shapes=True)
    denoiser.warm_up(SHAPE, budget_s=0.0)
    assert denoiser.batch_sizes(SHAPE) == (2,)
    assert sorted(BUCKETS) == [1, 2, 4, 6, 8, 12, 16, 20, 24, 28, 32]


def test_sizes_that_do_not_fit_into_the_memory_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_large(unet: Any, latents: torch.Tensor, *_: Any) -> torch.Tensor:
        if len(latents) > largest:
            raise torch.OutOfMemoryError("too many")
        return latents

    monkeypatch.setattr(compiled, "call_unet", refuse_large)
    largest = 8
    assert warm(build_smallest(), 2, 16, 8, 32).batch_sizes(SHAPE) == (2, 8)
    largest = 1
    with pytest.raises(OutOfMemory):
        warm(build_smallest(), 2, 4)


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
    denoiser, inputs = warm(unet, 2), inputs_for(unet)
    with torch.no_grad():
        unet.conv_out.weight.mul_(2)
    assert relative_difference(run_denoiser(denoiser, inputs), run_torch(unet, inputs)) < 1e-5


def warm(unet: Any, *sizes: int) -> CompiledDenoiser:
    """Compiled for batches of ``sizes``."""
    denoiser = CompiledDenoiser(unet, fixed_shapes=True)
    denoiser.warm_up(SHAPE, sizes)
    return denoiser


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
