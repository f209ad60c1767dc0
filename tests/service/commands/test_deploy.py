"""``photogram deploy`` with a tiny model: a package is made, shown, checked, copied, damaged, refused and removed."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from photogram_runtime.package import MANIFEST, write_manifest
from PIL import Image, ImageChops
from transformers import BertModel

from models.catalog.catalog import Catalog
from models.deploy.choosing import serve_fastest
from models.deploy.recipes import draw, recipes_of
from models.deploy.serving import DeployedDenoiser
from models.deploy.store import PackageStore
from models.deploy.vision import THRESHOLDS, VisionThreshold
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.diffusion.events import Finished
from models.diffusion.work import Task
from models.jobs.params import drawing_cost_key
from service.commands.deploy import main
from tests.models.vision.rig import save
from tests.s3 import BUCKET, s3_server
from tests.tiny import PX, build_tiny_house

TARGET = "openvino-f32"


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A data folder with a tiny model and its package."""
    folder = tmp_path_factory.mktemp("data")
    encoder = build_tiny_house(folder / "tiny") / "text_encoder"
    BertModel.from_pretrained(encoder).save_pretrained(encoder)  # with the pooler, which is random where it is missing
    (folder / "catalog.toml").write_text(
        f'[models.tiny]\nfolder = "{folder / "tiny"}"\nfamily = "stable-diffusion"\nlicence = "MIT"\n'
        f"[models.tiny.defaults]\nwidth = {2 * PX}\nheight = {2 * PX}\nnum_inference_steps = 4\n"
        f'[vision.eye]\nfolder = "{save("test_resnet", folder / "eye")}"\n'
        '[vision.both]\nrepository = "timm/resnet18"\n[upscalers.both]\nfile = "both.safetensors"\n'
    )
    shapes = [f"{2 * PX}x{2 * PX}", f"{2 * PX}x{3 * PX}"]
    assert main(["tiny", "--backend", "openvino", "--steps", "2", "--shapes", *shapes, "--data", str(folder)]) == 0
    return folder


