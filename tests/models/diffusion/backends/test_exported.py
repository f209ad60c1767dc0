"""OpenVINO and ONNX Runtime compute what torch computes, for every UNet and every shape, and leave torch alone."""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from models.diffusion.backends.cache import GraphCache
from models.diffusion.backends.exporting import Unusable
from models.diffusion.backends.measure import FLOAT32_BOUND, HALF_BOUND, difference
from models.diffusion.backends.onnxruntime import open_onnxruntime
from models.diffusion.backends.openvino import open_openvino, ov
from models.diffusion.denoiser import Denoiser
from models.errors import DrawingFailed
from tests.models.diffusion.backends.unets import (
    KINDS,
    build_unet,
    inputs_for,
    relative_difference,
    residuals_for,
    run_denoiser,
    run_torch,
)

OPENERS = {"openvino": open_openvino, "onnxruntime": open_onnxruntime}
SHAPES = [(1, (8, 8), 77), (3, (9, 14), 154), (5, (6, 11), 24), (2, (16, 12), 77)]
"""Inputs, latents' size, tokens; some sides can be halved twice, some once, some not at all."""


@pytest.fixture(params=list(OPENERS))
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_backend(name: str, unet: Any, cache: GraphCache) -> Denoiser:
    return OPENERS[name](name, unet, cache)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_torch_for_every_shape(backend: str, kind: str, cache: GraphCache) -> None:
    unet = build_unet(kind)
    denoiser = open_backend(backend, unet, cache)
    for count, size, tokens in SHAPES:
        inputs = inputs_for(unet, count, size, tokens)
        output = run_denoiser(denoiser, inputs)
        assert output.shape == (count, 4, *size)
        assert relative_difference(output, run_torch(unet, inputs)) < 1e-5


def test_exporting_in_inference_mode_leaves_the_unet_alone(backend: str, tmp_path: Path) -> None:
    with torch.inference_mode():  # as the engine loads checkpoints
        unet = build_unet()
        inputs = inputs_for(unet)
        state = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
        before = run_torch(unet, inputs)
        modules, parameters = list(unet.modules()), [id(each) for each in unet.parameters()]
        denoiser = open_backend(backend, unet, GraphCache(tmp_path))
    assert difference(denoiser, unet).relative < 1e-5
    assert torch.equal(run_torch(unet, inputs), before)
    assert all(torch.equal(tensor, state[name]) for name, tensor in unet.state_dict().items())
    assert [id(each) for each in unet.parameters()] == parameters
    assert list(unet.modules()) == modules
    assert all(each.requires_grad for each in unet.parameters())
    assert not any(module._forward_hooks or module.training for module in modules)
    assert torch.is_grad_enabled() and not torch.jit.is_tracing()


def test_openvino_neither_silences_the_log_nor_reports_to_its_makers(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters))
    open_openvino("openvino", build_unet(), GraphCache(tmp_path))
    assert (root.level, root.handlers, root.filters) == before
    assert sys.modules["openvino_telemetry"] is None


def test_a_graph_is_exported_once(backend: str, cache: GraphCache, monkeypatch: pytest.MonkeyPatch) -> None:
    unet = build_unet()
    open_backend(backend, unet, cache)
    monkeypatch.setattr(unet, "forward", None)  # so that exporting it would fail
    assert open_backend(backend, unet, cache).name == backend


def test_an_output_stays_when_the_next_is_computed(backend: str, cache: GraphCache) -> None:
    unet = build_unet()
    denoiser, inputs = open_backend(backend, unet, cache), inputs_for(unet)
    first = run_denoiser(denoiser, inputs)
    kept = first.clone()
    with torch.inference_mode():
        inputs.latents.mul_(2)
    assert not torch.equal(run_denoiser(denoiser, inputs), kept)
    assert torch.equal(first, kept)


def test_inputs_need_not_be_contiguous(backend: str, cache: GraphCache) -> None:
    unet = build_unet()
    denoiser, inputs = open_backend(backend, unet, cache), inputs_for(unet)
    flipped = inputs_for(unet)
    with torch.inference_mode():
        flipped.latents.set_(inputs.latents.to(memory_format=torch.channels_last))
    assert torch.equal(run_denoiser(denoiser, flipped), run_denoiser(denoiser, inputs))


def test_residuals_are_refused(backend: str, cache: GraphCache) -> None:
    unet = build_unet()
    denoiser, inputs = open_backend(backend, unet, cache), inputs_for(unet)
    with pytest.raises(DrawingFailed, match="takes no ControlNet residuals"):
        run_denoiser(denoiser, inputs, residuals_for(inputs))


def test_torch_may_run_beside_it(backend: str, cache: GraphCache) -> None:
    unet = build_unet()
    denoiser, inputs = open_backend(backend, unet, cache), inputs_for(unet, count=4, size=(16, 16))
    alone, expected = run_denoiser(denoiser, inputs), run_torch(unet, inputs)
    beside: list[torch.Tensor] = []
    thread = threading.Thread(target=lambda: beside.extend(run_torch(unet, inputs) for _ in range(30)))
    thread.start()
    outputs = [run_denoiser(denoiser, inputs) for _ in range(30)]
    thread.join()
    assert all(torch.equal(output, alone) for output in outputs)
    assert len(beside) == 30 and all(torch.equal(output, expected) for output in beside)


def test_torch_may_run_beside_the_export(backend: str, tmp_path: Path) -> None:
    unet, served = build_unet(), build_unet("house")
    inputs = inputs_for(served)
    expected, beside, done = run_torch(served, inputs), [], threading.Event()

    def serve() -> None:
        while not done.is_set():
            beside.append(run_torch(served, inputs))

    thread = threading.Thread(target=serve)
    thread.start()
    denoiser = open_backend(backend, unet, GraphCache(tmp_path))
    done.set()
    thread.join()
    assert len(beside) > 5 and all(torch.equal(output, expected) for output in beside)
    assert difference(denoiser, unet).relative < 1e-5


def test_bfloat16_is_near_and_float32_exact_on_the_same_graph(cache: GraphCache) -> None:
    if "BF16" not in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor has no bfloat16 instructions")
    unet = build_unet()
    exact, rough = (open_openvino(name, unet, cache) for name in ("openvino", "openvino-bf16"))
    assert difference(exact, unet).relative < 1e-5
    assert FLOAT32_BOUND < difference(rough, unet).relative < HALF_BOUND


def test_openvino_serves_float32_alone(cache: GraphCache) -> None:
    with pytest.raises(Unusable, match=r"needs a float32 UNet on a CPU, not torch\.bfloat16 on cpu"):
        open_openvino("openvino", build_unet().to(torch.bfloat16), cache)


def test_onnxruntime_cannot_take_bfloat16(cache: GraphCache) -> None:
    with pytest.raises(Unusable, match=r"does not support torch\.bfloat16"):
        open_onnxruntime("onnxruntime", build_unet().to(torch.bfloat16), cache)
