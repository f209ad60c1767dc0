"""A VAE in a file of its own: the same pixels as the plain pipeline with that VAE, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, DiffusionPipeline
from safetensors.torch import load_file, save_file

from models.catalog.catalog import Catalog
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.load_requests import weights_of
from models.errors import ModelUnavailable
from tests.models.diffusion.rig import CPU, PLAIN_OPTIONS, Studio, add_row, images, params, run, spec_of
from tests.tiny import build_tiny_file, build_tiny_sd
from tests.weight_files import LORA_FILE

WEIGHTS = "vae/diffusion_pytorch_model.safetensors"
PREFIX = "first_stage_model."


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_sd(tmp_path_factory.mktemp("sd"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with another VAE."""
    return build_tiny_sd(tmp_path_factory.mktemp("other"), seed=1)


def of_diffusers(file: Path, folder: Path) -> None:
    save_file(load_file(folder / WEIGHTS), file)


def of_its_authors(file: Path, folder: Path) -> None:
    whole = load_file(build_tiny_file(file, folder))
    save_file({name.removeprefix(PREFIX): each for name, each in whole.items() if name.startswith(PREFIX)}, file)


def with_a_prefix(file: Path, folder: Path) -> None:
    whole = load_file(build_tiny_file(file, folder))
    save_file({name: each for name, each in whole.items() if name.startswith(PREFIX)}, file)


@pytest.mark.parametrize("write", [of_diffusers, of_its_authors, with_a_prefix])
def test_the_pixels_are_those_of_the_plain_pipeline_with_this_vae(
    tmp_path: Path, sd: Path, other: Path, write: Callable[[Path, Path], None]
) -> None:
    write(tmp_path / "vae.safetensors", other)
    spec = spec_of(sd, vae=tmp_path / "vae.safetensors")
    vae = AutoencoderKL.from_pretrained(other, subfolder="vae")
    plain = DiffusionPipeline.from_pretrained(sd, vae=vae, **PLAIN_OPTIONS[spec.family])
    plain.set_progress_bar_config(disable=True)
    studio = Studio(spec, load_checkpoint(spec, CPU), plain)
    engine = studio.engine()
    add_row(engine, "row", params(), spec)
    drawn = images(run(engine))["row"]
    assert studio.off_by(params(), drawn) == 0
    assert Studio.open(sd).off_by(params(), drawn) > 0  # or the VAE would not matter


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn])
def test_a_single_file_takes_one_of_few_bits(tmp_path: Path, sd: Path, other: Path, dtype: torch.dtype) -> None:
    weights = {name: each.to(dtype) for name, each in load_file(other / WEIGHTS).items()}
    save_file(weights, tmp_path / "vae.safetensors")
    file = build_tiny_file(tmp_path / "file.safetensors", sd)
    spec = spec_of(None, file=file, config=sd, vae=tmp_path / "vae.safetensors")
    vae = load_checkpoint(spec, CPU).pipeline.vae
    assert all(torch.equal(each, weights[name].float()) for name, each in vae.state_dict().items())
    assert vae.config.scaling_factor == AutoencoderKL.load_config(sd, subfolder="vae")["scaling_factor"]


def test_a_file_with_more_than_it_needs_loads(tmp_path: Path, sd: Path) -> None:
    file = build_tiny_file(tmp_path / "file.safetensors", sd)
    weights = load_file(file)
    ema = {
        f"model_ema.{name.replace('.', '')}": each + 1 for name, each in weights.items() if "diffusion_model" in name
    }
    more = {"model_ema.decay": torch.ones(1), "model_ema.num_updates": torch.ones(1), "betas": torch.ones(9),
            "cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}  # fmt: skip
    save_file({**weights, **ema, **more}, file)
    loaded = load_checkpoint(spec_of(None, file=file, config=sd), CPU).pipeline
    expected = load_checkpoint(spec_of(sd), CPU).pipeline.unet.state_dict()
    assert all(torch.equal(each, expected[name]) for name, each in loaded.unet.state_dict().items())


def reason(sd: Path, vae: Path) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(spec_of(sd, vae=vae), CPU)
    return str(caught.value)


def test_what_is_no_vae_is_refused(tmp_path: Path, sd: Path, other: Path) -> None:
    file = tmp_path / "vae.safetensors"
    assert reason(sd, file).endswith("there is no VAE vae.safetensors")
    file.write_bytes(LORA_FILE)
    assert "its VAE is no VAE: the file is a LoRA" in reason(sd, file)
    file.write_bytes(b"")
    assert "its VAE is no VAE: its file is empty" in reason(sd, file)
    weights = load_file(other / WEIGHTS)
    save_file({name: each for name, each in weights.items() if "mid_block" not in name}, file)
    assert "its VAE vae.safetensors lacks some weights" in reason(sd, file)
    save_file({**weights, "decoder.conv_in.weight": torch.zeros(8, 16, 3, 3)}, file)
    assert "its VAE vae.safetensors is of another kind: " in (why := reason(sd, file)) and "16" in why


def test_the_catalog_has_it_and_the_cache_tells_them_apart(tmp_path: Path) -> None:
    text = '[models.a]\nfolder = "x"\n[models.b]\nfolder = "x"\nvae = "v.safetensors"\n'
    catalog = Catalog.parse(text, tmp_path / "catalog.toml")
    assert (catalog["a"].vae, catalog["b"].vae) == (None, tmp_path / "v.safetensors")
    assert weights_of(catalog["a"]) != weights_of(catalog["b"])