@pytest.fixture
def run(data, capsys):
    """Runs the command with the module's data folder; gives the exit code and what it printed."""

    def run_command(*args: str, folder: Path = data) -> tuple[int, str, str]:
        code = main([*args, "--data", str(folder)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run_command


@pytest.fixture
def package(data, tmp_path) -> Path:
    """A data folder of its own, with a copy of the package that the test may damage."""
    shutil.copyfile(data / "catalog.toml", tmp_path / "catalog.toml")
    shutil.copytree(data / "deployed", tmp_path / "deployed")
    return tmp_path / "deployed" / "tiny" / TARGET


def manifest_of(package: Path) -> dict:
    return json.loads((package / MANIFEST).read_text())


def test_a_package_has_every_part_its_checks_and_its_figures(data):
    package = data / "deployed" / "tiny" / TARGET
    manifest = manifest_of(package)
    assert list(manifest["parts"]) == ["text_encoder", "unet", "vae_decoder", "vae_encoder"]
    assert all(each["relative"] < 1e-3 for each in manifest["checks"]["parts"].values())
    assert {"torch", "built-in", "deployed"} < set(manifest["profile"])
    assert manifest["profile"]["deployed"]["inputs_at_once"] >= 4
    assert manifest["licence"] == "MIT"
    with Image.open(package / "comparison.png") as sheet:
        width, height = sheet.size
    judged = len(manifest["checks"]["images"])
    assert judged >= 6 and width > judged * 2 * PX and height > 3 * 2 * PX


def test_graphs_take_the_sizes_that_were_asked_for(data):
    manifest = manifest_of(data / "deployed" / "tiny" / TARGET)
    assert manifest["shapes"] == [[2 * PX, 2 * PX], [2 * PX, 3 * PX]]
    (pixels,) = manifest["parts"]["vae_encoder"]["inputs"]
    assert pixels["shape"] == [1, 3, None, 2 * PX], "all images have the same width"
    assert pixels["bounds"][2:] == [[2 * PX, 3 * PX], [2 * PX, 2 * PX]]


EYES = ("eye", "--backend", "openvino", "onnxruntime", "--precision", "f32", "int8")


def test_several_targets_are_made_at_once(run, data, tmp_path, monkeypatch):
    shutil.copy(data / "catalog.toml", tmp_path)
    bound = VisionThreshold(1.0, 1.1, 1.0)
    monkeypatch.setattr("models.deploy.vision.THRESHOLDS", {**THRESHOLDS, "int8": bound})
    store = PackageStore(tmp_path / "deployed")
    code, out, _ = run(*EYES, "--json", folder=tmp_path)
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 2, "one did not pass"
    made = {Path(each["package"]).name: each["checks"]["passed"] for each in lines if "package" in each}
    assert made == {
        "openvino-f32": True, "openvino-int8": False, "onnxruntime-f32": True, "onnxruntime-int8": False,
    }  # fmt: skip
    assert {each["target"] for each in lines if "stage" in each} == {"", *made}
    with store.writing("eye", "openvino-f32"):
        code, out, err = run(*EYES[:5], "f32", folder=tmp_path)
    assert code == 1 and err.count("\n") == 1, "one could not be made"
    assert "openvino-f32: eye is being deployed" in err and "checks: passed" in out


def test_list_show_and_compare_tell_of_the_package(run, tmp_path):
    code, out, _ = run("list")
    assert (code, out.split()[:3]) == (0, ["tiny", TARGET, "passed"])
    code, out, _ = run("show", "tiny", TARGET)
    assert code == 0 and "vae_decoder" in out and "checks: passed" in out and "images/s" in out
    code, out, _ = run("compare", "tiny", "--sheets", str(tmp_path / "sheets"))
    assert code == 0 and TARGET in out
    assert (tmp_path / "sheets" / f"{TARGET}.png").is_file()


ODD = {
    "no object": {"profile": {"deployed": 3}},
    "no rate": {"profile": {"torch": {"images_per_s": {"1": None}}}},
    "no number of images": {"profile": {"deployed": {"images_per_s": {"one": 1.0}}}},
    "too large for a float": {"profile": {"load_s": 10**400}},
    "no part": {"checks": {"parts": {"unet": None}}},
    "no image": {"checks": {"images": [3]}},
    "no agreement": {"checks": {"agreement": {}}},
    "no flag": {"checks": {"passed": "no"}},
    "no sentences": {"checks": {"failures": 5}},
    "no instructions": {"device": {"instructions": [["avx2"]]}},
    "no sizes": {"shapes": [64, 64]},
    "no LoRAs": {"loras": ["style"]},
    "another model": {"model": "other"},
    "another precision": {"precision": "int8"},
}


@pytest.mark.parametrize("fields", ODD.values(), ids=ODD)
def test_odd_packages_are_told_in_a_line_by_every_command(run, package, fields):
    change(package, **fields)
    folder = package.parents[2]
    for command in (["list"], ["compare", "tiny"]):
        code, out, _ = run(*command, folder=folder)
        assert code == 0 and out.count("\n") == 1 and " damaged: " in out
    for command in (["show"], ["test"], ["profile"], ["use"], ["push"]):
        code, out, err = run(*command, "tiny", TARGET, *([str(folder / "copy")] * (command == ["push"])), folder=folder)
        assert code == 1 and out == "" and err.count("\n") == 1 and err.startswith("photogram deploy: ")
    assert not (folder / "copy").exists()


def test_errors_that_are_not_finite_are_told(run, package):
    checks = manifest_of(package)["checks"]
    checks["parts"]["unet"] |= {"relative": None, "max_abs": None}
    change(package, checks=checks)
    code, out, _ = run("show", "tiny", TARGET, folder=package.parents[2])
    assert code == 0 and "relative error infinite, largest infinite" in out


def test_a_package_is_checked_and_measured_again(run):
    code, out, _ = run("test", "tiny", TARGET)
    assert code == 0 and "checks: passed" in out
    code, out, _ = run("profile", "tiny", TARGET, "--rounds", "1", "--steps", "2")
    assert code == 0 and "deployed" in out and "loaded in" in out


def test_check_env_names_every_backend(run):
    code, out, _ = run("check-env")
    assert code == 0 and "openvino" in out and "onnxruntime" in out and "f32   ready" in out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("nothing",), "there is no model 'nothing'"),
        (("show", "tiny", "openvino-w9"), f"its packages: {TARGET}"),
        (("rm", "tiny", "nothing-f32"), f"its packages: {TARGET}"),
        (("rm", "tiny", "../../tiny"), "'../../tiny' is no target"),
        (("show", "..", "tiny-f32"), "there is no package tiny-f32 of .."),
        (("compare", "house"), "house has no packages"),
        (("tiny", "--backend", "onnxruntime", "--precision", "bf16"), "onnxruntime cannot have bf16"),
        (("tiny", "--backend", "openvino", "onnxruntime", "--precision", "w4"), "onnxruntime cannot have w4"),
        (("tiny", "--parts", "nose", "--steps", "2"), "the model has no part nose"),
        (("use", "tiny", "openvino-w9"), f"its packages: {TARGET}"),
        (("both",), "'both' is the name of a vision model and of an upscaler, whose packages would share a folder"),
        (("use", "both", "auto"), "'both' is the name of a vision model and of an upscaler"),
        (("use", "nothing", "auto"), "there is no model 'nothing'"),
        (("use", "tiny", "fastest"), "'fastest' is no target"),
        (("tiny", "--shapes", "64x72", "65x64"), "tiny does not draw 65x64: width: must be a multiple of 8 from 64"),
        (("eye", "--shapes", "64x64"), "are for models that draw"),
        (("pull", "tiny", TARGET, "/nowhere"), "there is no tiny/openvino-f32/deploy.json"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(run, args, told):
    code, _, err = run(*args)
    assert code == 1
    assert told in err and err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("shape", ["64", "64x", "x64", "64x64x64", "-64x64", "\u0663x64", "6e1x64", "9" * 99 + "x64"])
def test_what_is_no_size_is_told_before_anything_is_loaded(run, capsys, shape):
    with pytest.raises(SystemExit) as left:
        run("tiny", f"--shapes={shape}")
    assert left.value.code == 2 and "a size is WIDTHxHEIGHT in pixels" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("profile", "tiny", TARGET, "--rounds", "0"), "must be a whole number of at least 1"),
        (("profile", "tiny", TARGET, "--rounds=-3"), "must be a whole number of at least 1"),
        (("push", "tiny", TARGET, "ftp://example.org/packages"), "must be s3://bucket or s3://bucket/prefix"),
        (("pull", "tiny", TARGET, "s3://bucket/../other"), "must be s3://bucket or s3://bucket/prefix"),
    ],
)
def test_values_that_cannot_be_are_told_at_once(run, capsys, tmp_path, monkeypatch, args, told):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        run(*args)
    assert left.value.code == 2 and told in capsys.readouterr().err
    assert not any(tmp_path.iterdir()), "no folder of that name is made"


