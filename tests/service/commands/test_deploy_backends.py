"""Backends beside those that run ONNX graphs: one that compiles for this processor, and one that cannot run here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import photogram_runtime
import pytest
import torch
from photogram_runtime.errors import PackageDamaged, PackageUnsupported
from photogram_runtime.package import MANIFEST, read_package, require_usable, write_manifest
from PIL import ImageChops
from transformers import BertModel

from models.catalog.catalog import Catalog
from models.deploy.choosing import serve_fastest
from models.deploy.packaging import open_graphs
from models.deploy.recipes import draw, recipes_of
from models.deploy.serving import GraphModule
from models.deploy.store import PackageStore
from models.diffusion.checkpoint_loading import load_checkpoint
from service.commands.deploy import main
from tests.tiny import PX, build_tiny_house

COMPILED, RECIPE = "aoti-f32", "tensorrt-f32"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with a tiny model, whose text encoder alone is compiled, and prepared for TensorRT."""
    folder = tmp_path_factory.mktemp("data")
    encoder = build_tiny_house(folder / "tiny") / "text_encoder"
    BertModel.from_pretrained(encoder).save_pretrained(encoder)  # with the pooler, which is random where it is missing
    (folder / "catalog.toml").write_text(
        f'[models.tiny]\nfolder = "{folder / "tiny"}"\nfamily = "stable-diffusion"\n'
        f"[models.tiny.defaults]\nwidth = {2 * PX}\nheight = {2 * PX}\nnum_inference_steps = 4\n"
    )
    made = ("tiny", "--backend", "aoti", "tensorrt", "--parts", "text_encoder", "--steps", "2", "--force")
    assert main([*made, "--data", str(folder)]) == 3, "one of the packages is a recipe only"
    return folder


@pytest.fixture
def run(data, capsys):
    """Runs the command; gives the exit code and what it printed."""

    def run_command(*args: str) -> tuple[int, str]:
        code = main([*args, "--data", str(data)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run_command


def copied(data: Path, target: str, to: Path) -> Path:
    """The folder of a copy of a package that may be changed, in a store in ``to``."""
    return Path(shutil.copytree(data / "deployed" / "tiny" / target, to / "tiny" / target))


def test_the_commands_tell_what_is_a_recipe_only(run):
    _, listed = run("list")
    assert f"{RECIPE:18} recipe only (not run here)" in listed and f"{COMPILED:18} passed" in listed
    code, shown = run("show", "tiny", RECIPE)
    assert code == 3 and "checks: recipe only (not run here): its engines" in shown
    code, told = run("test", "tiny", RECIPE)
    assert code == 1 and "a package for tensorrt is a recipe only: nothing here can run it" in told
    _, environment = run("check-env")
    assert "tensorrt     f32   recipe only" in environment and "executorch   refused: with XNNPACK" in environment


def test_a_recipe_is_never_served_even_if_it_was_forced(data, tmp_path, caplog):
    recipe = read_package(copied(data, RECIPE, tmp_path))
    assert recipe.is_forced and recipe.manifest["checks"]["ran"] is False
    with pytest.raises(PackageUnsupported, match="a recipe only"):
        require_usable(recipe)
    with pytest.raises(PackageUnsupported, match="tensorrt graphs cannot be run here"):
        open_graphs(recipe)
    checkpoint = load_checkpoint(Catalog.load(data / "catalog.toml")["tiny"], torch.device("cpu"))
    assert serve_fastest(checkpoint, PackageStore(tmp_path)) is checkpoint
    assert not caplog.records, "it is as it should be"


def test_a_compiled_package_is_served_and_draws_what_torch_draws(data, tmp_path):
    package = copied(data, COMPILED, tmp_path)
    assert read_package(package).has_passed
    catalog = Catalog.load(data / "catalog.toml")
    checkpoint = load_checkpoint(catalog["tiny"], torch.device("cpu"))
    served = serve_fastest(checkpoint, PackageStore(tmp_path))
    assert served.deployed is not None and isinstance(served.deployed.text_encoder, GraphModule)
    recipes = recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), 2)[:2]
    for one, other in zip(draw(recipes, catalog, checkpoint), draw(recipes, catalog, served), strict=True):
        assert max(high for _, high in ImageChops.difference(one, other).getextrema()) <= 1


def test_a_compiled_package_is_refused_by_another_processor_and_without_torch(data, tmp_path):
    package = copied(data, COMPILED, tmp_path)
    with pytest.raises(PackageUnsupported, match="aoti graphs cannot be run here"):
        photogram_runtime.load(package, force=True)
    manifest = json.loads((package / MANIFEST).read_text())
    manifest["device"]["instructions"].append("avx1024")
    write_manifest(package, manifest)
    with pytest.raises(PackageUnsupported, match="compiled for avx1024, which this processor lacks"):
        require_usable(read_package(package))


def test_what_is_no_compiled_package_is_told_as_damaged(data, tmp_path):
    package = copied(data, COMPILED, tmp_path)
    (package / "text_encoder.pt2").write_bytes(b"no archive")
    write_manifest(package, json.loads((package / MANIFEST).read_text()))
    with pytest.raises(PackageDamaged, match=r"torch cannot load text_encoder\.pt2"):
        open_graphs(read_package(package))


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--backend", "coreml"), "coreml cannot be had: coremltools"),
        (("--backend", "aoti", "--precision", "w4"), "aoti cannot have w4: not built: convolutions"),
    ],
)
def test_what_cannot_be_had_is_told_with_its_reason(run, args, told):
    code, printed = run("tiny", *args)
    assert code == 1 and told in printed and printed.count("\n") == 1
