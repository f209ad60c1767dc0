"""Single files without configurations: the published values complete them, and no network is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.single_file import UNET_LAYOUTS, UNetLayout
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.single_files import completing
from models.diffusion.single_files.completing import write_configuration
from models.diffusion.single_files.configurations import ARCHITECTURES, Architecture
from models.diffusion.single_files.vocabulary import vocabulary, write_vocabulary
from models.errors import CatalogError
from tests.models.diffusion.rig import CPU, spec_of
from tests.tiny import (
    TEXT_WIDTH,
    build_tiny_file,
    build_tiny_inpaint,
    build_tiny_refiner,
    build_tiny_sd,
    build_tiny_sdxl,
)
from tests.tiny.single_files import original_unet

SD1, SD2, XL, REFINER = ARCHITECTURES

# The published values


PUBLISHED = {
    "SD 1.5": (SD1, 859_520_964, {"text_encoder": 123_060_480}),
    "SD 2.1": (SD2, 865_910_724, {"text_encoder": 340_387_840}),
    "SDXL": (XL, 2_567_463_684, {"text_encoder": 123_060_480, "text_encoder_2": 694_659_840}),
}
"""Parameters of the UNet and of the text encoders, as the models' authors and the hub state them."""
VAE_PARAMETERS = 83_653_863


def parameters(model: torch.nn.Module) -> int:
    return sum(each.numel() for each in model.parameters())


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_models_have_as_many_parameters_as_the_published_ones(name: str) -> None:
    architecture, unet, text_encoders = PUBLISHED[name]
    with init_empty_weights():
        assert parameters(UNet2DConditionModel.from_config({**architecture.unet, "in_channels": 4})) == unet
        assert parameters(AutoencoderKL.from_config(architecture.vae)) == VAE_PARAMETERS
        for part, expected in text_encoders.items():
            config = architecture.text_encoders[part]
            cls = {each.__name__: each for each in (CLIPTextModel, CLIPTextModelWithProjection)}
            assert parameters(cls[config["architectures"][0]](CLIPTextConfig(**config))) == expected


def layout_of(architecture: Architecture) -> UNetLayout:
    """The layout that the configuration of a UNet describes."""
    unet = architecture.unet
    configured = unet.get("transformer_layers_per_block", 1)
    kinds = unet["down_block_types"]
    levels = (configured,) * len(kinds) if isinstance(configured, int) else tuple(configured)
    depths = tuple(depth * ("CrossAttn" in kind) for depth, kind in zip(levels, kinds, strict=True))
    width, layers = architecture.context_width, unet["layers_per_block"]
    return UNetLayout(architecture.family, "", width, depths, levels[-1], layers)


@pytest.mark.parametrize("number", range(len(ARCHITECTURES)))
def test_files_are_told_by_the_blocks_that_diffusers_has(number: int) -> None:
    layout = UNET_LAYOUTS[number]
    assert layout_of(ARCHITECTURES[number]) == replace(layout, model="")
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config({**ARCHITECTURES[number].unet, "in_channels": 4})
    ending = ".attn2.to_k.weight"
    attentions = {name: each for name, each in unet.state_dict().items() if name.endswith(ending)}
    original = dict(original_unet(attentions, layers=2))
    assert {name.removesuffix(ending) for name in original} == set(layout.blocks())


def test_the_refiner_is_larger_in_width_and_not_in_depth() -> None:
    with init_empty_weights():
        count = parameters(UNet2DConditionModel.from_config({**REFINER.unet, "in_channels": 4}))
    assert 2.2e9 < count < 2.3e9


TOKENS = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "hello world!": [3306, 1002, 256],
    "": [],
}
"""Ids of CLIP's tokenizer without the first and the last token, as its documentation shows them."""


@pytest.mark.parametrize("text", TOKENS)
def test_the_tokenizer_is_clips(tmp_path: Path, text: str) -> None:
    write_vocabulary(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    assert tokenizer(text).input_ids == [49406, *TOKENS[text], 49407]
    assert len(vocabulary()) == 49408
    text = "naïve café, 12 €!"
    assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).replace(" ", "") == "naïvecafé,12€!"


# Files


def values_of(folder: Path, part: str, name: str = "config.json") -> dict[str, Any]:
    return dict(json.loads((folder / part / name).read_text()))


def in_miniature(original: Architecture, folder: Path) -> Architecture:
    """``original`` with the sizes of the tiny pipeline in ``folder``."""
    encoders = {part: values_of(folder, part) for part in original.text_encoders}
    return replace(
        original,
        context_width=values_of(folder, "unet")["cross_attention_dim"],
        unet=values_of(folder, "unet"),
        vae=values_of(folder, "vae"),
        text_encoders=encoders,
    )


BUILDS: Mapping[str, tuple[Architecture, Any]] = {
    "SD 1": (SD1, build_tiny_sd),
    "inpainting": (SD1, build_tiny_inpaint),
    "SDXL": (XL, lambda folder: build_tiny_sdxl(folder, second_width=48)),
    "refiner": (REFINER, build_tiny_refiner),
}