@pytest.mark.parametrize("is_bucket", [False, True], ids=["folder", "bucket"])
def test_a_package_travels_to_another_server(run, data, tmp_path, monkeypatch, is_bucket):
    with s3_server(tmp_path / "s3") as s3:
        for name, value in s3.variables.items():
            monkeypatch.setenv(name, value)
        place = f"s3://{BUCKET}/shared" if is_bucket else str(tmp_path / "shared")
        assert run("push", "tiny", TARGET, place)[0] == 0
        code, out, err = run("pull", "tiny", TARGET, place, folder=tmp_path / "other")
        assert code == 0, err
        pulled = tmp_path / "other" / "deployed" / "tiny" / TARGET
        assert out.strip() == f"pulled to {pulled}"
        assert manifest_of(pulled) == manifest_of(data / "deployed" / "tiny" / TARGET)
        assert bool([path for _, path in s3.requests if "unet.bin" in path]) == is_bucket
        code, _, err = run("pull", "house", TARGET, place, folder=tmp_path / "other")
        assert code == 1 and "there is no house/openvino-f32/deploy.json" in err and "Traceback" not in err


def test_a_cut_copy_is_not_pulled(run, tmp_path):
    run("push", "tiny", TARGET, str(tmp_path / "shared"))
    graph = tmp_path / "shared" / "deployed" / "tiny" / TARGET / "unet.bin"
    graph.write_bytes(graph.read_bytes()[:-1])
    code, _, err = run("pull", "tiny", TARGET, str(tmp_path / "shared"), folder=tmp_path / "other")
    assert code == 1 and "unet.bin has" in err
    assert run("list", folder=tmp_path / "other")[1].startswith("no model is deployed")


