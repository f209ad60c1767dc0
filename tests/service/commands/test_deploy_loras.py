"""``photogram deploy --lora``: the package of a model with LoRAs serves requests with just these LoRAs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from photogram_runtime.package import MANIFEST, write_manifest
from PIL.Image import Image

from models.catalog.backends import AUTO
from models.catalog.catalog import Catalog
from models.deploy.combinations import NoLora, combined_name, read_loras
from models.deploy.recipes import recipes_of
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Finished
from models.diffusion.work import Task
from models.jobs.params import LoraUse
from service.commands.deploy import main
from tests.models.diffusion.rig import pixel_difference
from tests.tiny import PX, build_tiny_lora, build_tiny_sd

TARGET, NAME = "openvino-f32", "tiny+style@0.8"
pytestmark = pytest.mark.timeout(600)  # a busy machine takes minutes to trace a UNet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a tiny model, a LoRA, and their package."""
    folder = tmp_path_factory.mktemp("data")
    build_tiny_sd(folder / "tiny")
    build_tiny_lora(folder / "style.safetensors", folder / "tiny")
    (folder / "catalog.toml").write_text(
        f'[models.tiny]\nfolder = "{folder / "tiny"}"\nfamily = "stable-diffusion"\nlicence = "MIT"\n'
        f"[models.tiny.defaults]\nwidth = {2 * PX}\nheight = {2 * PX}\nnum_inference_steps = 4\n"
        f'[loras.style]\nfile = "{folder / "style.safetensors"}"\nfamily = "stable-diffusion"\n'
    )
    asked = ["tiny", "--lora", "style:0.8", "--parts", "text_encoder", "unet", "--steps", "2"]
    assert main([*asked, "--data", str(folder)]) == 0
    package = folder / "deployed" / NAME / TARGET
    write_manifest(package, json.loads((package / MANIFEST).read_text()) | {"profile": {}})  # whatever was measured
    return folder


def drawn(folder: Path, packages: Path | None, **changes: Any) -> tuple[Image, tuple[str, ...]]:
    """An image, and what drew it."""
    catalog = Catalog.load(folder / "catalog.toml")
    cpu = torch.device("cpu")

    def load(spec: Any) -> Any:
        return load_checkpoint(spec, cpu, backend=AUTO, packages=packages)

    engine = Engine(load, packages=packages)
    recipe = recipes_of(catalog, catalog["tiny"], {}, 2)[0]
    task = Task(kind=recipe.kind, params=replace(recipe.params, **changes), catalog=catalog, images={})
    engine.add_row("1", task)
    ends = []
    while not engine.is_idle:
        ends += [event for event in engine.step() if isinstance(event, Finished)]
    engine.close()
    (end,) = ends
    return end.result, end.backends


def test_requests_with_these_loras_use_the_package_and_all_others_torch(data: Path) -> None:
    uses = (LoraUse(name="style", weight=0.8),)
    expected, on_torch = drawn(data, None, loras=uses)
    found, on_package = drawn(data, data / "deployed", loras=uses)
    plain, _ = drawn(data, None)
    assert (on_torch, on_package) == (("eager",), (TARGET,))
    assert pixel_difference(expected, found) <= 1 < pixel_difference(expected, plain)
    for others in (
        (),
        (LoraUse(name="style", weight=0.5),),
        (LoraUse(name="style", weight=0.8, text_encoder_weight=0.1),),
    ):
        assert drawn(data, data / "deployed", loras=others)[1] == ("eager",), others


def test_the_package_says_what_is_baked_in_and_is_checked_again(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = json.loads((data / "deployed" / NAME / TARGET / MANIFEST).read_text())
    assert (manifest["model"], manifest["base"]) == (NAME, "tiny")
    assert manifest["loras"] == [{"name": "style", "weight": 0.8}]
    assert main(["list", "--data", str(data)]) == 0
    assert capsys.readouterr().out.startswith(NAME)
    assert main(["test", NAME, TARGET, "--data", str(data)]) == 0
    assert main(["use", NAME, TARGET, "--data", str(data)]) == 0


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("stile", "did you mean 'style'"),
        ("style:much", "the weight must be a number"),
        ("style:nan", "the weight must be from"),
        ("style:0", "and not 0"),
        ("style:1e9", "the weight must be from"),
        (":0.5", "there is no LoRA"),
    ],
)
def test_what_is_no_lora_is_refused(data: Path, capsys: pytest.CaptureFixture[str], asked: str, told: str) -> None:
    assert main(["tiny", "--lora", asked, "--data", str(data)]) == 1
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1


def test_a_lora_is_named_once(data: Path) -> None:
    with pytest.raises(NoLora, match="twice"):
        read_loras(["style", "style:0.5"], Catalog.load(data / "catalog.toml"))


def test_names_tell_weights_exactly() -> None:
    assert combined_name("house", []) == "house"
    names = [combined_name("house", [("a", weights), ("b", (1, 1))]) for weights in ((0.8, 0.8), (0.8, 0.1))]
    assert names == ["house+a@0.8+b@1.0", "house+a@0.8,0.1+b@1.0"]
