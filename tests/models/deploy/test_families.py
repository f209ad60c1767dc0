"""Deployed models draw what torch draws, and all that was not covered goes to torch.

``make deploy-matrix`` tries all families.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package
from PIL import Image
from safetensors.torch import save_file

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog, Defaults, ModelSpec
from models.catalog.families import FLUX, PIXART_SIGMA, STABLE_DIFFUSION, TXT2IMG
from models.deploy.deploying import record
from models.deploy.making import make_package
from models.deploy.packaging import Target, open_graphs
from models.deploy.parts import TEXT_ENCODERS
from models.deploy.serving import attached, serve
from models.deploy.store import PackageStore
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.checkpoint_loading import load_checkpoint
from models.diffusion.engine import Engine
from models.jobs.params import Control, LoraUse
from tests.models.diffusion.rig import add_row, images, params, pixel_difference, run
from tests.tiny import (
    TEXT_WIDTH,
    build_tiny_controlnet,
    build_tiny_flux,
    build_tiny_lora,
    build_tiny_pixart,
    build_tiny_sd,
)

STEPS = 2
BUILDERS: Mapping[str, Callable[[Path], Path]] = {
    STABLE_DIFFUSION: build_tiny_sd,
    FLUX: partial(build_tiny_flux, guidance_embeds=True),
    PIXART_SIGMA: build_tiny_pixart,
}
PHOTO = Image.linear_gradient("L").convert("RGB").resize((64, 64))


@dataclass
class Deployed:
    """A tiny model on torch, and its package."""

    checkpoint: Checkpoint
    package: Package

    @classmethod
    def of(cls, family: str, backend: str, root: Path) -> Deployed:
        """Deploy all of a tiny model of ``family`` but its VAE, whose halves take long to trace."""
        sampler = "Euler" if family == FLUX else "DDIM"
        defaults = Defaults(sampler=sampler, width=64, height=64)
        spec = ModelSpec(name="tiny", family=family, folder=BUILDERS[family](root / "model"), defaults=defaults)
        checkpoint = load_checkpoint(spec, torch.device("cpu"))
        names = (
            *(each for each in TEXT_ENCODERS if getattr(checkpoint.pipeline, each, None)),
            checkpoint.family.module,
        )
        store, target = PackageStore(root / "deployed"), Target(backend, "f32", steps=STEPS, parts=names)
        catalog = Catalog({"tiny": spec})
        recorded = record(checkpoint, catalog, target, lambda progress: None)
        package = make_package(recorded, target, store, is_forced=False, tell=lambda progress: None)
        return cls(checkpoint, package)

    def on_torch(self, **asked: Any) -> Image.Image:
        """The image that torch draws."""
        return self._drawn(self.checkpoint, **asked)

    def served(self, **asked: Any) -> Image.Image:
        """The image that the package draws."""
        return self._drawn(serve(self.checkpoint, self.package), **asked)

    def only(self, *parts: str, **asked: Any) -> tuple[Image.Image, int]:
        """The image with only the graphs of ``parts``, and how often these were called."""
        graphs = {name: Counted(each) for name, each in open_graphs(self.package).items() if name in parts}
        image = self._drawn(attached(self.checkpoint, self.package, graphs), **asked)
        return image, sum(each.calls for each in graphs.values())

    def _drawn(self, checkpoint: Checkpoint, extras: Any = None, **asked: Any) -> Image.Image:
        spec = checkpoint.spec
        wanted = params(sampler=spec.defaults.sampler, num_inference_steps=3, **asked)
        engine = Engine(lambda spec: checkpoint, device=checkpoint.device)
        try:
            add_row(engine, "row", wanted, spec, TXT2IMG, {"input:photo": PHOTO}, **(extras or {}))
            return images(run(engine))["row"]
        finally:
            engine.close()


@dataclass
class Counted:
    """A graph that counts its calls."""

    inner: Graph
    calls: int = field(default=0)

    def __call__(self, inputs: Mapping[str, Any]) -> Any:
        """See :class:`Graph`."""
        self.calls += 1
        return self.inner(inputs)


@pytest.mark.parametrize(
    ("family", "backend"), [(STABLE_DIFFUSION, "openvino"), (FLUX, "onnxruntime"), (PIXART_SIGMA, "onnxruntime")]
)
def test_a_package_draws_what_torch_draws(tmp_path: Path, family: str, backend: str) -> None:
    deployed = Deployed.of(family, backend, tmp_path)
    module = deployed.checkpoint.family.module
    assert deployed.package.has_passed, deployed.package.manifest["checks"]["failures"]
    assert module in deployed.package.parts
    assert pixel_difference(deployed.served(), deployed.on_torch()) <= 1
    image, calls = deployed.only(module)
    assert calls >= 2 and pixel_difference(image, deployed.on_torch()) <= 1
    _beyond_its_sizes(deployed)
    if family == STABLE_DIFFUSION:
        _with_lora(deployed, tmp_path)
        _with_controlnet(deployed, tmp_path)
        _with_an_embedding(deployed, tmp_path)


def _beyond_its_sizes(deployed: Deployed) -> None:
    large = {"width": 192, "height": 192}
    image, calls = deployed.only(deployed.checkpoint.family.module, **large)
    assert calls == 0 and pixel_difference(image, deployed.on_torch(**large)) == 0
    assert pixel_difference(deployed.served(**large), deployed.on_torch(**large)) <= 1


def _with_lora(deployed: Deployed, root: Path) -> None:
    folder = deployed.checkpoint.spec.folder
    assert folder is not None
    extras = {"loras": {"ink": AuxiliaryModel(name="ink", path=build_tiny_lora(root / "ink.safetensors", folder))}}
    asked: dict[str, Any] = {"loras": (LoraUse(name="ink", weight=1.0),), "extras": extras}
    image, calls = deployed.only(*deployed.package.parts, **asked)
    assert calls == 0 and pixel_difference(image, deployed.on_torch(**asked)) == 0
    assert pixel_difference(image, deployed.on_torch()) > 1, "the LoRA matters"


def _with_controlnet(deployed: Deployed, root: Path) -> None:
    folder = deployed.checkpoint.spec.folder
    assert folder is not None
    extras = {
        "controlnets": {"lines": AuxiliaryModel(name="lines", path=build_tiny_controlnet(root / "lines", folder))}
    }
    asked: dict[str, Any] = {"controls": (Control(model="lines", image="input:photo"),), "extras": extras}
    image, calls = deployed.only("unet", **asked)
    assert calls == 0 and pixel_difference(image, deployed.on_torch(**asked)) == 0
    assert pixel_difference(image, deployed.on_torch()) > 1, "the ControlNet matters"


def _with_an_embedding(deployed: Deployed, root: Path) -> None:
    file = root / "toy.safetensors"
    save_file({"emb_params": torch.randn(2, TEXT_WIDTH)}, file)
    asked: dict[str, Any] = {
        "prompt": "a toy",
        "extras": {"embeddings": {"toy": AuxiliaryModel(name="toy", path=file)}},
    }
    image, calls = deployed.only("text_encoder", **asked)
    assert calls <= 1, "the negative prompt has no embedding"
    assert pixel_difference(image, deployed.on_torch(**asked)) <= 1
    assert pixel_difference(image, deployed.on_torch(prompt="a toy")) > 1, "the embedding matters"


def test_attaching_graphs_changes_nothing_of_the_checkpoint(tmp_path: Path) -> None:
    spec = ModelSpec(name="tiny", family=STABLE_DIFFUSION, folder=build_tiny_sd(tmp_path / "model"))
    checkpoint = load_checkpoint(spec, torch.device("cpu"))
    before = dict(vars(checkpoint.pipeline))
    package = Package(tmp_path, {"checks": {}, "backend": "openvino", "precision": "f32"}, {})
    served = attached(checkpoint, package, {})
    assert dict(vars(checkpoint.pipeline)) == before and served.pipeline is checkpoint.pipeline
    assert served.fastest is not checkpoint.pipeline and replace(served, deployed=None).fastest is checkpoint.pipeline
