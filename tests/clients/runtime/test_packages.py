"""What is wrong with a package is found before anything of it runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import photogram_runtime
import pytest
from photogram_runtime import InvalidRequest, PackageDamaged, PackageUnproven, PackageUnsupported
from photogram_runtime.package import MANIFEST, read_manifest, write_manifest

ROOT = Path(__file__).parents[3]
Damage = Callable[[Path], object]


def rewritten(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``deploy.json`` as somebody would who makes a package by hand: its checksums are right."""
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    write_manifest(folder, manifest)


def edited(folder: Path, old: str, new: str) -> None:
    """Change the text of ``deploy.json`` only."""
    text = (folder / MANIFEST).read_text()
    assert old in text
    (folder / MANIFEST).write_text(text.replace(old, new, 1))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def linked(folder: Path) -> None:
    file = folder / "unet.onnx"
    file.rename(folder.parent / "elsewhere.onnx")
    file.symlink_to(folder.parent / "elsewhere.onnx")


def outside(folder: Path) -> None:
    (folder.parent / "outside.onnx").write_bytes((folder / "unet.onnx").read_bytes())
    rewritten(folder, lambda manifest: manifest["parts"]["unet"].update(file="../outside.onnx"))


def set_drawing(name: str, value: object) -> Damage:
    return lambda folder: rewritten(folder, lambda manifest: manifest["drawing"].update({name: value}))


def no_graph(folder: Path) -> None:
    (folder / "unet.onnx").write_bytes(b"no graph")
    rewritten(folder, lambda manifest: None)