def test_a_removed_package_is_gone(run, package):
    folder = package.parents[2]
    assert run("rm", "tiny", TARGET, folder=folder)[0] == 0
    assert not package.exists()
    assert run("list", folder=folder)[1].startswith("no model is deployed")


@pytest.fixture(scope="module")
def checkpoint(data) -> Checkpoint:
    return load_checkpoint(Catalog.load(data / "catalog.toml")["tiny"], torch.device("cpu"))


def test_the_engine_draws_the_same_images_with_the_package(data, checkpoint, package):
    change(package, profile={})  # whatever was measured: it is used, if it is not slower
    served = serve_fastest(checkpoint, PackageStore(package.parents[1]))
    assert isinstance(served.denoiser, DeployedDenoiser) and served.denoiser.name == TARGET
    catalog = Catalog.load(data / "catalog.toml")
    recipes = recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), 2)[:3]
    for one, other in zip(draw(recipes, catalog, checkpoint), draw(recipes, catalog, served), strict=True):
        assert max(high for _, high in ImageChops.difference(one, other).getextrema()) <= 1


@pytest.mark.parametrize("has_passed", [True, False])
def test_an_image_tells_what_drew_it(data, checkpoint, package, has_passed):
    change(package, profile={}, checks={"passed": has_passed, "forced": not has_passed})
    served = serve_fastest(checkpoint, PackageStore(package.parents[1]))
    catalog = Catalog.load(data / "catalog.toml")
    recipe = recipes_of(catalog, checkpoint.spec, dict(checkpoint.pipeline.scheduler.config), 2)[0]
    engine = Engine(lambda spec: served)
    for name, params in (("plain", recipe.params), ("reusing features", replace(recipe.params, reuse_interval=2))):
        engine.add_row(name, Task(kind=recipe.kind, params=params, catalog=catalog, images={}))
    found = {}
    while not engine.is_idle:
        found |= {event.row_id: event.backends for event in engine.step() if isinstance(event, Finished)}
    engine.close()
    assert found == {"plain": (TARGET if has_passed else f"{TARGET}-unproved",), "reusing features": ("eager",)}


@pytest.mark.parametrize(("processor", "expected"), [(None, 14), ("another", 4)])
def test_an_engine_begins_with_the_batch_size_that_was_measured_on_such_a_processor(
    data, checkpoint, package, processor, expected
):
    manifest = manifest_of(package)
    device = manifest["device"] | ({} if processor is None else {"processor": processor})
    change(package, profile={"deployed": {"inputs_at_once": 14}}, device=device)
    engine = Engine(lambda spec: serve_fastest(checkpoint, PackageStore(package.parents[1])))
    engine.load(checkpoint.spec)
    size = checkpoint.spec.drawn_size(2 * PX, 2 * PX)
    assert engine.capacity.max_inputs(drawing_cost_key("tiny", size, any_backend=True)) == expected
    engine.close()


def change(package: Path, **fields: object) -> None:
    """Write ``deploy.json`` anew, as a package that was made so."""
    write_manifest(package, manifest_of(package) | fields)


def spoil(package: Path, **fields: object) -> None:
    """Change ``deploy.json`` behind the back of its digest."""
    (package / MANIFEST).write_text(json.dumps(manifest_of(package) | fields))


def cut(package: Path) -> None:
    graph = package / "unet.bin"
    graph.write_bytes(graph.read_bytes()[:100])


