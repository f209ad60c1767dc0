"""LoRAs: the same as in the plain pipeline, never in a row that did not ask for them."""

from __future__ import annotations

import gc
import logging
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
)
from safetensors.torch import load_file, save_file

from models.catalog.auxiliary import AuxiliaryModel
from models.diffusion.checkpoint import Adapters, Checkpoint
from models.diffusion.denoiser import Conditioning
from models.diffusion.lora import copy_sharing_tensors, load_loras, set_adapters
from models.errors import ModelUnavailable
from tests.models.diffusion.rig import PLAIN_OPTIONS, Studio, pixel_difference
from tests.tiny import build_tiny_lora

pytestmark = [
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # in the plain pipeline
]

Make = Callable[..., AuxiliaryModel]


@pytest.fixture(params=["tiny_sd", "tiny_sdxl"])
def studio(request: pytest.FixtureRequest) -> Studio:
    found: Studio = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Writes LoRAs."""

    def write(name: str, studio: Studio, **options: Any) -> AuxiliaryModel:
        assert studio.spec.folder is not None
        file = build_tiny_lora(tmp_path / f"{name}.safetensors", studio.spec.folder, **options)
        return AuxiliaryModel(name=name, path=file)

    return write


def plain_pipeline(studio: Studio, uses: Sequence[tuple[AuxiliaryModel, float]]) -> Any:
    """A pipeline of its own, with ``uses`` by diffusers' own means."""
    plain = DiffusionPipeline.from_pretrained(studio.spec.folder, **PLAIN_OPTIONS[studio.spec.family])
    for number, (lora, _) in enumerate(uses):
        plain.load_lora_weights(str(lora.path), adapter_name=f"plain_{number}")
    plain.set_adapters([f"plain_{number}" for number in range(len(uses))], [weight for _, weight in uses])
    plain.set_progress_bar_config(disable=True)
    return plain


@torch.inference_mode()
def output(checkpoint: Checkpoint) -> torch.Tensor:
    """What the denoiser predicts from fixed inputs, whatever the text encoders say."""
    config = checkpoint.pipeline.unet.config
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 7, config.cross_attention_dim, generator=generator)
    further = {}
    if config.addition_embed_type == "text_time":
        further = {"text_embeds": torch.randn(2, 16, generator=generator), "time_ids": torch.ones(2, 6)}
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    return checkpoint.denoiser.denoise(latents, torch.tensor([500.0, 20.0]), Conditioning(states, None, further))


