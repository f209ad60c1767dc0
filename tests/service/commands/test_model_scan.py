"""``photogram models scan``: folders of A1111 and ComfyUI as they are, once, again, and after files are gone."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

from models.catalog.catalog import EXTRAS, Catalog
from service.commands.models import main
from tests.published_file import SD1, SD2, published_shapes, published_vae
from tests.weight_files import (
    CONTROLNET,
    EMBEDDING,
    ESRGAN,
    LORA,
    LORA_FILE,
    VAE,
    safetensors,
    write,
    write_sparse,
)

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "webui"


def sparse(file: Path, shapes: dict[str, list[int]]) -> Path:
    """Write a file with these tensors, of one byte for each number, and the folders around it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    return write_sparse(file, shapes, "F8_E4M3")


def checkpoint(file: Path, number: int = SD1, **more: list[int]) -> Path:
    """Write a checkpoint of a published architecture, with ``more`` tensors."""
    return sparse(file, {**published_shapes(number), **more})


def lora(layer: str) -> dict[str, list[int]]:
    """The shapes of a LoRA of one layer."""
    return {f"unet.{layer}.lora_A.weight": [4, 8], f"unet.{layer}.lora_B.weight": [8, 4]}


def scan(capsys: pytest.CaptureFixture[str], folder: Path, *options: str) -> dict[str, str]:
    """What is said of each file, and the counts under an empty name."""
    assert main(["scan", str(folder), *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "photogram up" not in line]
    return {"": lines.pop(), **dict(line.split(": ", 1) for line in lines)}


def names(data: Path) -> dict[str, set[str]]:
    """All names in the catalog, by their table."""
    catalog = Catalog.load(data / "catalog.toml")
    tables = {"models": set(catalog) - {"house"}} | {table: set(getattr(catalog, table)) for table in EXTRAS}
    return {table: found for table, found in tables.items() if found}


LAYOUTS = {
    "A1111": ("models/Stable-diffusion", "models/Lora", "embeddings", "models/ControlNet", "models/RealESRGAN"),
    "A1111's extension": ("models/Stable-diffusion", "models/Lora", "embeddings",
                          "extensions/sd-webui-controlnet/models", "models/ESRGAN"),
    "ComfyUI": ("models/checkpoints", "models/loras", "models/embeddings", "models/controlnet",
                "models/upscale_models"),
    "any folder": ("", "", "below", "below/further", "."),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_file_is_told_by_what_is_in_it(
    data: Path, home: Path, layout: str, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = LAYOUTS[layout]
    checkpoint(home / first / "sd.safetensors")
    shapes = {"film": LORA, "bad-hands": EMBEDDING, "canny": CONTROLNET, "sharp": ESRGAN}
    for folder, (name, content) in zip(others, shapes.items(), strict=True):
        write(home / folder / f"{name}.safetensors", content)
    write(home / "outputs" / "notes.txt", b"")
    said = scan(capsys, home)
    assert said[""] == "5 new, 0 in the catalog already, 0 left out"
    assert names(data) == {
        "models": {"sd"}, "loras": {"film"}, "embeddings": {"bad-hands"}, "controlnets": {"canny"},
        "upscalers": {"sharp"},
    }  # fmt: skip
    assert {path.suffix for path in home.rglob("*") if path.is_file()} == {".safetensors", ".txt"}
    catalog = Catalog.load(data / "catalog.toml")
    assert catalog["sd"].problem() is None and catalog.loras["film"].path.is_relative_to(home)


def test_programs_beside_the_models_are_left_alone(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(home / "models/Lora/film.safetensors", LORA)
    write(home / "venv/lib/other.safetensors", LORA)
    assert set(scan(capsys, home)) == {"", "models/Lora/film.safetensors"}


def test_a_dry_run_changes_nothing_and_says_the_same(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home / "film.safetensors", LORA)
    said = scan(capsys, home, "--dry-run")
    assert not (data / "catalog.toml").exists()
    assert scan(capsys, home) == said == {
        "": "1 new, 0 in the catalog already, 0 left out", "film.safetensors": "a LoRA, new, as film"
    }  # fmt: skip


def test_a_second_scan_adds_what_is_new_alone(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint(home / "models/Stable-diffusion/one.safetensors")
    write(home / "models/Lora/film.safetensors", LORA)
    write(home / "models/Lora/film, copied.safetensors", LORA)
    scan(capsys, home)
    text = (data / "catalog.toml").read_text()
    again = scan(capsys, home)
    assert again[""] == "0 new, 2 in the catalog already, 1 left out"
    assert again["models/Lora/film.safetensors"] == "left out: it is the same as film, copied"
    assert again["models/Lora/film, copied.safetensors"] == "a LoRA, in the catalog as film, copied"
    assert (data / "catalog.toml").read_text() == text
    write(home / "models/VAE/two.safetensors", {**LORA, "unet.y.lora_A.weight": [4, 8], "unet.y.lora_B.weight": [8, 4]})
    assert scan(capsys, home)[""] == "1 new, 2 in the catalog already, 1 left out"
    assert names(data)["loras"] == {"film, copied", "two"}


def test_equal_names_are_told_apart_by_their_folders(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, place in enumerate(("one", "anime/One", "old/anime/one", "house")):
        checkpoint(home / f"models/Stable-diffusion/{place}.safetensors", more=[number])
    for number, place in enumerate(("film", "style/film")):
        write(home / f"models/Lora/{place}.safetensors", lora(f"{number}"))
    assert scan(capsys, home)[""].startswith("6 new")
    assert names(data) == {
        "models": {"one", "anime/One", "anime/one-2", "Stable-diffusion/house"}, "loras": {"film", "style/film"}
    }  # fmt: skip


def test_links_are_followed_once(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    far = write(home.parent / "disk" / "far.safetensors", LORA)
    (home / "models/Lora").mkdir(parents=True)
    (home / "models/Lora/here.safetensors").symlink_to(far)
    (home / "models/Lora/loop").symlink_to(home / "models")
    (home / "models/Lora/there.safetensors").symlink_to(far)
    (home / "models/Lora/void.safetensors").symlink_to(home / "nowhere")
    said = scan(capsys, home)
    assert said == {
        "": "1 new, 0 in the catalog already, 2 left out",
        "models/Lora/here.safetensors": "a LoRA, new, as here",
        "models/Lora/there.safetensors": "left out: it is the same as here",
        "models/Lora/void.safetensors": "left out: its file cannot be read: No such file or directory",
    }


LEFT_OUT = {
    ".hidden.safetensors": (LORA_FILE, "it is hidden"),
    "half.safetensors.part": (LORA_FILE, "an unfinished download"),
    "cut.safetensors": (LORA_FILE[:-1], "incomplete"),
    "empty.safetensors": (b"", "its file is empty"),
    "page.safetensors": (b"<!doctype html>", "a web page"),
    "lfs.safetensors": (b"version https://git-lfs.github.com/spec/v1", "a text and not weights"),
    "pickle.safetensors": (pickle.dumps({}, 4), "a pickle"),
    "old.ckpt": (pickle.dumps({}), "convert it to .safetensors"),
    "words.pt": (pickle.dumps({}), "convert it to .safetensors"),
    "net.pth": (pickle.dumps({}), "only upscalers are read from pickles"),
    "big.gguf": (b"GGUF", "incomplete or no .gguf file"),
    "loha.safetensors": (safetensors({"lora_unet_x.hada_w1_a": [1]}), "it is a LoHa"),
    "clip.safetensors": (safetensors({"text_model.embeddings.x": [1]}), "a text encoder alone"),
    "ip.safetensors": (safetensors({"ip_adapter.1.to_k_ip.weight": [1]}), "an IP-Adapter"),
    "vae.safetensors": (safetensors(VAE), "photogram models add FILE --to MODEL"),
    "who.safetensors": (safetensors({"x": [1]}), "of no known kind"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_what_is_left_out_is_told_in_a_line(
    data: Path, home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, reason = LEFT_OUT[name]
    write(home / name, content)
    write(home / ".git" / "x.safetensors", LORA)
    said = scan(capsys, home)
    assert said[name].startswith("left out: ") and reason in said[name]
    assert said[""] == "0 new, 0 in the catalog already, 1 left out"
    assert not (data / "catalog.toml").exists()


def test_odd_names(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = ["a b [v1.2] (x).safetensors", "\u00e9t\u00e9 \u5199\u771f.safetensors", "'q\"uoted.safetensors",
           "one.two.safetensors", "two\nlines.safetensors"]  # fmt: skip
    for number, name in enumerate(odd):
        write(home / name, lora(f"{number}"))
    write(Path(os.fsdecode(os.fsencode(home) + b"/\xff.safetensors")), lora("9"))
    said = scan(capsys, home)
    assert said[""] == "5 new, 0 in the catalog already, 1 left out"
    assert said["\ufffd.safetensors"] == "left out: its path is no valid Unicode: rename it"
    assert "two\ufffdlines.safetensors" in said
    assert names(data) == {"loras": {name.removesuffix(".safetensors") for name in odd}}


def test_a1111s_files_beside_a_checkpoint(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = home / "models/Stable-diffusion"
    checkpoint(folder / "v2.safetensors", SD2)
    vae = sparse(folder / "v2.vae.safetensors", published_vae())
    write(folder / "v2.yaml", b"model: {target: ldm.x, params: {parameterization: v}}")
    checkpoint(folder / "broken.safetensors")
    write(folder / "broken.yaml", b"a: [")
    said = scan(capsys, home)
    spec = Catalog.load(data / "catalog.toml")["v2"]
    assert (spec.vae, spec.prediction) == (vae, "v_prediction")
    assert said["models/Stable-diffusion/v2.vae.safetensors"].startswith(
        "left out: it is the VAE beside v2.safetensors"
    )
    assert "broken.yaml cannot be read" in said["models/Stable-diffusion/broken.safetensors"]


def test_a_checkpoint_is_compared_with_its_architecture(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    less = published_shapes(SD1).copy()
    del less["model.diffusion_model.out.2.bias"]
    sparse(home / "less.safetensors", less)
    checkpoint(home / "other.safetensors", **{"first_stage_model.decoder.conv_in.bias": [3]})
    checkpoint(home / "vae.safetensors")
    write(home / "vae.vae.safetensors", VAE)
    said = scan(capsys, home)
    assert said.pop("")[:5] == "0 new" and not (data / "catalog.toml").exists()
    assert said["less.safetensors"].startswith("left out: its unet lacks 1 of its ")
    assert "left out: its vae has a tensor 'decoder.conv_in.bias' of the shape [3]" in said["other.safetensors"]
    assert said["vae.safetensors"].startswith("left out: its vae lacks ")


def test_comfyuis_further_folders(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = home.parent / "elsewhere"
    checkpoint(home / "models/checkpoints/own.safetensors")
    write(elsewhere / "models/Lora/film.safetensors", LORA)
    write(elsewhere / "models/LyCORIS/ink.safetensors", lora("1"))
    write(home / "extra_model_paths.yaml", (
        f"a111:\n  base_path: {elsewhere}\n  loras: |\n    models/Lora\n    models/LyCORIS\n  vae: models/VAE\n"
    ).encode())  # fmt: skip
    assert scan(capsys, home)[""].startswith("3 new")
    assert names(data) == {"models": {"own"}, "loras": {"film", "ink"}}


def test_a_diffusers_folder_is_one_model(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(home / "models/diffusers/sd/model_index.json", b"{}")
    write(home / "models/diffusers/sd/vae/diffusion_pytorch_model.safetensors", VAE)
    said = scan(capsys, home)
    assert said["models/diffusers/sd"] == "left out: it is a diffusers folder, which photogram models add adds"
    assert len(said) == 2


def test_files_that_are_gone_are_told_by_the_list(data: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gone = [checkpoint(home / "one.safetensors"), write(home / "film.safetensors", LORA)]
    write(home / "ink.safetensors", lora("1"))
    scan(capsys, home)
    for file in gone:
        file.unlink()
    assert scan(capsys, home)[""] == "0 new, 1 in the catalog already, 0 left out"
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    assert f"one: CANNOT BE USED: there is no file {gone[0]}\n" in said
    assert f"loras: film CANNOT BE USED: there is nothing at {gone[1]}\n" in said
    assert "loras: ink\n" in said


def test_no_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scan", str(home)]) == 1
    assert f"there is no folder {home}" in capsys.readouterr().err


BROKEN_LISTS = {
    "no YAML": (b"a: [", "no YAML"),
    "no text": (b"\xff\xfe\x00", "no YAML"),
    "a zero byte": (b'a:\n  loras: "x\\0y"\n', "is no path"),
    "nobody's home": (b"a:\n  base_path: ~nobody-at-all/x\n  loras: y\n", "is no path"),
}


@pytest.mark.parametrize("case", BROKEN_LISTS)
def test_a_broken_list_of_folders_is_named_and_the_rest_added(
    data: Path, home: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    content, reason = BROKEN_LISTS[case]
    write(home / "models/loras/film.safetensors", LORA)
    write(home / "extra_model_paths.yaml", content)
    said = scan(capsys, home)
    assert said["extra_model_paths.yaml"].startswith("left out: ") and reason in said["extra_model_paths.yaml"]
    assert names(data) == {"loras": {"film"}}


def test_files_are_shown_by_their_own_paths_and_not_by_those_of_links(
    data: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(home / "models/z/film.safetensors", LORA)
    (home / "models/a").mkdir()
    (home / "models/a/back").symlink_to(home / "models")
    (home / "models/a/link").symlink_to(home / "models/z")
    assert scan(capsys, home).keys() == {"", "models/z/film.safetensors"}
    assert Catalog.load(data / "catalog.toml").loras["film"].path == home / "models/z/film.safetensors"
