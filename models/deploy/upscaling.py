"""Deploying an upscaler: its network as one graph for whole tiles, and upscaling with its package.

The tiles of an image that is at least one tile wide and high all have the upscaler's own size, so that the graph takes
one tile of that size; the smaller tiles of smaller images go to torch. Many architectures, such as SwinIR, divide by
the sides and by the number of tiles in Python, and cannot be traced for several. On a CPU, tiles together are not
faster than tiles one by one.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package, require_usable
from PIL.Image import Image

from models.catalog.auxiliary import AuxiliaryModel
from models.deploy.choosing import fastest
from models.deploy.names import UPSCALING
from models.deploy.packaging import Progress, Subject, Tell, differences, digest_of_weights, open_graphs
from models.deploy.parts import ModelPart
from models.deploy.profiling import ROUNDS, described, in_turns, profiles
from models.deploy.profiling_keys import TORCH
from models.deploy.proof import ImageDifference, judge, psnr_db, ssim
from models.deploy.recording import Call, Recorder, recording
from models.deploy.scenes import scenes
from models.deploy.serving import GraphModule, served_name
from models.deploy.sheet import comparison_sheet
from models.deploy.store import SHEET, PackageStore
from models.diffusion.upscaling.pixels import to_bytes
from models.diffusion.upscaling.upscaler import Upscaler
from models.diffusion.upscaling.upscaling import Upscaling

PART = "network"
TILES = 6
"""How many are recorded."""
_LARGER = ((1.0, 1.0), (1.5, 1.0), (1.0, 1.75))
"""Widths and heights of the compared images, in tiles."""


@dataclass(frozen=True)
class RecordedUpscaler:
    """What an upscaler made of images on torch; a :class:`models.deploy.making.Recorded`."""

    spec: AuxiliaryModel
    upscaler: Upscaler
    parts: Sequence[ModelPart]
    calls: Mapping[str, Sequence[Call]]
    sources: Sequence[Image]
    images: Sequence[Image]
    """What became of ``sources``."""

    @cached_property
    def subject(self) -> Subject:
        """See :class:`Recorded`."""
        family = str(self.upscaler.descriptor.architecture.id)
        return Subject(
            self.spec.name, family, UPSCALING, self.spec.licence, self.upscaler.device, _modules(self.upscaler)
        )

    def described(self, folder: Path) -> dict[str, Any] | None:
        """See :class:`Recorded`; ``photogram_runtime`` does not upscale."""
        return None

    def checked(self, package: Package, tell: Tell) -> dict[str, Any]:
        """See :class:`Recorded`."""
        graphs = open_graphs(package)
        errors = differences(graphs, self.calls, tell)
        deployed = _attached(self.upscaler, package, graphs[PART])
        found = [upscaled(each, deployed) for each in self.sources]
        images = [_compared(*each) for each in zip(self.images, found, strict=True)]
        comparison_sheet(self.images, found, images).save(package.folder / SHEET)
        return judge(package.precision, errors, images).document()

    def measured(self, packages: Mapping[str, Package], tell: Tell) -> dict[str, dict[str, Any]]:
        """See :class:`Recorded`; the speed is that of one image of several tiles."""
        source, load_s = self.sources[-1], dict[str, float]()
        runs: dict[str, Callable[[], object]] = {TORCH: partial(upscaled, source, self.upscaler)}
        for name, package in packages.items():
            began_at = time.perf_counter()
            deployed = _attached(self.upscaler, package, open_graphs(package)[PART])
            load_s[name] = time.perf_counter() - began_at
            runs[name] = partial(upscaled, source, deployed)
        seconds = in_turns(
            {name: {1: run} for name, run in runs.items()}, ROUNDS,
            lambda done, total: tell(Progress("measuring", done, total)),
        )  # fmt: skip
        figures = {name: {"images_per_s": {"1": round(1 / min(found[1]), 3)}} for name, found in seconds.items()}
        common = described(f"{source.width}x{source.height}, upscaled {self.upscaler.scale} times", ROUNDS)
        return profiles(common, figures, (TORCH,), load_s)


def record_upscaler(spec: AuxiliaryModel, upscaler: Upscaler, tell: Tell) -> RecordedUpscaler:
    """Let ``upscaler`` enlarge tiles, recording the calls of its network, and whole images.

    Args:
        upscaler: on torch, in float32 on the CPU, without a package.
    """
    part, recorder, side = ModelPart(PART, upscaler.descriptor.model), Recorder(), upscaler.tile_px
    with recording([part], recorder):
        for number, tile in enumerate(scenes(TILES, 0, [(side, side)])):
            tell(Progress("recording", number, TILES))
            upscaler(to_bytes(tile)[None])
    sizes = [(round(side * wide), round(side * high)) for wide, high in _LARGER]
    sources = scenes(len(sizes), 1, sizes)
    images = [upscaled(each, upscaler) for each in sources]
    return RecordedUpscaler(spec, upscaler, [part], {PART: recorder.calls(PART)}, sources, images)


def upscaled(image: Image, upscaler: Upscaler) -> Image:
    """``image``, enlarged by the scale of ``upscaler`` as a job does it, tile by tile."""
    work = Upscaling(image, upscaler.scale, upscaler)
    while not work.is_done:
        work.take_step(upscaler(work.next_input()))
    return work.image()


def _compared(expected: Image, found: Image) -> ImageDifference:
    title = f"{expected.width}x{expected.height}"
    return ImageDifference(title, psnr_db(expected, found), ssim(expected, found), None, None)


def _modules(upscaler: Upscaler) -> dict[str, torch.nn.Module]:
    return {PART: upscaler.descriptor.model}


class TileByTile:
    """spandrel's descriptor of a model that takes one tile at a time; all attributes are those of the descriptor."""

    def __init__(self, descriptor: Any) -> None:
        self._descriptor = descriptor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_descriptor"], name)

    def __call__(self, tiles: torch.Tensor) -> torch.Tensor:
        """Enlarge [n, 3, h, w] from 0 to 1."""
        return torch.cat([self._descriptor(each) for each in tiles.split(1)])


def _attached(upscaler: Upscaler, package: Package, graph: Graph) -> Upscaler:
    """``upscaler`` whose network is ``graph``; spandrel's descriptor still pads and crops."""
    descriptor = copy.copy(upscaler.descriptor)
    descriptor._model = GraphModule(descriptor.model, package.parts[PART], graph)
    return replace(upscaler, descriptor=TileByTile(descriptor), backend=served_name(package))


def serve_upscaler(upscaler: Upscaler, package: Package, threads: int | None = None) -> Upscaler:
    """``upscaler`` with the graph of ``package``.

    Raises:
        PackageError: the package must not be used here, or its graph cannot be read.
    """
    require_usable(package)
    return _attached(upscaler, package, open_graphs(package, threads)[PART])


def upscale_fastest(spec: AuxiliaryModel, upscaler: Upscaler, store: PackageStore) -> Upscaler:
    """``upscaler`` with the fastest of its packages; unchanged if none may be used, or all are slower."""
    served = fastest(
        store, spec.name, UPSCALING, lambda: digest_of_weights(_modules(upscaler)),
        lambda package: serve_upscaler(upscaler, package),
    )  # fmt: skip
    return served or upscaler
