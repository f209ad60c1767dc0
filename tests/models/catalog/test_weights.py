"""Files of weights as people keep them: which are found, under which names, and what is wrong with each broken one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from models.catalog.auxiliary import AuxiliaryModel, AuxiliaryModels, discover
from models.catalog.families import FLUX, SDXL, STABLE_DIFFUSION
from models.catalog.lora_files import look_at
from models.catalog.weights import file_problem
from tests.weight_files import LORA, LORA_FILE, safetensors


def write(file: Path, data: bytes = b"") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data or LORA_FILE)
    return file


def names(folder: Path) -> set[str]:
    return set(discover(folder))


@pytest.mark.parametrize(
    "name",
    ["film.safetensors", "Film.SafeTensors", "a b.safetensors", "été 写真.safetensors", "x [v1.2] (b).safetensors",
     "one.two.three.safetensors", "'quoted'.safetensors"],
)  # fmt: skip
def test_odd_names_are_names(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / "loras" / name)
    found = AuxiliaryModels(discover(tmp_path / "loras"))
    for known_as in (file.stem, file.name, file.stem.upper(), f"{file.stem} [0123abcd]"):
        assert found.resolve(known_as) == AuxiliaryModel(name=file.stem, path=file, table="loras")


def test_accents_are_the_same_however_a_file_system_spells_them(tmp_path: Path) -> None:
    write(tmp_path / "loras" / "e\u0301te\u0301.safetensors")
    assert AuxiliaryModels(discover(tmp_path / "loras")).resolve("\u00e9t\u00e9") is not None


def test_a_name_that_is_no_unicode_is_shown_as_unicode(tmp_path: Path) -> None:
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/loras/\xff.safetensors")))
    (name,) = names(tmp_path / "loras")
    assert name.encode() == "\ufffd".encode()


def test_folders_below_are_searched_and_equal_names_are_told_apart(tmp_path: Path) -> None:
    loras = tmp_path / "loras"
    for place in ("film", "style/film", "style/old/film", "style/noir"):
        write(loras / f"{place}.safetensors")
    found = AuxiliaryModels(discover(loras))
    assert set(found) == {"film", "style/film", "style/old/film", "noir"}
    for known_as in ("noir", "style/noir", "style\\noir", "Style/Noir"):
        assert found.resolve(known_as) == found["noir"]


def test_links_are_followed_and_loops_end(tmp_path: Path) -> None:
    loras, elsewhere = tmp_path / "loras", tmp_path / "elsewhere"
    write(elsewhere / "far.safetensors")
    write(loras / "near.safetensors")
    (loras / "linked.safetensors").symlink_to(elsewhere / "far.safetensors")
    (loras / "more").symlink_to(elsewhere)
    (loras / "loop").symlink_to(loras)
    (elsewhere / "back").symlink_to(loras)
    (loras / "dangling.safetensors").symlink_to(tmp_path / "nowhere")
    assert names(loras) == {"near", "linked", "far", "dangling"}
    assert "nothing at" in str(discover(loras)["dangling"].problem())


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._film.safetensors", ".hidden.safetensors", "film.safetensors.part", "film.crdownload", "film.tmp",
     "film.safetensors.tmp", "film.json", "film.preview.png", "notes.txt", "__MACOSX/film.safetensors",
     ".cache/film.safetensors"],
)  # fmt: skip
def test_what_downloads_and_file_managers_leave_behind_is_no_model(tmp_path: Path, name: str) -> None:
    write(tmp_path / "loras" / name)
    assert names(tmp_path / "loras") == set()


BROKEN = {
    "empty": (b"", "empty"),
    "a web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
    "a web page after a blank line": (b"\n\n <html>", "web page"),
    "an error as JSON": (b'{"error": "unauthorized"}', "a text"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a text"),
    "a pickle": (b"PK\3\4" + bytes(100), "pickle"),
    "an old pickle": (b"\x80\2}q\0" + bytes(100), "pickle"),
    "noise": (bytes(range(200)), "no .safetensors file"),
    "short": (b"abc", "no .safetensors file"),
    "a list": ((2).to_bytes(8, "little") + b"[]", "no .safetensors file"),
    "no places": ((16).to_bytes(8, "little") + b'{"x": {"a": 12}}', "no .safetensors file"),
    "cut off in its header": (safetensors(LORA)[:40], "incomplete"),
    "cut off": (safetensors(LORA, missing=1), "incomplete"),
    "a DoRA": (safetensors(LORA | {"unet.x.attn2.to_k.dora_scale": [8]}), "a DoRA"),
    "a LoHa": (safetensors({"lora_unet_x.hada_w1_a": [4, 4]}), "a LoHa"),
    "a LoKr": (safetensors({"lora_unet_x.lokr_w1": [4, 4]}), "a LoKr"),
    "a checkpoint": (safetensors({"model.diffusion_model.x.weight": [4, 4]}), "a whole checkpoint"),
    "an embedding": (safetensors({"emb_params": [1, 8]}), "textual-inversion"),
    "anything else": (safetensors({"weight": [4, 4]}), "'weight'"),
    "nothing": (safetensors({}), "no tensors"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_lora_is_listed_with_its_problem(tmp_path: Path, name: str) -> None:
    data, reason = BROKEN[name]
    file = tmp_path / "loras" / "x.safetensors"
    file.parent.mkdir()
    file.write_bytes(data)
    found = discover(file.parent)["x"].problem()
    assert found is not None and reason in found and str(tmp_path) not in found
    file.write_bytes(safetensors(LORA))
    os.utime(file, ns=(1, 1))
    assert discover(file.parent)["x"].problem() is None


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin"])
def test_a_pickle_is_listed_unless_there_are_weights_of_its_name(tmp_path: Path, suffix: str) -> None:
    write(tmp_path / "loras" / f"x{suffix}", b"\x80\2")
    assert "pickle" in str(discover(tmp_path / "loras")["x"].problem())
    file = write(tmp_path / "loras" / "x.safetensors")
    assert discover(tmp_path / "loras")["x"].path == file


def test_only_loras_must_hold_the_tensors_of_a_lora(tmp_path: Path) -> None:
    write(tmp_path / "embeddings" / "x.safetensors", safetensors({"emb_params": [1, 8]}))
    assert discover(tmp_path / "embeddings")["x"].problem() is None


def test_a_folder_is_no_broken_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert file_problem(tmp_path) is None


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"lora_unet_x_attn2_to_k.lora_down.weight": [4, 768]}, STABLE_DIFFUSION),
        ({"lora_unet_x_attn2_to_k.lora_down.weight": [4, 2048]}, SDXL),
        ({"unet.x.attn2.to_k.lora_A.weight": [4, 2048]}, SDXL),
        ({"lora_te2_text_model_x.lora_down.weight": [4, 4]}, SDXL),
        ({"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": [4, 4]}, FLUX),
        ({"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight": [4, 4]}, FLUX),
        ({"lora_unet_joint_blocks_0.lora_down.weight": [4, 4], "lora_te2_x.lora_down.weight": [4, 4]}, None),
        (LORA, None),
        ({}, None),
    ],
)
def test_the_family_of_a_lora_is_told_by_its_tensors(
    tmp_path: Path, shapes: dict[str, list[int]], family: str | None
) -> None:
    assert look_at(write(tmp_path / "x.safetensors", safetensors(shapes))).family == family
