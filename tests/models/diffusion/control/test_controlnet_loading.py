"""Loading ControlNets: folders, single files of both layouts, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from safetensors.torch import load_file, save_file

from models.diffusion.control.loading import load_controlnet, validate
from models.errors import ModelUnavailable
from tests.models.diffusion.control.rig import CPU, ControlStudio

WEIGHTS = "diffusion_pytorch_model.safetensors"


def load(source: Path, studio: ControlStudio, dtype: torch.dtype = torch.float32) -> ControlNetModel:
    """As the engine would for the studio's UNet."""
    return load_controlnet(source, studio.pipeline.unet, dtype, CPU)


def copy(folders: dict[str, Path], name: str, to: Path, **changes: Any) -> Path:
    """The folder of that name once more, with another configuration."""
    shutil.copytree(folders[name], to)
    path = to / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return to


def same_weights(one: ControlNetModel, other: ControlNetModel) -> bool:
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_folder(folders: dict[str, Path], sd: ControlStudio) -> None:
    loaded = load(folders["sd a"], sd, torch.bfloat16)
    assert (loaded.dtype, loaded.training) == (torch.bfloat16, False)
    assert same_weights(loaded, ControlNetModel.from_pretrained(folders["sd a"]).to(torch.bfloat16))


@pytest.mark.parametrize("name", ["sd", "sdxl"])
def test_a_single_file_in_diffusers_layout(
    folders: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    studio: ControlStudio = request.getfixturevalue(name)
    file = shutil.copy(folders[f"{name} a"] / WEIGHTS, tmp_path / "mine.safetensors")
    loaded = load(Path(file), studio)
    assert same_weights(loaded, studio.nets["a"])
    assert not loaded.training


def test_a_single_file_in_the_original_layout(folders: dict[str, Path], sd: ControlStudio, tmp_path: Path) -> None:
    weights = load_file(folders["sd a"] / WEIGHTS)
    save_file({_original(name): tensor for name, tensor in weights.items()}, tmp_path / "mine.safetensors")
    assert same_weights(load(tmp_path / "mine.safetensors", sd), sd.nets["a"])


def _original(name: str) -> str:
    """The name of one of the tiny ControlNet's weights in the layout that ControlNets are published in."""
    for here, there in (
        ("time_embedding.linear_1", "time_embed.0"), ("time_embedding.linear_2", "time_embed.2"),
        ("conv_in", "input_blocks.0.0"), ("down_blocks.0.resnets.0", "input_blocks.1.0"),
        ("down_blocks.0.downsamplers.0.conv", "input_blocks.2.0.op"), ("down_blocks.1.resnets.0", "input_blocks.3.0"),
        ("down_blocks.1.attentions.0", "input_blocks.3.1"), ("mid_block.resnets.0", "middle_block.0"),
        ("mid_block.attentions.0", "middle_block.1"), ("mid_block.resnets.1", "middle_block.2"),
        ("controlnet_mid_block", "middle_block_out.0"), ("controlnet_cond_embedding.conv_in", "input_hint_block.0"),
        ("controlnet_cond_embedding.conv_out", "input_hint_block.14"),
        *((f"controlnet_down_blocks.{i}", f"zero_convs.{i}.0") for i in range(4)),
        *((f"controlnet_cond_embedding.blocks.{i}", f"input_hint_block.{2 * i + 2}") for i in range(6)),
    ):  # fmt: skip
        if name.startswith(here + "."):
            return "control_model." + _original_part(there + name.removeprefix(here))
    raise AssertionError(name)


def _original_part(name: str) -> str:
    if "_block" not in name or "hint" in name:
        return name
    for here, there in (
        ("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
        ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection"),
    ):  # fmt: skip
        if "transformer_blocks" not in name:
            name = name.replace(f".{here}.", f".{there}.")
    return name


def test_an_inpainting_unet_takes_the_same_controlnets(folders: dict[str, Path], tmp_path: Path) -> None:
    config = dict(UNet2DConditionModel.load_config(folders["sd"], subfolder="unet"))
    unet = UNet2DConditionModel.from_config(config | {"in_channels": 9})
    assert validate(ControlNetModel.from_pretrained(folders["sd a"]), unet) is None
    file = Path(shutil.copy(folders["sd a"] / WEIGHTS, tmp_path / "mine.safetensors"))
    assert load_controlnet(file, unet, torch.float32, CPU).config.in_channels == 4


@pytest.mark.parametrize(("net", "model"), [("sdxl a", "sd"), ("sd a", "sdxl")])
def test_one_for_another_family(
    folders: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path, net: str, model: str
) -> None:
    studio: ControlStudio = request.getfixturevalue(model)
    with pytest.raises(ModelUnavailable, match="another kind of model: its cross_attention_dim is"):
        load(folders[net], studio)
    file = Path(shutil.copy(folders[net] / WEIGHTS, tmp_path / "mine.safetensors"))
    with pytest.raises(ModelUnavailable, match=r"'mine.safetensors' cannot be loaded"):
        load(file, studio)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"in_channels": 12}, "12 channels of latents"),
        ({"conditioning_channels": 1}, "1 channels, not RGB's 3"),
        ({"block_out_channels": [32, 32]}, "block_out_channels"),
        ({"_class_name": "ControlNetUnionModel"}, "holds a ControlNetUnionModel"),
    ],
)
def test_a_folder_that_does_not_fit(
    folders: dict[str, Path], sd: ControlStudio, tmp_path: Path, changes: dict[str, Any], problem: str
) -> None:
    folder = copy(folders, "sd a", tmp_path / "net", **changes)
    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(0)
    save_file(ControlNetModel.from_config(config | {"_class_name": "ControlNetModel"}).state_dict(), folder / WEIGHTS)
    with pytest.raises(ModelUnavailable, match=problem):
        load(folder, sd)


@pytest.mark.parametrize("single", [True, False])
def test_lacking_weights_are_not_made_up(
    folders: dict[str, Path], sd: ControlStudio, tmp_path: Path, single: bool
) -> None:
    folder = copy(folders, "sd a", tmp_path / "net")
    weights = load_file(folder / WEIGHTS)
    del weights["controlnet_mid_block.weight"]
    save_file(weights, folder / WEIGHTS)
    with pytest.raises(ModelUnavailable, match=r"lacks (some|1 of its weights, for example controlnet_mid_block)"):
        load(folder / WEIGHTS if single else folder, sd)


def test_pickles_are_not_read(folders: dict[str, Path], sd: ControlStudio, tmp_path: Path) -> None:
    folder = copy(folders, "sd a", tmp_path / "net")
    torch.save(load_file(folder / WEIGHTS), folder / "diffusion_pytorch_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        load(folder, sd)
    with pytest.raises(ModelUnavailable, match=r"no \.safetensors file"):
        load(folder / "diffusion_pytorch_model.bin", sd)


@pytest.mark.parametrize("content", [b"", b"no weights at all"])
def test_a_damaged_file(sd: ControlStudio, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "mine.safetensors").write_bytes(content)
    with pytest.raises(ModelUnavailable, match=r"'mine\.safetensors' cannot be loaded"):
        load(tmp_path / "mine.safetensors", sd)


def test_nothing_there(sd: ControlStudio, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"config\.json is missing"):
        load(tmp_path, sd)
    with pytest.raises(ModelUnavailable, match="there is no ControlNet") as refused:
        load(tmp_path / "nowhere", sd)
    assert str(tmp_path) not in str(refused.value)  # clients read this
