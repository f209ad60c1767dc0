"""Tiny models, each packaged once; a test that changes a package works on a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import photogram_runtime
import pytest
import torch
from photogram_runtime.package import read_manifest, write_manifest

from models.catalog.vision import VisionSpec
from models.vision.model import VisionModel, load_vision_model
from tests.clients.runtime.packages import deploy_drawing, deploy_vision
from tests.models.diffusion.rig import CPU, Studio
from tests.models.vision.rig import TINY, save
from tests.tiny import build_tiny_house, build_tiny_sd


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="session")
def studios(root: Path) -> dict[str, Studio]:
    """CLIP with epsilon prediction, and BERT, whose padding is masked, with velocity prediction."""
    return {"sd": Studio.open(build_tiny_sd(root / "sd")), "house": Studio.open(build_tiny_house(root / "house"))}


@pytest.fixture(scope="session")
def folders(root: Path, studios: dict[str, Studio]) -> dict[str, Path]:
    """The package of each."""
    return {name: deploy_drawing(studio.checkpoint, root / f"{name}-package") for name, studio in studios.items()}


@pytest.fixture(scope="session")
def drawing(folders: dict[str, Path]) -> dict[str, photogram_runtime.Deployed]:
    return {name: photogram_runtime.load(folder, threads=1) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def openvino_folder(folders: dict[str, Path], root: Path) -> Path:
    """The package ``house`` for OpenVINO."""
    openvino = pytest.importorskip("openvino")
    made = root / "house-openvino"
    made.mkdir()
    manifest = read_manifest(folders["house"])
    for part in manifest["parts"].values():
        model = openvino.convert_model(folders["house"] / part["file"])
        part["file"] = part["file"].replace(".onnx", ".xml")
        openvino.save_model(model, made / part["file"], compress_to_fp16=False)
    shutil.copyfile(folders["house"] / "tokenizer.json", made / "tokenizer.json")
    write_manifest(made, manifest | {"backend": "openvino", "requires": {"openvino": openvino.__version__[:6]}})
    return made


@pytest.fixture(scope="session")
def vision_model(root: Path) -> VisionModel:
    return load_vision_model(VisionSpec(name="tiny", folder=save(TINY, root / "vision")), CPU)


@pytest.fixture(scope="session")
def seeing(root: Path, vision_model: VisionModel) -> photogram_runtime.Deployed:
    return photogram_runtime.load(deploy_vision(vision_model, root / "vision-package"), threads=1)


@pytest.fixture
def copied(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A package of its own."""
    return Path(shutil.copytree(folders["house"], tmp_path / "package"))