@torch.inference_mode()
def states(pipeline: Any) -> torch.Tensor:
    """The hidden states of a prompt."""
    given = pipeline.encode_prompt("a cat", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    hidden_states: torch.Tensor = given[0]
    return hidden_states


def test_two_loras_work_as_in_the_plain_pipeline(studio: Studio, make: Make) -> None:
    uses = [(make("a", studio, seed=1), 0.7), (make("b", studio, seed=2, rank=8), -0.3)]
    ours, plain = Adapters(studio.checkpoint).get(uses), plain_pipeline(studio, uses)
    theirs = replace(studio.checkpoint, pipeline=plain, denoiser=studio.checkpoint.family.eager(plain))
    torch.testing.assert_close(output(ours), output(theirs), rtol=0, atol=1e-6)
    torch.testing.assert_close(states(ours.pipeline), states(plain), rtol=0, atol=1e-6)
    assert not torch.allclose(output(ours), output(studio.checkpoint), atol=1e-2)
    assert not torch.allclose(states(ours.pipeline), states(studio.checkpoint.pipeline), atol=1e-2)


def test_denoiser_and_text_encoders_may_have_other_weights(studio: Studio, make: Make) -> None:
    a, adapters = make("a", studio, seed=1), Adapters(studio.checkpoint)
    both, other = adapters.get([(a, 0.7)]), adapters.get([(a, 0.2)])
    mixed = adapters.get([(a, (0.7, 0.2))])
    torch.testing.assert_close(output(mixed), output(both), rtol=0, atol=1e-6)
    torch.testing.assert_close(states(mixed.pipeline), states(other.pipeline), rtol=0, atol=1e-6)
    assert not torch.allclose(states(mixed.pipeline), states(both.pipeline), atol=1e-3)
    assert adapters.get([(a, (0.4, 0.1)), (a, (0.3, 0.1))]) is adapters.get([(a, (0.7, 0.2))])
    half = adapters.get([(a, (0.0, 0.2))])
    torch.testing.assert_close(output(half), output(studio.checkpoint), rtol=0, atol=1e-6)


@torch.inference_mode()
def image(pipeline: Any) -> Any:
    """What the pipeline itself draws."""
    generator = torch.Generator().manual_seed(1)
    return pipeline("a cat", num_inference_steps=3, width=64, height=64, generator=generator).images[0]


def test_images_are_those_of_the_plain_pipeline(studio: Studio, make: Make) -> None:
    uses = [(make("a", studio, seed=1), 0.7), (make("b", studio, seed=2), -0.3)]
    ours: Any = Adapters(studio.checkpoint).get(uses).pipeline
    ours.set_progress_bar_config(disable=True)
    assert pixel_difference(image(ours), image(plain_pipeline(studio, uses))) <= 1


def test_kohya_files_are_the_same_loras(studio: Studio, make: Make) -> None:
    adapters = Adapters(studio.checkpoint)
    ours = adapters.get([(make("diffusers", studio), 0.8)])
    kohyas = adapters.get([(make("kohya", studio, kohya=True), 0.8)])
    torch.testing.assert_close(output(kohyas), output(ours), rtol=0, atol=1e-6)
    torch.testing.assert_close(states(kohyas.pipeline), states(ours.pipeline), rtol=0, atol=1e-6)


def test_the_base_is_untouched_while_loras_come_and_go(studio: Studio, make: Make) -> None:
    adapters, before = Adapters(studio.checkpoint), output(studio.checkpoint)
    words, modules = states(studio.checkpoint.pipeline), list(studio.checkpoint.pipeline.unet.modules())
    outputs: list[torch.Tensor] = []
    drawing = threading.Thread(target=lambda: outputs.extend(output(studio.checkpoint) for _ in range(20)))
    drawing.start()
    first, second = (adapters.get([(make(name, studio, seed=seed), 1.0)]) for seed, name in enumerate("ab", 1))
    drawing.join()
    alternating = [output(each) for each in (first, studio.checkpoint, second, first)]
    outputs.append(alternating.pop(1))
    assert len(outputs) == 21
    assert all(torch.equal(before, each) for each in outputs)
    assert torch.equal(words, states(studio.checkpoint.pipeline))
    assert modules == list(studio.checkpoint.pipeline.unet.modules())
    assert torch.equal(alternating[0], alternating[2])
    assert not torch.allclose(alternating[0], alternating[1], atol=1e-2)


def test_equal_sets_are_one_checkpoint(tiny_sd: Studio, make: Make) -> None:
    a, b = make("a", tiny_sd), make("b", tiny_sd, seed=1)
    adapters = Adapters(tiny_sd.checkpoint)
    assert adapters.get([(a, 0.5), (b, 1.0)]) is adapters.get([(b, 1.0), (a, 0.25), (a, 0.25)])
    assert adapters.get([(a, 0.5)]) is not adapters.get([(a, 0.75)])
    assert adapters.get([(a, 0.5)]).has_loras
    assert not tiny_sd.checkpoint.has_loras


@pytest.mark.parametrize("weights", [(), (0.0,), (0.5, -0.5)])
def test_no_lora_is_the_base_itself(tiny_sd: Studio, weights: tuple[float, ...]) -> None:
    unread = AuxiliaryModel(name="unread", path=Path("nowhere.safetensors"))
    assert Adapters(tiny_sd.checkpoint).get([(unread, weight) for weight in weights]) is tiny_sd.checkpoint


def test_another_weight_needs_no_file_and_no_memory(tiny_sd: Studio, make: Make) -> None:
    a, b = make("a", tiny_sd), make("b", tiny_sd, seed=1)
    adapters = Adapters(tiny_sd.checkpoint)
    once = adapters.get([(a, 0.5), (b, 1.0)])
    fresh = output(Adapters(tiny_sd.checkpoint).get([(a, -0.9), (b, 2.0)]))
    a.path.unlink()
    again = adapters.get([(a, -0.9), (b, 2.0)])
    assert torch.equal(output(again), fresh)
    assert tensors(once) == tensors(again)
    assert tensors(tiny_sd.checkpoint) < tensors(once)


def tensors(checkpoint: Checkpoint) -> set[int]:
    """Where the UNet's and the text encoder's parameters are in memory."""
    pipeline = checkpoint.pipeline
    return {each.data_ptr() for part in (pipeline.unet, pipeline.text_encoder) for each in part.parameters()}


def test_a_combination_that_nobody_holds_is_freed_and_its_base_stays(tiny_sd: Studio, make: Make) -> None:
    adapters = Adapters(tiny_sd.checkpoint)
    held = adapters.get([(make("a", tiny_sd, seed=1), 1.0)])
    freed = weakref.ref(adapters.get([(make("b", tiny_sd, seed=2), 1.0)]).pipeline.unet)
    gc.collect()
    assert freed() is None
    assert adapters.get([(make("a", tiny_sd, seed=1), 1.0)]) is held


def test_a_lora_for_the_text_encoder_alone(studio: Studio, make: Make) -> None:
    ours = Adapters(studio.checkpoint).get([(make("words", studio, parts=["text_encoder"]), 1.0)])
    assert torch.equal(output(ours), output(studio.checkpoint))
    assert not torch.allclose(states(ours.pipeline), states(studio.checkpoint.pipeline), atol=1e-2)


def test_a_lora_without_a_text_encoder(studio: Studio, make: Make) -> None:
    ours = Adapters(studio.checkpoint).get([(make("image", studio, parts=["unet"]), 1.0)])
    assert torch.equal(states(ours.pipeline), states(studio.checkpoint.pipeline))
    assert not torch.allclose(output(ours), output(studio.checkpoint), atol=1e-2)


def test_layers_that_the_model_does_not_have_are_told_of(
    tiny_sd: Studio, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    lora = make("large", tiny_sd)
    extra = {f"unet.nowhere.to_q.lora_{side}.weight": torch.ones(4, 4) for side in "AB"}
    save_file(load_file(lora.path) | extra, lora.path)
    with caplog.at_level(logging.WARNING, "models.diffusion.lora"):
        Adapters(tiny_sd.checkpoint).get([(lora, 1.0)])
    assert "LoRA 'large': 1 of its 41 layers are not in this model" in caplog.text


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("unet.nowhere.to_q.lora_A.weight", "made for another model"),
        ("base_model.model.unet.to_q.lora_B.weight", "made for another model"),
        ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "made for another model"),
        ("lora_unet_mid_block_attentions_0_proj_in.hada_w1_a", "only plain LoRAs can be used"),
        ("lora_unet_mid_block_attentions_0_proj_in.dora_scale", "only plain LoRAs can be used"),
        ("transformer.blocks.0.norm_q.weight", "only plain LoRAs can be used"),
    ],
)
def test_what_is_no_lora_for_the_model_is_refused(tiny_sd: Studio, tmp_path: Path, key: str, reason: str) -> None:
    save_file({key: torch.ones(4, 4)}, tmp_path / "odd.safetensors")
    with pytest.raises(ModelUnavailable, match=f"LoRA 'odd'.*{reason}"):
        Adapters(tiny_sd.checkpoint).get([(AuxiliaryModel(name="odd", path=tmp_path / "odd.safetensors"), 1.0)])


