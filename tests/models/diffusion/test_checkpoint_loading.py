"""Loading checkpoints, and the reasons why one cannot be loaded."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

from models.catalog.catalog import ModelSpec
from models.catalog.families import FAMILIES, FLUX, STABLE_DIFFUSION
from models.catalog.samplers import FLOW_MATCHING
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.families.family import load_family
from models.errors import ModelUnavailable, OutOfMemory
from tests.models.diffusion.rig import CPU, spec_of
from tests.tiny import build_tiny_flux, build_tiny_sd, build_tiny_sd3


def reason(spec: ModelSpec) -> str:
    """Why the model is unavailable, in one line."""
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(spec, CPU)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder(own_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        checkpoint = load_checkpoint(spec_of(own_folder), CPU)
    assert (checkpoint.device, checkpoint.dtype, checkpoint.spec.name) == (CPU, torch.float32, "tiny")
    assert "safety" not in caplog.text


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_the_dtype_is_the_specs(own_folder: Path, dtype: str) -> None:
    pipeline = load_checkpoint(spec_of(own_folder, dtype=dtype), CPU).pipeline
    expected = getattr(torch, dtype)
    assert {pipeline.unet.dtype, pipeline.vae.dtype, pipeline.text_encoder.dtype} == {expected}


def test_no_folder(tmp_path: Path) -> None:
    why = reason(spec_of(tmp_path / "none"))
    assert why.endswith("(no model_index.json)")
    assert str(tmp_path) not in why  # clients read this


def test_no_file(tmp_path: Path) -> None:
    why = reason(spec_of(None, file=tmp_path / "none.safetensors"))
    assert "there is no file" in why
    assert str(tmp_path) not in why


def test_broken_weights(own_folder: Path) -> None:
    (own_folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights at all")
    assert reason(spec_of(own_folder)).startswith("model 'tiny' cannot be loaded: ")


def test_missing_weights(own_folder: Path) -> None:
    (own_folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    assert "cannot be loaded" in reason(spec_of(own_folder))


def test_a_missing_tokenizer(own_folder: Path) -> None:
    shutil.rmtree(own_folder / "tokenizer")
    assert "its text encoder 190; is its vocabulary missing?" in reason(spec_of(own_folder))


def test_pickled_weights_are_not_read(own_folder: Path) -> None:
    weights = own_folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save({}, own_folder / "unet" / "diffusion_pytorch_model.bin")
    weights.unlink()
    assert "cannot be loaded" in reason(spec_of(own_folder))


def test_a_broken_index(own_folder: Path) -> None:
    (own_folder / "model_index.json").write_text("{")
    assert "cannot be loaded" in reason(spec_of(own_folder))


def test_a_broken_single_file(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no weights at all")
    assert reason(spec_of(None, file=path)) == "model 'tiny': its file is incomplete or no .safetensors file"


def test_a_single_file_of_something_else(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    assert "cannot be loaded" in reason(spec_of(None, file=tmp_path / "other.safetensors"))


def test_a_file_that_is_no_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(b"")
    assert "it is a pickle file (.ckpt)" in reason(spec_of(None, file=path))


def test_a_repository_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "cannot be loaded" in reason(spec_of(None, repository="nobody/nothing", revision="0" * 40))


def test_an_unknown_family(own_folder: Path) -> None:
    assert "unknown family 'cubism'" in reason(spec_of(own_folder, family="cubism"))


def test_another_architecture(own_folder: Path) -> None:
    index = own_folder / "model_index.json"
    parts = json.loads(index.read_text())
    del parts["unet"]
    index.write_text(json.dumps(parts))
    assert "its denoiser is missing; no family has this denoiser" in reason(spec_of(own_folder))


@pytest.mark.parametrize(
    ("build", "family", "advice"),
    [
        (partial(build_tiny_flux, guidance_embeds=True), STABLE_DIFFUSION, 'set family = "flux"'),
        (build_tiny_sd3, FLUX, 'set family = "sd3"'),
        (build_tiny_sd, FLUX, 'set family = "stable-diffusion" or "sdxl" or "sdxl-refiner"'),
    ],
)
def test_a_family_taken_for_another(tmp_path: Path, build: Callable[[Path], Path], family: str, advice: str) -> None:
    assert reason(spec_of(build(tmp_path), family=family)).endswith(advice)


def test_a_unet_that_takes_another_image(own_folder: Path) -> None:
    """As those that were trained to edit by instruction."""
    config = own_folder / "unet" / "config.json"
    pipeline = StableDiffusionPipeline.from_pretrained(own_folder, safety_checker=None, requires_safety_checker=False)
    unet = type(pipeline.unet).from_config(pipeline.unet.config, in_channels=8)
    unet.save_pretrained(config.parent)
    assert "its unet takes 8 channels, its VAE has 4" in reason(spec_of(own_folder))


@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_is_the_familys(family: str) -> None:
    expected = torch.bfloat16 if FAMILIES[family].trained_on == FLOW_MATCHING else torch.float16
    assert load_family(family).half == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_families_know_their_names(family: str) -> None:
    assert load_family(family).name == family


def test_no_memory(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(StableDiffusionPipeline, "from_pretrained", full)
    with pytest.raises(OutOfMemory, match="'tiny' does not fit"):
        load_checkpoint(spec_of(own_folder), CPU)
