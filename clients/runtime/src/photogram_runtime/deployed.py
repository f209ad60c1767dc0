"""The front of the package: what can be done with a deployed model, whatever its kind."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from photogram_runtime.arguments import whole
from photogram_runtime.drawing import Drawer, ProgressCallback
from photogram_runtime.errors import InvalidRequest, PackageUnsupported
from photogram_runtime.graphs import require_runtime
from photogram_runtime.package import Package, read_package, require_usable
from photogram_runtime.seeing import Label, Viewer

_THREADS_MAX = 1024


class Deployed:
    """A deployed model that is ready; its methods may be called from any thread.

    Args:
        package: of the kind ``drawing`` or ``vision``.
        threads: that the runtime of the graphs uses; by default all cores.

    Raises:
        PackageUnsupported, PackageDamaged: the package cannot be used here.
    """

    def __init__(self, package: Package, threads: int | None = None, cache: Path | None = None) -> None:
        self.package = package
        """What was loaded: its name, its backend, and its whole ``deploy.json``."""
        self._does: Drawer | Viewer
        match package.kind:
            case "drawing":
                self._does = Drawer(package, threads, cache)
            case "vision":
                self._does = Viewer(package, threads, cache)
            case other:
                raise PackageUnsupported(f"photogram-runtime draws, classifies and embeds; the package is for {other}")

    def draw(
        self,
        prompt: str,
        *,
        negative_prompt: str | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance_scale: float | None = None,
        width: int | None = None,
        height: int | None = None,
        sampler: str | None = None,
        progress: ProgressCallback | None = None,
    ) -> Image.Image:
        """Draw an image; the same arguments give the service's image.

        Args:
            prompt: plain text of one chunk of tokens.
            negative_prompt: what the image should not show; has no effect without guidance. This and all further
                arguments that are ``None`` are the model's defaults.
            seed: from 0 to 2**53 - 1.
            steps: how often the denoiser is called, but for samplers of a higher order.
            guidance_scale: of classifier-free guidance, up to 50; 1 or less draws without, in half of the time.
            width: in pixels, a multiple of the model's; so is ``height``. Both are bounded by the sizes with which the
                package was checked.
            height: see ``width``.
            sampler: one of :data:`photogram_runtime.SAMPLERS`.
            progress: called after each step with the number of steps done and of all steps. What it raises ends the
                drawing.

        Returns:
            An RGB image of ``width`` x ``height``.

        Raises:
            InvalidRequest: the model does not draw, or not so; the message says what is possible.
            ComputationFailed: a graph could not be run, or the result is not finite.
        """
        if not isinstance(self._does, Drawer):
            raise InvalidRequest(f"{self.package.name} sees: it classifies and embeds images, and cannot draw")
        return self._does.draw(
            prompt, negative_prompt=negative_prompt, seed=seed, steps=steps, guidance_scale=guidance_scale,
            width=width, height=height, sampler=sampler, progress=progress,
        )  # fmt: skip

    def classify(self, image: Image.Image, top: int = 5) -> list[Label]:
        """The most probable labels of an image, the best first.

        Args:
            image: of Pillow, of any size.
            top: how many; all, if the model has fewer.

        Raises:
            InvalidRequest: the model does not classify, or ``image`` cannot be used.
            ComputationFailed: the graph could not be run, or the result is not finite.
        """
        return self._viewer("classify").classify(image, top)

    def embed(self, image: Image.Image) -> npt.NDArray[np.float32]:
        """The vector of an image, float32 [width], of length 1; the product of two is their cosine similarity.

        Raises:
            InvalidRequest: the model does not embed, or ``image`` cannot be used.
            ComputationFailed: the graph could not be run, or the result is not finite.
        """
        return self._viewer("embed").embed(image)

    def _viewer(self, verb: str) -> Viewer:
        if not isinstance(self._does, Viewer):
            raise InvalidRequest(f"{self.package.name} draws, and cannot {verb} images")
        return self._does


def load(
    folder: str | os.PathLike[str],
    *,
    force: bool = False,
    threads: int | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Deployed:
    """Read the package in ``folder``, verify every byte of it, and open its graphs.

    Args:
        folder: that ``photogram deploy`` has made, or a copy of it.
        force: use the package even if it did not pass its checks, or was made for another machine or for another
            version of its runtime.
        threads: that the runtime of the graphs uses; by default all cores.
        cache: a folder where graphs that OpenVINO has compiled are kept, about as large as the package, so that later
            loads are shorter.

    Raises:
        PackageDamaged: a file is missing or changed, or is not what a package has.
        PackageUnsupported: the package is for another machine, another version of its runtime, or another use.
        PackageUnproven: the package did not pass its checks.
    """
    if threads is not None:
        whole(threads, "threads", 1, _THREADS_MAX)
    package = read_package(Path(folder))
    require_runtime(package)
    if not force:
        require_usable(package)
    return Deployed(package, threads, None if cache is None else Path(cache))
