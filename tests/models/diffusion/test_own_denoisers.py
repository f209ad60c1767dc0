"""Denoisers in files of their own, plain and GGUF: they draw what diffusers draws with the same file."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import diffusers
import gguf
import numpy as np
import pytest
import torch
from torch import nn

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import OFFLOADS, ModelSpec
from models.catalog.families import FLUX, SDXL, STABLE_DIFFUSION
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint, place
from models.diffusion.memory_plan import plan_of
from models.diffusion.parts import Part
from models.diffusion.placement import parts_of
from models.errors import CatalogError, ModelUnavailable
from models.jobs.params import LoraUse
from tests.models.diffusion.plain import draw
from tests.models.diffusion.rig import CPU, PLAIN_OPTIONS, Studio, params, pixel_difference, spec_of
from tests.models.diffusion.test_placement import ROWS, difference, drawn
from tests.tiny import TEXT_WIDTH, build_tiny_file, build_tiny_flux, build_tiny_lora, build_tiny_sd, build_tiny_sdxl
from tests.tiny.denoisers import flux_weights, unet_weights, write_gguf, write_safetensors

Weights = Callable[[Path], dict[str, torch.Tensor]]
FAMILIES: dict[str, tuple[Callable[[Path], Path], Weights, str, Any]] = {
    "sd": (build_tiny_sd, unet_weights, STABLE_DIFFUSION, diffusers.UNet2DConditionModel),
    "sdxl": (build_tiny_sdxl, unet_weights, SDXL, diffusers.UNet2DConditionModel),
    "flux": (
        partial(build_tiny_flux, guidance_embeds=True), flux_weights, FLUX, diffusers.FluxTransformer2DModel,
    ),
}  # fmt: skip
QUANTIZATIONS = ("Q8_0", "Q4_0", "Q5_1", "BF16")


@pytest.fixture(autouse=True)
def width_of_sd(monkeypatch: pytest.MonkeyPatch) -> None:
    """UNets that attend to the tiny text encoder are of SD 1.x."""
    monkeypatch.setattr("models.catalog.file_kinds._VERSIONS", {TEXT_WIDTH: (STABLE_DIFFUSION, "SD 1.x")})


def remove_denoiser(folder: Path) -> None:
    """Leave the configuration of the pipeline's denoiser alone."""
    for part in ("unet", "transformer"):
        for weights in (folder / part).glob("*.safetensors"):
            weights.unlink()


def linears(checkpoint: Checkpoint) -> list[nn.Linear]:
    denoiser = getattr(checkpoint.pipeline, checkpoint.family.module)
    return [each for each in denoiser.modules() if isinstance(each, nn.Linear)]


def reference(folder: Path, family: str, model_class: Any, file: Path) -> Any:
    """The pipeline that diffusers makes of the file by itself; a UNet needs the prefix of checkpoints for that."""
    part = "transformer" if family == FLUX else "unet"
    denoiser = model_class.from_single_file(
        str(file), config=str(folder), subfolder=part, dtype=torch.float32,
        quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=torch.float32),
    )  # fmt: skip
    plain = diffusers.DiffusionPipeline.from_pretrained(
        folder, **{part: denoiser}, **PLAIN_OPTIONS.get(family, {}), dtype=torch.float32
    )
    plain.set_progress_bar_config(disable=True)
    return plain


