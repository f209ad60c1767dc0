"""Checkpoints in one file, in the original layout: the same weights as in a folder, and why one cannot be loaded."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FLUX, SD3, SDXL, SDXL_REFINER, STABLE_DIFFUSION
from models.catalog.single_file import family_of, tensor_names
from models.diffusion.checkpoint_loading import load_checkpoint
from models.errors import CatalogError, ModelUnavailable
from tests.models.diffusion.rig import CPU, Studio, add_row, images, params, run, spec_of
from tests.tiny import build_tiny_file, build_tiny_inpaint, build_tiny_refiner, build_tiny_sd, build_tiny_sdxl
from tests.weight_files import LORA_FILE, write

BUILDS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "Stable Diffusion": (STABLE_DIFFUSION, build_tiny_sd),
    "inpainting": (STABLE_DIFFUSION, build_tiny_inpaint),
    "SDXL": (SDXL, lambda folder: build_tiny_sdxl(folder, second_width=48)),
    "refiner": (SDXL_REFINER, build_tiny_refiner),
}


def configs_alone(folder: Path) -> Path:
    """The same folder without any weights."""
    for weights in folder.rglob("*.safetensors"):
        weights.unlink()
    return folder


@pytest.mark.parametrize("build", BUILDS)
def test_it_holds_what_the_folder_holds(tmp_path: Path, build: str) -> None:
    family, write = BUILDS[build]
    folder = write(tmp_path / "folder")
    file = build_tiny_file(tmp_path / "file.safetensors", folder)
    expected = weights_of(load_checkpoint(spec_of(folder, family=family), CPU).pipeline)
    config = configs_alone(folder)
    assert family_of(file) == family
    loaded = weights_of(load_checkpoint(spec_of(None, family=family, file=file, config=config), CPU).pipeline)
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def weights_of(pipeline: Any) -> dict[str, torch.Tensor]:
    """All parameters by their names."""
    parts = {name: part for name, part in pipeline.components.items() if isinstance(part, torch.nn.Module)}
    return {f"{name}.{own}": tensor for name, part in parts.items() for own, tensor in part.named_parameters()}


def test_it_draws_what_the_folder_draws(tiny_sd: Studio, tmp_path: Path) -> None:
    assert tiny_sd.spec.folder is not None
    file = build_tiny_file(tmp_path / "file.safetensors", tiny_sd.spec.folder)
    spec = spec_of(None, file=file, config=tiny_sd.spec.folder)
    studio = Studio(spec, load_checkpoint(spec, CPU), tiny_sd.plain)
    engine = studio.engine()
    add_row(engine, "row", params(), spec)
    assert tiny_sd.off_by(params(), images(run(engine))["row"]) == 0


@pytest.mark.parametrize(
    ("names", "family"),
    [
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "vae.decoder.conv_in.bias"], FLUX),
        (["double_blocks.0.img_attn.qkv.weight"], FLUX),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], SD3),
        (["conditioner.embedders.1.model.ln_final.bias", "conditioner.embedders.0.transformer.x"], SDXL),
        (["conditioner.embedders.0.model.ln_final.bias"], SDXL_REFINER),
        (["cond_stage_model.model.ln_final.bias", "model.diffusion_model.out.2.bias"], STABLE_DIFFUSION),
        (["model.diffusion_model.out.2.bias"], None),
        (["lora_unet_mid_block.alpha"], None),
    ],
)
def test_families_are_told_by_their_names(tmp_path: Path, names: list[str], family: str | None) -> None:
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "file.safetensors", metadata={"format": "pt"})
    assert family_of(tmp_path / "file.safetensors") == family
    assert tensor_names(tmp_path / "file.safetensors") == set(names)


def reason(spec: ModelSpec) -> str:
    """Why the model is unavailable."""
    with pytest.raises(ModelUnavailable) as caught:
        load_checkpoint(spec, CPU)
    return str(caught.value)


@pytest.fixture
def file(tiny_sd: Studio, tmp_path: Path) -> Path:
    assert tiny_sd.spec.folder is not None
    return build_tiny_file(tmp_path / "file.safetensors", tiny_sd.spec.folder)


def test_another_family(file: Path) -> None:
    why = reason(spec_of(None, file=file, family=SDXL))
    assert f'{file.name} is a checkpoint of another family; set family = "stable-diffusion"' in why
    assert str(file.parent) not in why


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "file.safetensors").write_bytes(LORA_FILE)
    why = reason(spec_of(None, file=tmp_path / "file.safetensors"))
    assert why.endswith("it is no complete checkpoint in its authors' layout: it is a LoRA")


def test_an_architecture_without_configurations_is_told_before_it_is_loaded(file: Path, own_folder: Path) -> None:
    spec = spec_of(None, file=file)
    assert "its architecture is unknown" in str(spec.problem()) and str(spec.problem()) in reason(spec)
    assert spec_of(None, file=file, config=own_folder).problem() is None


def test_no_configurations_and_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    names = ("model.diffusion_model.joint_blocks.0.x", "text_encoders.clip_l.x", "vae.decoder.conv_in.weight")
    file = write(tmp_path / "sd3.safetensors", {name: [1, 16, 1, 1] for name in names})
    assert 'set config = "FOLDER" beside file' in reason(spec_of(None, family=SD3, file=file))


def test_no_configurations_in_the_folder(file: Path, tmp_path: Path) -> None:
    why = reason(spec_of(None, file=file, config=tmp_path / "nowhere"))
    assert why.endswith("there is no diffusers pipeline in nowhere (no model_index.json)")
    assert str(tmp_path) not in why


def test_no_tokenizer_in_the_folder(file: Path, own_folder: Path) -> None:
    shutil.rmtree(own_folder / "tokenizer")
    assert "is its vocabulary missing?" in reason(spec_of(None, file=file, config=own_folder))


def test_weights_that_are_missing(file: Path, own_folder: Path) -> None:
    save_file({name: tensor for name, tensor in load_file(file).items() if "first_stage" not in name}, file)
    assert "cannot be loaded" in reason(spec_of(None, file=file, config=configs_alone(own_folder)))


def test_a_configuration_of_another_size(file: Path, own_folder: Path) -> None:
    path = own_folder / "unet" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"block_out_channels": [16, 48]}))
    assert "cannot be loaded" in reason(spec_of(None, file=file, config=own_folder))


def test_the_catalog_says_where_the_configurations_are(tmp_path: Path) -> None:
    text = '[models.mine]\nfile = "a.safetensors"\nconfig = "configs"\n'
    assert Catalog.parse(text, tmp_path / "catalog.toml")["mine"].config == tmp_path / "configs"
    with pytest.raises(CatalogError, match="config is for models in a single file"):
        Catalog.parse('[models.mine]\nrepository = "a/b"\nconfig = "configs"\n', tmp_path / "catalog.toml")
