"""Calls of modules are recorded as they are made, and tell which axes vary."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from models.deploy.parts import ModelPart, VaeDecoder, VaeEncoder
from models.deploy.recording import Recorder, Unrecordable, bounds, recording, varying_axes


class Twice(nn.Module):
    """Doubles its input."""

    def forward(self, sample: torch.Tensor, scale: Any = 2, states: Any = None) -> tuple[torch.Tensor]:
        """See the class."""
        return (sample * scale,)


def recorded(*sizes: tuple[int, ...], per_shape: int = 6) -> Recorder:
    """Calls of :class:`Twice` with inputs that count up."""
    part, recorder = ModelPart("unet", Twice()), Recorder(per_shape)
    with recording([part], recorder):
        for number, size in enumerate(sizes):
            part.module(torch.full(size, float(number)))
    part.module(torch.zeros(9, 9))
    return recorder


def test_a_call_has_its_inputs_and_outputs_by_name() -> None:
    recorder = recorded((1, 2))
    assert recorder.has("unet") and not recorder.has("vae_decoder")
    (call,) = recorder.calls("unet")
    assert list(call.inputs) == ["sample"] and list(call.outputs) == ["0"]
    assert call.shapes == (("sample", (1, 2)),)


def test_what_is_recorded_is_a_copy() -> None:
    part, recorder, values = ModelPart("unet", Twice()), Recorder(), torch.ones(1, 2)
    with recording([part], recorder):
        part.module(values)
        values.zero_()
    assert recorder.calls("unet")[0].inputs["sample"].equal(torch.ones(1, 2))


def test_calls_of_a_shape_are_kept_from_all_over_the_run() -> None:
    numbers = [
        call.inputs["sample"].flatten()[0].item() for call in recorded(*[(1, 2)] * 40, per_shape=4).calls("unet")
    ]
    assert len(numbers) == 4 and max(numbers) >= 30


def test_axes_vary_if_several_lengths_were_seen() -> None:
    calls = recorded((1, 4), (2, 4), (5, 4)).calls("unet")
    assert varying_axes(calls, lambda call: call.inputs) == {"sample": (True, False)}
    assert varying_axes(calls, lambda call: call.outputs) == {"0": (True, False)}
    assert bounds(calls) == {"sample": [(1, 5), (4, 4)]}


def test_calls_in_another_form_than_the_first_are_left_out() -> None:
    part, recorder = ModelPart("unet", Twice()), Recorder()
    with recording([part], recorder):
        part.module(torch.ones(1, 2))
        part.module(torch.ones(1, 3), scale=3)
        part.module(torch.ones(1, 4))
    assert [call.shapes[0][1] for call in recorder.calls("unet")] == [(1, 2), (1, 4)]


def test_a_call_that_no_graph_can_take_is_refused_by_name() -> None:
    part = ModelPart("unet", Twice())
    with recording([part], Recorder()), pytest.raises(Unrecordable, match="Twice: a call passes states of the type"):
        part.module(torch.ones(1), states=object())


def test_both_halves_of_a_vae_are_recorded_through_its_own_methods() -> None:
    class Vae:
        """Decodes to twice, encodes to half."""

        def decode(self, latents: torch.Tensor, return_dict: bool = True) -> Any:
            """See the class."""
            return (latents * 2,)

        def encode(self, pixels: torch.Tensor) -> Any:
            """See the class."""
            return SimpleNamespace(latents=pixels / 2)

    vae, recorder = Vae(), Recorder()
    parts = [ModelPart("vae_decoder", VaeDecoder(vae)), ModelPart("vae_encoder", VaeEncoder(vae))]
    with recording(parts, recorder):
        assert vae.decode(torch.ones(1), return_dict=False)[0].item() == 2
        assert vae.encode(torch.ones(1)).latents.item() == 0.5
    assert vars(vae) == {}, "its methods are its own again"
    vae.decode(torch.ones(2))
    assert [call.outputs["pixels"].item() for call in recorder.calls("vae_decoder")] == [2]
    assert [call.outputs["latents"].item() for call in recorder.calls("vae_encoder")] == [0.5]