DAMAGED: dict[str, tuple[Damage, str]] = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "no deploy.json"),
    "no deploy.json": (lambda folder: (folder / MANIFEST).unlink(), "no deploy.json"),
    "a missing file": (lambda folder: (folder / "unet.onnx").unlink(), "unet.onnx is missing"),
    "one changed byte": (lambda folder: flip(folder / "unet.onnx"), "unet.onnx is not what it was"),
    "a changed tokenizer": (lambda folder: flip(folder / "tokenizer.json"), "tokenizer.json is not what it was"),
    "a truncated file": (lambda folder: (folder / "unet.onnx").write_bytes(b"x"), "unet.onnx has 1 bytes"),
    "an edited deploy.json": (lambda folder: edited(folder, '"steps": 20', '"steps": 21'), "was changed after"),
    "no JSON": (lambda folder: (folder / MANIFEST).write_text("{"), "cannot be read"),
    "no UTF-8": (lambda folder: (folder / MANIFEST).write_bytes(b"\xff"), "cannot be read"),
    "no object": (lambda folder: (folder / MANIFEST).write_text("[]"), "no object"),
    "too deep": (lambda folder: (folder / MANIFEST).write_text("[" * 200_000), "cannot be read"),
    "a folder as deploy.json": (lambda folder: [(folder / MANIFEST).unlink(), (folder / MANIFEST).mkdir()], "read"),
    "a path outside": (outside, "not that of a package"),
    "a further file": (lambda folder: (folder / "more.bin").write_bytes(b""), "does not name: more.bin"),
    "a symbolic link": (linked, "outside the package"),
    "no graph": (no_graph, "onnxruntime cannot read unet.onnx"),
    "steps of a wrong type": (set_drawing("steps", "20"), "drawing.steps is wrong"),
    "a flag as a number": (set_drawing("width", True), "drawing.width is wrong"),
    "an impossible factor": (set_drawing("scale_factor", 0), "impossible values"),
    "a tokenizer outside": (set_drawing("tokenizer", "../tokenizer.json"), "impossible values"),
    "another file as tokenizer": (set_drawing("tokenizer", "unet.onnx"), "is no tokenizer"),
    "a noise schedule of a wrong type": (set_drawing("scheduler", {"num_train_timesteps": []}), "cannot be read"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_package_is_refused(copied: Path, damage: Damage, message: str):
    damage(copied)
    with pytest.raises(PackageDamaged) as caught:
        photogram_runtime.load(copied)
    assert message in str(caught.value)


def changed(**fields: Any) -> Damage:
    return lambda folder: rewritten(folder, lambda manifest: manifest.update(fields))


def other_format(folder: Path) -> None:
    edited(folder, '"format": 1', '"format": 2')


def without(*keys: str) -> Damage:
    def remove(manifest: dict[str, Any]) -> None:
        for key in keys[:-1]:
            manifest = manifest[key]
        del manifest[keys[-1]]

    return lambda folder: rewritten(folder, remove)


UNSUPPORTED: dict[str, tuple[Damage, str]] = {
    "another format": (other_format, "has format 2, and this version reads 1"),
    "another machine": (changed(device={"machine": "pdp11"}), "was made and checked on pdp11"),
    "another version": (changed(requires={"onnxruntime": "0.1.0"}), "onnxruntime 0.1.0, and"),
    "a missing runtime": (changed(requires={"no-such-runtime": "1.0"}), "needs no-such-runtime 1.0"),
    "an unknown runtime": (changed(backend="abacus"), "abacus graphs cannot be run here"),
    "another kind": (changed(kind="upscaling"), "the package is for upscaling"),
    "another family": (without("drawing"), "cannot use models like this stable-diffusion; the service can"),
    "no decoder": (without("parts", "vae_decoder"), "has no part vae_decoder"),
    "another noise schedule": (set_drawing("scheduler", {"beta_schedule": "odd"}), "beta_schedule 'odd'"),
}


@pytest.mark.parametrize(("damage", "message"), UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_a_package_for_something_else_is_refused(copied: Path, damage: Damage, message: str):
    damage(copied)
    with pytest.raises(PackageUnsupported) as caught:
        photogram_runtime.load(copied)
    assert message in str(caught.value)


def test_a_package_that_failed_its_checks_is_used_by_force_only(copied: Path):
    changed(checks={"passed": False, "failures": ["unet: too far off"]})(copied)
    with pytest.raises(PackageUnproven, match="did not pass its checks: unet: too far off"):
        photogram_runtime.load(copied)
    forced = photogram_runtime.load(copied, force=True)
    assert forced.draw("a cat", steps=1, width=64, height=64).size == (64, 64)


@pytest.mark.parametrize("threads", [0, -1, 1.5, "2", True, 10**9])
def test_threads_that_are_no_number_of_threads_are_refused(folders: dict[str, Path], threads: Any):
    with pytest.raises(InvalidRequest, match="threads must be"):
        photogram_runtime.load(folders["house"], threads=threads)


def test_an_input_that_the_graph_was_not_made_for_is_refused(copied: Path):
    def one_input(manifest: dict[str, Any]) -> None:
        for port in manifest["parts"]["unet"]["inputs"]:
            port["bounds"][0] = [1, 1]

    rewritten(copied, one_input)
    both = photogram_runtime.load(copied).draw("a cat", seed=1, steps=2, guidance_scale=5, width=64, height=64)
    rewritten(copied, lambda manifest: manifest["parts"]["unet"]["inputs"][0]["bounds"].__setitem__(0, [3, 4]))
    with pytest.raises(InvalidRequest, match="unet takes 3 to 4 along axis 0 of sample, not 2"):
        photogram_runtime.load(copied).draw("a cat", steps=2, guidance_scale=5, width=64, height=64)
    assert both.size == (64, 64)  # one after the other


def test_drawing_imports_neither_torch_nor_diffusers_nor_transformers(folders: dict[str, Path]):
    script = f"""
import sys, photogram_runtime
image = photogram_runtime.load({str(folders["house"])!r}, threads=1).draw("a cat", steps=2, width=64, height=64)
assert image.size == (64, 64)
heavy = {{"torch", "diffusers", "transformers", "timm", "scipy", "models", "service"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_description_of_the_package_is_kept(folders: dict[str, Path]):
    assert photogram_runtime.load(folders["house"]).package.manifest == read_manifest(folders["house"])
