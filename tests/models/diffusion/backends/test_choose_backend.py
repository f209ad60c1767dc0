"""Which backend is chosen, and that torch serves whatever another cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.diffusion.backends import choose
from models.diffusion.backends.choose import choose_backend
from models.diffusion.backends.compiled import CompiledDenoiser
from models.diffusion.backends.eager import EagerDenoiser
from models.diffusion.backends.measure import forward_s
from models.diffusion.denoiser import Denoiser, InputShape
from models.errors import ModelUnavailable
from tests.models.diffusion.backends.unets import build_unet, inputs_for, run_denoiser, run_torch


class Untraceable(UNet2DConditionModel):
    """Cannot be exported."""

    def forward(self, *args: Any, **options: Any) -> Any:
        if torch.jit.is_tracing():
            raise RuntimeError("no tracing here")
        return super().forward(*args, **options)


class Different(UNet2DConditionModel):
    """Computes something else once it is exported."""

    def forward(self, *args: Any, **options: Any) -> Any:
        (output,) = super().forward(*args, **options)
        return (output * (1.01 if torch.jit.is_tracing() else 1),)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_exported_backend_is_chosen_and_measured(name: str, graphs: Path) -> None:
    eager = EagerDenoiser(build_unet())
    chosen = choose_backend(eager, name, graphs)
    assert chosen.name == name
    assert chosen.relative_error is not None and 0 < chosen.relative_error < 1e-5


@pytest.mark.parametrize("fastest", ["eager", "openvino", "onnxruntime"])
def test_by_itself_the_fastest_is_chosen_and_remembered(
    fastest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    eager, races = EagerDenoiser(build_unet()), []

    def measured(opened: Sequence[Denoiser], unet: Any) -> list[float]:
        seconds = forward_s(opened, unet)
        assert all(0 < each < 10 for each in seconds)
        races.append([each.name for each in opened])
        return [0.0 if each.name == fastest else each_s for each, each_s in zip(opened, seconds, strict=True)]

    monkeypatch.setattr(choose, "forward_s", measured)
    assert [choose_backend(eager, "auto", tmp_path).name for _ in range(2)] == [fastest, fastest]
    assert races == [["eager", "openvino", "onnxruntime"]]


def test_a_cache_that_cannot_be_written_costs_only_speed(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    eager = EagerDenoiser(build_unet())
    assert choose_backend(eager, "auto", tmp_path / "cache") is eager


def test_a_large_unet_takes_the_first_unmeasured(graphs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "MEASURED_MAX_BYTES", 1000)
    monkeypatch.setattr(choose, "forward_s", None)
    assert choose_backend(EagerDenoiser(build_unet()), "auto", graphs).name == "openvino"


def test_torch_serves_when_it_is_asked_for_or_nothing_else_is_sure_to(graphs: Path) -> None:
    eager, half = EagerDenoiser(build_unet()), EagerDenoiser(build_unet().to(torch.bfloat16))
    assert choose_backend(eager, "eager", graphs) is eager
    assert choose_backend(half, "auto", graphs) is half
    assert (eager.name, eager.relative_error) == ("eager", None)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    ("unet_class", "reason"), [(Untraceable, "no tracing here"), (Different, "differs from torch's by 0.01")]
)
def test_torch_serves_what_a_backend_cannot(
    backend: str, unet_class: type[Any], reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    eager = EagerDenoiser(build_unet(unet_class=unet_class))
    assert choose_backend(eager, backend, tmp_path) is eager
    assert f"backend {backend} cannot be used: " in caplog.text
    assert reason in caplog.text


def test_a_cache_that_cannot_be_written_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    eager = EagerDenoiser(build_unet())
    assert choose_backend(eager, "openvino", tmp_path / "file") is eager


def test_what_compiling_for_a_gpu_needs_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: None)
    assert choose.missing_compiler() == "Triton is not installed"
    monkeypatch.setattr(choose.importlib.util, "find_spec", lambda name: object())
    assert choose.missing_compiler() == "there is no C compiler, which Triton needs"
    (tmp_path / "cc").write_text("")
    (tmp_path / "cc").chmod(0o755)
    assert choose.missing_compiler() is None


def test_a_compiled_unet_for_a_gpu_is_ready_for_what_is_served_and_compared_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The CPU stands for the GPU: blocks are compiled for each shape, though by nothing that compiles."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    torch.compiler.set_default_backend("eager")
    unet, served, warm_up = build_unet(), InputShape(8, 8, 77), CompiledDenoiser.warm_up
    monkeypatch.setattr(CompiledDenoiser, "warm_up", lambda denoiser, shape: warm_up(denoiser, shape, (2,)))
    monkeypatch.setattr(choose, "_is_gpu", lambda device: True)
    monkeypatch.setattr(choose, "missing_compiler", lambda: None)
    chosen = choose_backend(EagerDenoiser(unet), "compiled", tmp_path, served)
    torch.compiler.set_default_backend(None)
    assert isinstance(chosen, CompiledDenoiser)
    assert chosen.batch_sizes(served) == (2,)
    assert chosen.relative_error is not None and chosen.relative_error < 1e-5


def test_an_unknown_backend_is_refused(graphs: Path) -> None:
    with pytest.raises(ModelUnavailable, match="unknown backend 'tensorrt'; the backends are auto, eager, compiled"):
        choose_backend(EagerDenoiser(build_unet()), "tensorrt", graphs)


def test_eager_is_the_plain_forward() -> None:
    unet = build_unet()
    inputs = inputs_for(unet)
    output = run_denoiser(EagerDenoiser(unet), inputs)
    with torch.no_grad():
        states = inputs.conditioning.hidden_states
        expected = unet(inputs.latents, inputs.timesteps, encoder_hidden_states=states).sample
    assert torch.equal(output, expected) and torch.equal(run_torch(unet, inputs), expected)