def flip(package: Path) -> None:
    graph = package / "unet.bin"
    held = bytearray(graph.read_bytes())
    held[len(held) // 2] ^= 1
    graph.write_bytes(held)


DAMAGES = {
    "a file is cut": cut,
    "a bit is flipped": flip,
    "a file is missing": lambda package: (package / "vae_decoder.xml").unlink(),
    "a file was added": lambda package: (package / "run.py").write_text("pass"),
    "deploy.json was edited": lambda package: spoil(package, precision="int8"),
    "deploy.json is cut": lambda package: (package / MANIFEST).write_text('{"format": 1'),
    "another format": lambda package: spoil(package, format=99),
    "other weights": lambda package: change(package, source={"sha256": "0" * 64}),
    "another version": lambda package: change(package, requires={"openvino": "2019.1.0"}),
    "another machine": lambda package: change(package, device={"machine": "vax"}),
    "another model": lambda package: change(package, model="other"),
    "a vision model of the same name": lambda package: change(package, kind="vision"),
    "another target": lambda package: change(package, precision="int8"),
    "figures that are none": lambda package: change(package, profile={"deployed": {"images_per_s": {"1": "fast"}}}),
    "requirements that are none": lambda package: change(package, requires={"openvino": 2026}),
    "it did not pass": lambda package: change(package, checks={"passed": False, "forced": False}),
    "the runtime cannot read it": lambda package: (
        (package / "unet.xml").write_text("<net/>"),
        change(package),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_package_that_must_not_be_used_leaves_the_model_on_torch(checkpoint, package, caplog, damage):
    change(package, profile={})
    DAMAGES[damage](package)
    served = serve_fastest(checkpoint, PackageStore(package.parents[1]))
    assert served is checkpoint
    assert any(TARGET in record.getMessage() and "tiny" in record.getMessage() for record in caplog.records)


def test_a_package_that_is_slower_than_what_is_built_in_is_not_used(checkpoint, package):
    rates = {"built-in": {"images_per_s": {"1": 2.0}}, "deployed": {"images_per_s": {"1": 1.0}}}
    change(package, profile=rates, checks={"passed": True, "forced": False})
    assert serve_fastest(checkpoint, PackageStore(package.parents[1])) is checkpoint
    change(package, profile=rates, checks={"passed": False, "forced": True})
    assert serve_fastest(checkpoint, PackageStore(package.parents[1])) is not checkpoint


def test_a_chosen_package_is_used_although_it_is_slower_and_none_if_that_is_chosen(run, checkpoint, package):
    folder, store = package.parents[2], PackageStore(package.parents[1])
    rates = {"built-in": {"images_per_s": {"1": 2.0}}, "deployed": {"images_per_s": {"1": 1.0}}}
    change(package, profile=rates, checks={"passed": True, "forced": False})
    code, out, _ = run("use", "tiny", TARGET, folder=folder)
    assert code == 0 and TARGET in out
    assert serve_fastest(checkpoint, store).denoiser.name == TARGET
    assert run("list", folder=folder)[1].strip().endswith("chosen")
    run("use", "tiny", "auto", folder=folder)
    assert serve_fastest(checkpoint, store) is checkpoint
    change(package, profile={})
    assert serve_fastest(checkpoint, store) is not checkpoint
    run("use", "tiny", "built-in", folder=folder)
    assert serve_fastest(checkpoint, store) is checkpoint


def test_a_package_that_did_not_pass_cannot_be_chosen(run, checkpoint, package):
    change(package, profile={}, checks={"passed": False, "forced": False})
    code, _, err = run("use", "tiny", TARGET, folder=package.parents[2])
    assert code == 1 and "did not pass its checks" in err
    PackageStore(package.parents[1]).pin("tiny", TARGET)  # as if it had been chosen before it was made again
    assert serve_fastest(checkpoint, PackageStore(package.parents[1])) is checkpoint


def test_a_removed_package_is_chosen_no_longer(run, package):
    folder, store = package.parents[2], PackageStore(package.parents[1])
    run("use", "tiny", TARGET, folder=folder)
    assert store.pinned("tiny") == TARGET
    run("rm", "tiny", TARGET, folder=folder)
    assert store.pinned("tiny") is None


def test_the_data_folder_may_come_before_the_model(data):
    assert main(["--data", str(data), "nothing"]) == 1
