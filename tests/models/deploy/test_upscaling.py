"""Upscalers are deployed, and enlarge with their packages as torch does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from photogram_runtime.package import Package, write_manifest
from PIL import Image, ImageChops

from models.catalog.auxiliary import AuxiliaryModel
from models.deploy.making import make_package
from models.deploy.packaging import Target
from models.deploy.scenes import scenes
from models.deploy.serving import GraphModule
from models.deploy.store import PackageStore
from models.deploy.upscaling import record_upscaler, serve_upscaler, upscale_fastest, upscaled
from models.diffusion.load_requests import upscaler_request
from models.diffusion.upscaling.pixels import to_bytes
from models.diffusion.upscaling.upscaler import Upscaler, load_upscaler
from models.diffusion.upscaling.upscaling import Upscaling
from models.diffusion.work import OnBackend
from tests.models.diffusion.upscaling.tiny_upscalers import CPU, compact, esrgan, write

CPU_DTYPE = torch.float32


class Deployed:
    """A tiny upscaler on torch, and its package."""

    def __init__(self, root: Path) -> None:
        self.spec = AuxiliaryModel(name="tiny", path=write(compact, root / "tiny.safetensors"), licence="MIT")
        self.upscaler = self.load()
        self.store = PackageStore(root / "deployed")
        recorded = record_upscaler(self.spec, self.upscaler, lambda progress: None)
        target = Target("openvino", "f32")
        self.package = make_package(recorded, target, self.store, is_forced=False, tell=lambda progress: None)

    def load(self) -> Upscaler:
        """The upscaler as it is read from its file."""
        return load_upscaler(self.spec.path, CPU, CPU_DTYPE)

    def measure(self, torch: float, deployed: float) -> None:
        """Let the package have these speeds."""
        speeds = {"torch": torch, "deployed": deployed}
        profile = {name: {"images_per_s": {"1": each}} for name, each in speeds.items()}
        write_manifest(self.package.folder, {**self.package.manifest, "profile": profile})


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Deployed:
    return Deployed(tmp_path_factory.mktemp("upscaler"))


def is_on_its_package(upscaler: Upscaler) -> bool:
    return isinstance(upscaler.descriptor.model, GraphModule)


def furthest(first: Image.Image, second: Image.Image) -> int:
    return max(high for _, high in ImageChops.difference(first, second).getextrema())


def test_a_package_is_proved_by_its_network_and_by_images(deployed: Deployed) -> None:
    manifest = deployed.package.manifest
    assert isinstance(deployed.package, Package) and deployed.package.has_passed
    assert (manifest["kind"], manifest["family"], manifest["licence"]) == ("upscaling", "Compact", "MIT")
    assert manifest["checks"]["parts"]["network"]["relative"] < 1e-3
    assert [each["title"] for each in manifest["checks"]["images"]] == ["256x256", "384x256", "256x448"]
    assert {"torch", "deployed"} < set(manifest["profile"])
    with Image.open(deployed.package.folder / "comparison.png") as sheet:
        assert sheet.width > 256 + 384 + 256


def test_a_package_enlarges_as_torch_does(deployed: Deployed) -> None:
    served = serve_upscaler(deployed.upscaler, deployed.package)
    large, small = scenes(2, 3, [(150, 200), (90, 130)])
    assert 0 <= furthest(upscaled(large, served), upscaled(large, deployed.upscaler)) <= 1
    assert furthest(upscaled(small, served), upscaled(small, deployed.upscaler)) == 0, "small tiles go to torch"
    assert not is_on_its_package(deployed.upscaler), "the upscaler itself is as it was"


def test_the_graph_computes_the_tiles(deployed: Deployed) -> None:
    served, calls = serve_upscaler(deployed.upscaler, deployed.package), []
    graph = served.descriptor.model._graph
    served.descriptor.model._graph = lambda inputs: calls.append(len(inputs["x"])) or graph(inputs)
    upscaled(scenes(1, 3, [(150, 200)])[0], served)
    assert calls == [1] * 4
    tiles = torch.stack([to_bytes(each) for each in scenes(3, 4, [(128, 128)])])  # of several jobs
    torch.testing.assert_close(served(tiles), deployed.upscaler(tiles), atol=1e-4, rtol=1e-4)
    assert calls == [1] * 7


def test_an_image_tells_what_enlarged_it(deployed: Deployed) -> None:
    package, (image,) = deployed.package, scenes(1, 3, [(150, 200)])

    def told(upscaler: Upscaler) -> str:
        work = Upscaling(image, 2, upscaler)
        assert isinstance(work, OnBackend)
        return work.backend

    assert told(deployed.upscaler) == "eager"
    assert told(serve_upscaler(deployed.upscaler, package)) == "openvino-f32"
    unproved = replace(package, manifest={**package.manifest, "checks": {"passed": False, "forced": True}})
    assert told(serve_upscaler(deployed.upscaler, unproved)) == "openvino-f32-unproved", "which warns in the job"


def test_jobs_take_the_package_if_it_is_fast_and_of_the_same_weights(deployed: Deployed) -> None:
    def loaded() -> Upscaler:
        return upscaler_request(deployed.spec, CPU, deployed.store.folder).load()

    deployed.measure(torch=1.0, deployed=2.0)
    assert is_on_its_package(loaded())
    assert not is_on_its_package(upscaler_request(deployed.spec, CPU, None).load())
    key = upscaler_request(deployed.spec, CPU, deployed.store.folder).key
    assert key != upscaler_request(deployed.spec, CPU, None).key, "it is loaded anew when it is deployed"
    deployed.measure(torch=2.0, deployed=1.0)
    assert not is_on_its_package(loaded())
    deployed.measure(torch=1.0, deployed=2.0)
    manifest = deployed.package.manifest
    write_manifest(deployed.package.folder, {**manifest, "kind": "vision"})
    assert not is_on_its_package(loaded()), "it is that of a vision model with the same name"
    write_manifest(deployed.package.folder, manifest)
    other = load_upscaler(write(esrgan, deployed.spec.path.with_name("other.pth")), CPU, CPU_DTYPE)
    assert upscale_fastest(deployed.spec, other, deployed.store) is other
