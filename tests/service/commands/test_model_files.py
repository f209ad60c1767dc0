"""``photogram models add`` with one file: each kind where it belongs, with what it is and how it is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.catalog.catalog import Catalog
from models.catalog.families import STABLE_DIFFUSION
from service.commands.models import main
from tests.published_file import SD2, build_published_file, published_vae
from tests.tiny import TEXT_WIDTH, build_tiny_file, build_tiny_sd
from tests.tiny.denoisers import unet_weights, write_gguf
from tests.weight_files import CONTROLNET, EMBEDDING, ESRGAN, LORA, LORA_FILE, write, write_sparse
from tests.weight_files import SD1 as RECOGNISED
from tests.weight_files import VAE as RECOGNISED_VAE

pytestmark = pytest.mark.usefixtures("offline")

UNET = {name: shape for name, shape in RECOGNISED.items() if name.startswith("model.")}
YAML = "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n    timesteps: 1000\n"


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    folder = tmp_path / "downloads"
    folder.mkdir()
    return folder


def catalog(data: Path) -> Catalog:
    return Catalog.load(data / "catalog.toml")


AUXILIARY = {
    "LoRA": (LORA, "loras", None, "<lora:one:1>"),
    "embedding": (EMBEDDING, "embeddings", STABLE_DIFFUSION, "by its name in a prompt: one"),
    "ControlNet": (CONTROLNET, "controlnets", STABLE_DIFFUSION, '"controls": [{"model": "one", "image": ...}]'),
    "upscaler": (ESRGAN, "upscalers", None, '"upscaler": "one"'),
}


@pytest.mark.parametrize("kind", AUXILIARY)
def test_each_kind_goes_where_it_belongs(
    data: Path, downloads: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes, table, family, use = AUXILIARY[kind]
    file = write(downloads / "one.safetensors", shapes)
    assert main(["add", str(file), "--alias", "first", "--licence", "MIT"]) == 0
    said = capsys.readouterr().out
    assert f"one is in the catalog: a {kind}" in said.replace(" an ", " a ") and use in said
    added = getattr(catalog(data), table)["one"]
    assert (added.path, added.family, added.aliases, added.licence) == (file, family, ("first",), "MIT")
    assert added.problem() is None
    assert main(["remove", "one"]) == 0
    assert file.is_file() and not getattr(catalog(data), table)


def test_a_checkpoint_is_named_and_its_use_told(
    data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = build_published_file(downloads / "my model.safetensors")
    assert main(["add", str(file)]) == 0
    said = capsys.readouterr().out
    assert "my model is in the catalog: a checkpoint (stable-diffusion, SD 1.x)\n" in said
    assert "photogram generate \"a cat\" --model 'my model'\n" in said
    assert catalog(data)["my model"].file == file


def test_a_file_that_is_called_as_all_others_has_the_name_of_its_folder(data: Path, downloads: Path) -> None:
    (downloads / "sd").mkdir()
    assert main(["add", str(build_published_file(downloads / "sd" / "model.safetensors"))]) == 0
    for name, shapes in (("pytorch_lora_weights", LORA), ("diffusion_pytorch_model.fp16", CONTROLNET)):
        (downloads / name).mkdir()
        assert main(["add", str(write(downloads / name / f"{name}.safetensors", shapes))]) == 0
    found = catalog(data)
    assert "sd" in found and "pytorch_lora_weights" in found.loras
    assert "diffusion_pytorch_model.fp16" in found.controlnets


def test_a_controlnet_beside_its_configuration_is_a_folder(data: Path, downloads: Path) -> None:
    (downloads / "config.json").write_text("{}")
    assert main(["add", str(write(downloads / "diffusion_pytorch_model.safetensors", CONTROLNET))]) == 0
    assert catalog(data).controlnets["downloads"].path == downloads


def test_nothing_is_overwritten_unless_that_is_said(
    data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = write(downloads / "one.safetensors", LORA), write(downloads / "two.safetensors", LORA)
    assert main(["add", str(first)]) == 0
    assert main(["add", str(second), "--name", "one"]) == 1
    assert f"there is a model 'one' of this kind already, {first}: --overwrite" in capsys.readouterr().err
    assert catalog(data).loras["one"].path == first
    assert main(["add", str(second), "--name", "one", "--overwrite"]) == 0
    assert catalog(data).loras["one"].path == second


def test_a_file_in_the_folder_of_the_catalog_is_not_hidden_by_another(
    data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "loras").mkdir()
    (data / "loras" / "one.safetensors").write_bytes(LORA_FILE)
    assert main(["add", str(write(downloads / "one.safetensors", LORA))]) == 1
    assert "of this kind already" in capsys.readouterr().err


def test_a_checkpoint_is_overwritten_by_its_own_name_alone(
    data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = build_published_file(downloads / "one.safetensors")
    second = build_published_file(downloads / "two.safetensors", SD2)
    assert main(["add", str(first), "--alias", "uno"]) == 0
    assert main(["add", str(second), "--name", "one"]) == 1
    assert main(["add", str(second), "--name", "uno", "--overwrite"]) == 1
    assert main(["add", str(second), "--name", "house", "--overwrite"]) == 1
    assert "the model 'house' is built in: choose another name" in capsys.readouterr().err
    assert catalog(data)["one"].file == first
    assert main(["add", str(second), "--name", "one", "--overwrite"]) == 0
    assert (catalog(data)["one"].file, catalog(data)["one"].aliases) == (second, ())


REFUSED = {
    "a LoHa": ({"lora_unet_x.hada_w1_a": [4, 4]}, [], "it is a LoHa; only plain LoRAs can be used"),
    "a UNet of nothing": (
        {"model.diffusion_model.input_blocks.0.0.weight": [1, 4, 1, 1]}, [], "transformer of no supported family",
    ),
    "a UNet without its parts": (UNET, [], "is a denoiser alone (stable-diffusion, SD 1.x): --parts names the model"),
    "parts of a checkpoint": (RECOGNISED, ["--parts", "a/b"], "--parts is for files with a UNet or transformer alone"),
    "parts of a LoRA": (LORA, ["--parts", "a/b"], "--parts is for"),
    "parts that are nothing": (UNET, ["--parts", "nowhere"], "nowhere is not a folder, a .safetensors file"),
    "attention that a family lacks": (RECOGNISED, ["--attention", "sage"], "--attention must be one of sdpa, eager"),
    "attention that is not installed": (RECOGNISED, ["--attention", "xformers"], "needs the package xformers, which"),
    "a checkpoint of which there is little": (RECOGNISED, [], "cannot be added: its text_encoder lacks"),
    "something": ({"x": [1]}, [], "it is of no known kind: its first tensor is 'x'"),
    "a download of a LoRA": (LORA, ["--no-download"], "--no-download is for what is downloaded, and {file} is"),
    "a download of a file": (RECOGNISED, ["--no-download"], "--no-download is for what is downloaded, and {file}"),
    "labels of a checkpoint": (RECOGNISED, ["--labels", "x"], "--labels is for vision models, and {file}"),
    "no classes of a LoRA": (LORA, ["--classes", "0"], "--classes is for vision models in a file, and {file}"),
    "no steps of a LoRA": (LORA, ["--steps", "0"], "--steps is for checkpoints, and {file} is a LoRA"),
    "the name of a VAE": (RECOGNISED_VAE, ["--to", "x", "--name", "y"], "--name is for models with an entry"),
    "the family of a VAE": (RECOGNISED_VAE, ["--to", "x", "--family", "sdxl"], "--family is for checkpoints and"),
    "a checksum of a file": (LORA, ["--sha256", "0"], "--sha256 is for URLs, and {file} is a LoRA"),
    "steps of a LoRA": (LORA, ["--steps", "3"], "--steps is for checkpoints, and {file} is a LoRA"),
    "a LoRA as default": (LORA, ["--default"], "--default is for checkpoints"),
    "a LoRA for a model": (LORA, ["--to", "house"], "--to is for VAEs, and {file} is a LoRA"),
    "a checkpoint for a model": (RECOGNISED, ["--to", "house"], "--to is for VAEs, and {file} is a checkpoint"),
    "a VAE without its model": (RECOGNISED_VAE, [], "is a VAE, which belongs to a checkpoint of the catalog: photo"),
    "a VAE for nobody": (RECOGNISED_VAE, ["--to", "nobody"], "there is no model 'nobody'"),
    "a VAE for the built-in model": (RECOGNISED_VAE, ["--to", "house"], "the model 'house' is built in, and keeps its"),
    "no VAE": (RECOGNISED, ["--vae", "{file}"], "{file} is no VAE: it is a checkpoint (stable-diffusion, SD 1.x)"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_with_a_hint(
    data: Path, downloads: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes, options, reason = REFUSED[case]
    file = write(downloads / "file.safetensors", shapes)
    assert main(["add", str(file), *(option.format(file=file) for option in options)]) == 1
    assert reason.format(file=file) in capsys.readouterr().err
    assert not (data / "catalog.toml").exists()


@pytest.mark.parametrize(("name", "content", "reason"), [
    ("a.safetensors", b"<html>", "a web page"), ("a.ckpt", b"x", "convert it"), ("a.pth", b"x", "convert it"),
    ("a.gguf", b"GGUF", "incomplete or no .gguf file"), ("a.safetensors", LORA_FILE[:-1], "incomplete"),
])  # fmt: skip
def test_broken_and_foreign_files_are_named(
    downloads: Path, name: str, content: bytes, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (downloads / name).write_bytes(content)
    assert main(["add", str(downloads / name)]) == 1
    captured = capsys.readouterr()
    assert reason in captured.err and captured.err.count("\n") == 1


def test_a_vae_is_given_to_a_checkpoint_before_or_after(
    data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae = write_sparse(downloads / "vae.safetensors", published_vae(), "F16")
    for name in ("one", "two"):
        build_published_file(downloads / f"{name}.safetensors")
    assert main(["add", str(downloads / "one.safetensors"), "--vae", str(vae)]) == 0
    assert main(["add", str(downloads / "two.safetensors")]) == 0
    assert catalog(data)["two"].vae is None
    assert main(["add", str(write(downloads / "half.safetensors", RECOGNISED_VAE)), "--to", "two"]) == 1
    assert "half.safetensors cannot be given to two: its vae lacks" in capsys.readouterr().err
    assert main(["add", str(vae), "--to", "two"]) == 0
    assert (catalog(data)["one"].vae, catalog(data)["two"].vae) == (vae, vae)
    vae.unlink()
    assert catalog(data)["one"].problem() == f"there is no VAE {vae}"


@pytest.mark.parametrize(("text", "prediction"), [
    (YAML, "epsilon"), (YAML + '    parameterization: "v"\n', "v_prediction"),
    (YAML.replace("ldm", "sgm"), "auto"), ("a note", "auto"), ("", "auto"),
])  # fmt: skip
def test_a1111s_files_beside_a_checkpoint_are_read(data: Path, downloads: Path, text: str, prediction: str) -> None:
    file = build_published_file(downloads / "v2.1.safetensors", SD2)
    vae = write_sparse(downloads / "v2.1.vae.safetensors", published_vae(), "F16")
    (downloads / "v2.1.yaml").write_text(text)
    assert main(["add", str(file)]) == 0
    assert (catalog(data)["v2.1"].vae, catalog(data)["v2.1"].prediction) == (vae, prediction)
    assert main(["add", str(file), "--name", "own", "--prediction", "v_prediction"]) == 0
    assert catalog(data)["own"].prediction == "v_prediction"


def test_a_configuration_goes_before_a1111s(data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny = build_tiny_sd(downloads / "tiny")
    file = build_tiny_file(downloads / "v2.safetensors", tiny)
    (downloads / "v2.yaml").write_text(YAML)
    assert main(["add", str(file), "--config", str(tiny)]) == 0
    assert catalog(data)["v2"].prediction == "auto"
    (downloads / "v2.yaml").write_text("a: [")
    assert main(["add", str(file), "--name", "broken"]) == 1
    assert "v2.yaml cannot be read: it is no YAML" in capsys.readouterr().err


def test_a_denoiser_takes_its_other_parts_from_a_folder(
    data: Path, downloads: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # UNets that attend to the tiny text encoder are of SD 1.x.
    monkeypatch.setattr("models.catalog.file_kinds._VERSIONS", {TEXT_WIDTH: (STABLE_DIFFUSION, "SD 1.x")})
    parts = build_tiny_sd(downloads / "parts")
    weights = unet_weights(parts)
    file = write_gguf(downloads / "quick-Q8_0.gguf", weights)
    del weights["out.2.weight"]
    assert main(["add", str(write_gguf(downloads / "half.gguf", weights)), "--parts", str(parts)]) == 1
    assert "half.gguf cannot be added: its unet lacks" in capsys.readouterr().err
    assert main(["add", str(file), "--parts", str(parts), "--weights", "fp8"]) == 1
    assert "--weights must be auto with a denoiser in a .gguf file" in capsys.readouterr().err
    assert main(["add", str(file), "--parts", str(parts), "--offload", "model"]) == 0
    said = capsys.readouterr().out
    assert "quick-Q8_0 is in the catalog: a denoiser alone (stable-diffusion, SD 1.x, Q8_0)\n" in said
    assert 'photogram generate "a cat" --model quick-Q8_0' in said
    added = catalog(data)["quick-Q8_0"]
    assert (added.folder, added.denoiser, added.family, added.offload) == (parts, file, STABLE_DIFFUSION, "model")
    assert main(["list"]) == 0
    assert f"    its denoiser: 441.3 kB ({file.stat().st_size} bytes) in {file}\n" in capsys.readouterr().out


def test_a_suffix_in_upper_case_is_told(data: Path, downloads: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["add", str(write(downloads / "ONE.SAFETENSORS", RECOGNISED))]) == 1
    assert "its name ends in .SAFETENSORS, which libraries do not know: rename it" in capsys.readouterr().err