@pytest.mark.parametrize("kohya", [False, True])
def test_a_lora_of_another_family_is_refused(tiny_sd: Studio, tiny_sdxl: Studio, make: Make, kohya: bool) -> None:
    for theirs, ours in ((tiny_sdxl, tiny_sd), (tiny_sd, tiny_sdxl)):
        adapters, before = Adapters(ours.checkpoint), output(ours.checkpoint)
        with pytest.raises(ModelUnavailable, match="LoRA 'foreign' is made for another model"):
            adapters.get([(make("foreign", theirs, kohya=kohya), 1.0)])
        assert torch.equal(before, output(ours.checkpoint))


def test_a_lora_of_other_widths_names_the_first_tensor(tiny_sd: Studio, make: Make) -> None:
    lora = make("wide", tiny_sd)
    weights = load_file(lora.path).items()
    save_file({name: each.repeat(1, 1 + ("lora_A" in name)) for name, each in weights}, lora.path)
    reason = r"its tensor '[\w.]+lora_A\.weight' has the shape \[4, 64\], and the model needs \[4, 32\]"
    with pytest.raises(ModelUnavailable, match=reason):
        Adapters(tiny_sd.checkpoint).get([(lora, 1.0)])


def test_a_transformer_takes_loras_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    flux = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    up, down = torch.randn(96, 4), torch.randn(4, 32)
    fused = {"lora_up.weight": up, "lora_down.weight": down, "alpha": torch.tensor(2.0)}  # queries, keys, values
    file = tmp_path / "kohya.safetensors"
    save_file({f"lora_unet_double_blocks_0_img_attn_qkv.{name}": tensor for name, tensor in fused.items()}, file)
    ours: Any = copy_sharing_tensors(
        FluxPipeline(FlowMatchEulerDiscreteScheduler(), AutoencoderKL(), None, None, None, None, flux)
    )
    load_loras(ours, [AuxiliaryModel(name="kohya", path=file)])
    set_adapters(ours, [0.5])
    layer, states = "transformer_blocks.0.attn.to_k", torch.randn(1, 3, 32)
    changed, unchanged = (each.get_submodule(layer)(states) for each in (ours.transformer, flux))
    torch.testing.assert_close(changed, unchanged + 0.5 * (2 / 4) * states @ (up[32:64] @ down).T)


@pytest.mark.parametrize("name", ["missing.safetensors", "pickled.pt", "damaged.safetensors"])
def test_what_cannot_be_read_is_refused(tiny_sd: Studio, tmp_path: Path, name: str) -> None:
    for damaged in ("pickled.pt", "damaged.safetensors"):
        (tmp_path / damaged).write_bytes(b"no weights")
    with pytest.raises(ModelUnavailable, match=r"LoRA 'odd'.*(cannot be read|no \.safetensors file|a pickle file)"):
        Adapters(tiny_sd.checkpoint).get([(AuxiliaryModel(name="odd", path=tmp_path / name), 1.0)])