@pytest.mark.parametrize("quantization", QUANTIZATIONS)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_gguf_file_draws_as_diffusers_does(
    name: str, quantization: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, weights_of, family, model_class = FAMILIES[name]
    folder, kind = build(tmp_path / name), gguf.GGMLQuantizationType[quantization]
    if family == SDXL:
        monkeypatch.setattr("models.catalog.file_kinds._VERSIONS", {2 * TEXT_WIDTH: (SDXL, "")})
    weights = weights_of(folder)
    file = write_gguf(tmp_path / "own.gguf", weights, kind)
    remove_denoiser(folder)
    checkpoint = load_checkpoint(spec_of(folder, family=family, denoiser=file), CPU)
    known = weights if family == FLUX else {f"model.diffusion_model.{key}": each for key, each in weights.items()}
    plain = reference(folder, family, model_class, write_gguf(tmp_path / "known.gguf", known, kind))
    studio = Studio(checkpoint.spec, checkpoint, plain)
    images = drawn(checkpoint)
    expected = {row: draw(studio, "txt2img", wanted) if family == FLUX else studio.draw_plain(wanted)
                for row, wanted in ROWS.items()}  # fmt: skip
    assert difference(expected, images) <= 1
    assert any(each.weight.dtype == torch.uint8 for each in linears(checkpoint))


@pytest.fixture
def quantized(tmp_path: Path) -> ModelSpec:
    """SD in miniature with its UNet in a GGUF file."""
    folder = build_tiny_sd(tmp_path / "sd")
    return spec_of(folder, denoiser=write_gguf(tmp_path / "own.gguf", unet_weights(folder)))


@pytest.mark.parametrize("offload", OFFLOADS[1:])
def test_quantised_weights_are_offloaded_and_change_no_pixel(quantized: ModelSpec, offload: str) -> None:
    usual, far = load_checkpoint(quantized, CPU), load_checkpoint(quantized, CPU)
    fetched: list[torch.dtype] = []

    def fetch(stored: torch.Tensor) -> torch.Tensor:
        fetched.append(stored.dtype)
        return stored.clone()

    placement = place(far.pipeline.components, offload, far.dtype, CPU, fetch)
    offloaded = replace(far, spec=replace(quantized, offload=offload), placement=placement)
    assert difference(drawn(usual), drawn(offloaded)) == 0
    assert torch.uint8 in fetched


@pytest.mark.parametrize("offload", OFFLOADS[:2])
def test_loras_over_quantised_weights(quantized: ModelSpec, offload: str, tmp_path: Path) -> None:
    assert quantized.folder is not None
    lora = AuxiliaryModel(name="style", path=build_tiny_lora(tmp_path / "style.safetensors", quantized.folder))
    checkpoint = load_checkpoint(quantized, CPU)
    placement = place(checkpoint.pipeline.components, offload, checkpoint.dtype, CPU, torch.clone)
    checkpoint = replace(checkpoint, placement=placement)
    mixed = {**ROWS, "lora": params(seed=1, prompt="a cat 1", loras=(LoraUse(name="style", weight=0.7),))}
    together = drawn(checkpoint, mixed, loras={"style": lora})
    alone = drawn(checkpoint, {"lora": mixed["lora"]}, loras={"style": lora})["lora"]
    assert pixel_difference(alone, together["lora"]) <= 1
    assert pixel_difference(together["lora"], together["row 1"]) > 20, "the LoRA has an effect"


def test_quantised_weights_are_near_the_whole_ones(quantized: ModelSpec) -> None:
    """8 bits change an image little, and less than 4 bits do."""
    assert quantized.folder is not None and quantized.denoiser is not None
    whole = drawn(load_checkpoint(spec_of(quantized.folder), CPU))
    off = {}
    for name in ("Q8_0", "Q4_0"):
        kind = gguf.GGMLQuantizationType[name]
        file = write_gguf(quantized.denoiser.with_name(f"{name}.gguf"), unet_weights(quantized.folder), kind)
        image = drawn(load_checkpoint(replace(quantized, denoiser=file), CPU))["row 1"]
        off[name] = np.abs(np.asarray(image, float) - np.asarray(whole["row 1"], float)).mean()
    assert 0 < off["Q8_0"] < off["Q4_0"]


@pytest.mark.parametrize("is_file", [False, True], ids=["folder", "file"])
def test_a_plain_file_draws_what_the_pipelines_own_denoiser_draws(tmp_path: Path, is_file: bool) -> None:
    """A UNet in the original layout, without the prefix that checkpoints have, over the parts of another model."""
    folder, other = build_tiny_sd(tmp_path / "sd"), build_tiny_sd(tmp_path / "other", seed=1)
    file = write_safetensors(tmp_path / "own.safetensors", unet_weights(folder))
    parts = spec_of(other)
    if is_file:
        parts = spec_of(None, file=build_tiny_file(tmp_path / "other.safetensors", other), config=other)
    for part in ("vae", "text_encoder", "tokenizer"):
        shutil.rmtree(folder / part)
        shutil.copytree(other / part, folder / part)
    found = load_checkpoint(replace(parts, denoiser=file), CPU)
    assert difference(drawn(load_checkpoint(spec_of(folder), CPU)), drawn(found)) == 0


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["Q8_0", "Q4_0"])
def test_the_memory_plan_counts_quantised_weights(quantized: ModelSpec, kind: str, dtype: str) -> None:
    assert quantized.folder is not None and quantized.denoiser is not None
    write_gguf(quantized.denoiser, unet_weights(quantized.folder), gguf.GGMLQuantizationType[kind])
    spec = replace(quantized, dtype=dtype)
    plan = plan_of(spec)
    assert plan is not None
    (unet,) = parts_of(load_checkpoint(spec, CPU).pipeline.components)[Part.DENOISER]
    assert plan.denoiser == sum(each.nbytes for each in unet.state_dict().values())
    assert plan.vae == (plan_of(spec_of(quantized.folder, dtype=dtype)) or plan).vae


def write_lora(file: Path, folder: Path) -> None:
    build_tiny_lora(file.with_suffix(".safetensors"), folder).rename(file)


REFUSED: dict[str, tuple[Callable[[Path, Path], object], str]] = {
    "cut off": (lambda file, _: file.write_bytes(file.read_bytes()[:-100]), "its file is incomplete"),
    "something else": (write_lora, "is no .gguf file"),
    "another shape": (
        lambda file, folder: write_gguf(file, {**unet_weights(folder), "out.2.bias": torch.zeros(5)}),
        "model 'tiny' cannot be loaded",
    ),
    "another family": (
        lambda file, folder: write_gguf(file, flux_weights(build_tiny_flux(folder / "flux", guidance_embeds=True))),
        "its denoiser is of another family: the file is a denoiser alone (flux, Q8_0)",
    ),
    "missing": (lambda file, _: file.unlink(), "there is no denoiser own.gguf"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_loaded_is_told(quantized: ModelSpec, case: str) -> None:
    change, reason = REFUSED[case]
    assert quantized.denoiser is not None and quantized.folder is not None
    change(quantized.denoiser, quantized.folder)
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(quantized, CPU)
    assert reason in str(caught.value) and str(quantized.folder.parent) not in str(caught.value)


def test_other_8_bit_weights_are_refused(quantized: ModelSpec) -> None:
    with pytest.raises(CatalogError, match=r"weights must be auto with a denoiser in a \.gguf file"):
        replace(quantized, weights="fp8")