@pytest.mark.parametrize("build", BUILDS)
def test_a_file_alone_holds_what_the_folder_holds(tmp_path: Path, build: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original, write = BUILDS[build]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = write(tmp_path / "folder")
    file = build_tiny_file(tmp_path / "file.safetensors", folder)
    miniature = in_miniature(original, folder)
    monkeypatch.setattr(completing, "ARCHITECTURES", (miniature,))
    monkeypatch.setattr("models.catalog.single_file.UNET_LAYOUTS", (layout_of(miniature),))
    monkeypatch.setattr("models.diffusion.checkpoint_loading.validate_tokenizers", lambda _: None)  # the text is tiny
    expected = load_checkpoint(spec_of(folder, family=original.family), CPU).pipeline
    loaded = load_checkpoint(spec_of(None, family=original.family, file=file), CPU).pipeline
    for part in ("unet", "vae", *original.text_encoders):
        weights = dict(getattr(expected, part).named_parameters())
        found = dict(getattr(loaded, part).named_parameters())
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert [getattr(loaded, part).pad_token for part in original.padding] == list(original.padding.values())
    assert (loaded.scheduler.config.beta_end, loaded.scheduler.config.steps_offset) == (0.012, 1)


def header(path: Path, width: int, channels: int = 4, *marks: str) -> Path:
    """A file with the tensors alone that tell an architecture."""
    tensors = {
        "model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1, channels, 1, 1),
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.zeros(1, width),
    }
    save_file(tensors | {mark: torch.zeros(0) for mark in marks}, path)
    return path


RECOGNISED = {
    "SD 1": (STABLE_DIFFUSION, 768, 4, (), "StableDiffusionPipeline", "epsilon"),
    "SD 1 inpainting": (STABLE_DIFFUSION, 768, 9, (), "StableDiffusionInpaintPipeline", "epsilon"),
    "SD 2": (STABLE_DIFFUSION, 1024, 4, (), "StableDiffusionPipeline", "v_prediction"),
    "SDXL": (SDXL, 2048, 4, (), "StableDiffusionXLPipeline", "epsilon"),
    "SDXL with v-prediction": (SDXL, 2048, 4, ("v_pred", "ztsnr"), "StableDiffusionXLPipeline", "v_prediction"),
    "the refiner": (SDXL_REFINER, 1280, 4, (), "StableDiffusionXLImg2ImgPipeline", "epsilon"),
}


@pytest.mark.parametrize("case", RECOGNISED)
def test_an_architecture_is_told_by_its_tensors(tmp_path: Path, case: str) -> None:
    family, width, channels, marks, pipeline, prediction = RECOGNISED[case]
    file, folder = header(tmp_path / "file.safetensors", width, channels, *marks), tmp_path / "folder"
    folder.mkdir()
    assert write_configuration(file, family, "auto", folder)
    assert values_of(folder, ".", "model_index.json")["_class_name"] == pipeline
    scheduler = values_of(folder, "scheduler", "scheduler_config.json")
    assert (scheduler["prediction_type"], "rescale_betas_zero_snr" in scheduler) == (prediction, "ztsnr" in marks)
    assert values_of(folder, "unet")["in_channels"] == channels


@pytest.mark.parametrize(("family", "width", "channels"), [
    (STABLE_DIFFUSION, TEXT_WIDTH, 4), (SDXL, 768, 4), (STABLE_DIFFUSION, 768, 8), (SDXL, 1280, 4),
])  # fmt: skip
def test_an_unknown_architecture_is_not_guessed(tmp_path: Path, family: str, width: int, channels: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    assert not write_configuration(header(tmp_path / "file.safetensors", width, channels), family, "auto", folder)
    assert not list(folder.iterdir())


def test_the_catalog_may_say_what_is_predicted(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = header(tmp_path / "file.safetensors", 1024)
    assert write_configuration(file, STABLE_DIFFUSION, "epsilon", folder)
    assert values_of(folder, "scheduler", "scheduler_config.json")["prediction_type"] == "epsilon"
    text = '[models.mine]\nfile = "a.safetensors"\nprediction = "v_prediction"\n'
    assert Catalog.parse(text, tmp_path / "catalog.toml")["mine"].prediction == "v_prediction"
    for wrong in ('file = "a.safetensors"\nprediction = "x0"', 'folder = "a"\nprediction = "epsilon"'):
        with pytest.raises(CatalogError, match="prediction"):
            Catalog.parse(f"[models.mine]\n{wrong}", tmp_path / "catalog.toml")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_weights_of_few_bits_are_widened(tmp_path: Path, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_tiny_sd(tmp_path / "folder")
    file = build_tiny_file(tmp_path / "file.safetensors", folder)
    save_file({name: tensor.to(dtype) for name, tensor in load_file(file).items()}, file)
    spec: ModelSpec = spec_of(None, file=file, config=folder)
    loaded = load_checkpoint(spec, CPU).pipeline
    assert {each.dtype for each in loaded.unet.parameters()} == {torch.float32}
    original = load_checkpoint(spec_of(folder), CPU).pipeline.unet.conv_in.weight
    assert torch.equal(loaded.unet.conv_in.weight, original.to(dtype).float())
