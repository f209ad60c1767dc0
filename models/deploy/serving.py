"""Serving a package: its graphs take the place of a checkpoint's modules, for all calls that they were proved for.

Every other call goes to torch as before: another form of call, sizes that the checks did not cover, embeddings that
replace words, ControlNets, and LoRAs, whose weights no graph has.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from photogram_runtime.graphs import Graph
from photogram_runtime.package import Package, Part, require_usable

from models.catalog.backends import UNPROVED
from models.deploy.forms import NoForm, Tensors, bind, flatten, rebuild
from models.deploy.packaging import open_graphs, processor
from models.deploy.parts import VAE_DECODER, VAE_ENCODER, VaeDecoder, VaeEncoder, encoded_as
from models.deploy.profiling_keys import DEPLOYED
from models.diffusion.backends.exporting import refuse
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.denoiser import Conditioning, Denoiser, Residuals

log = logging.getLogger(__name__)


class GraphModule:
    """A module whose calls a graph computes, if it can; all attributes are those of the module."""

    def __init__(self, module: Any, part: Part, graph: Graph) -> None:
        self._module, self._part, self._graph = module, part, graph
        self._names = tuple(port.name for port in part.inputs)
        self._told: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_module"], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the graph, or the module if the graph does not suit."""
        try:
            inputs, form = flatten(bind(self._module.forward, args, kwargs))
            problem = self._problem(inputs, form)
        except NoForm as error:
            problem = str(error)
        if problem is not None:
            self._tell(problem)
            return self._module(*args, **kwargs)
        arrays = {name: inputs[name].detach().contiguous().numpy() for name in self._names}
        outputs = [torch.from_numpy(each) for each in self._graph(arrays)]
        named = dict(zip((port.name for port in self._part.outputs), outputs, strict=True))
        return rebuild(self._part.call["result"], named)

    def _problem(self, inputs: Tensors, form: Any) -> str | None:
        if form != self._part.call.get("arguments") or set(inputs) != set(self._names):
            return "it is called in another form than when it was exported"
        for port in self._part.inputs:
            tensor = inputs[port.name]
            if str(tensor.dtype).removeprefix("torch.") != port.dtype:
                return f"{port.name} is {tensor.dtype}, not {port.dtype}"
            if not _fits(tuple(tensor.shape), port.shape, port.bounds):
                return f"{port.name} has the shape {list(tensor.shape)}, which its checks did not cover"
        return "embeddings replace words" if _is_hooked(self._module) else None

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            log.info("torch runs %s of a deployed model: %s", self._part.name, problem)


def _fits(shape: Sequence[int], fixed: Sequence[int | None], bounds: Sequence[tuple[int, int]]) -> bool:
    """Whether a graph takes ``shape``; the first axis is that of the batch, whose length does not matter."""
    if len(shape) != len(fixed):
        return False
    for axis, (length, known, (low, high)) in enumerate(zip(shape, fixed, bounds, strict=True)):
        is_open_batch = axis == 0 and known is None
        if not is_open_batch and not low <= length <= high:
            return False
    return True


def _is_hooked(module: Any) -> bool:
    """Whether something replaces the output of a text encoder's embeddings (``models.diffusion.text.embeddings``)."""
    find = getattr(module, "get_input_embeddings", None)
    return find is not None and bool(getattr(find(), "_forward_hooks", None))


class GraphVae:
    """A VAE whose ``decode`` and ``encode`` are computed by graphs; all other attributes are those of the VAE."""

    def __init__(self, vae: Any, decoder: GraphModule | None, encoder: GraphModule | None) -> None:
        self._vae, self._decoder, self._encoder = vae, decoder, encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_vae"], name)

    def decode(self, latents: torch.Tensor, return_dict: bool = True, generator: object = None) -> Any:
        """See ``vae.decode``."""
        if self._decoder is None or return_dict:
            return self._vae.decode(latents, return_dict=return_dict)
        return (self._decoder(latents)["pixels"],)

    def encode(self, pixels: torch.Tensor) -> Any:
        """See ``vae.encode``."""
        return self._vae.encode(pixels) if self._encoder is None else encoded_as(self._encoder(pixels))


class DeployedDenoiser:
    """The denoiser of a package, or the one beside a package of other parts."""

    def __init__(self, inner: Denoiser, name: str, relative_error: float | None) -> None:
        self._inner, self.name, self.relative_error = inner, name, relative_error

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditioning: Conditioning,
        residuals: Residuals | None = None,
    ) -> torch.Tensor:
        """See :meth:`Denoiser.denoise`."""
        refuse(residuals)
        return self._inner.denoise(latents, timesteps, conditioning)


def serve(checkpoint: Checkpoint, package: Package, cache: Path | None = None) -> Checkpoint:
    """``checkpoint`` with the graphs of ``package`` in place of its modules; ``cache`` keeps them compiled.

    Raises:
        PackageError: the package must not be used here, or a graph cannot be read.
    """
    require_usable(package)
    return attached(checkpoint, package, open_graphs(package, cache=cache))


def attached(checkpoint: Checkpoint, package: Package, graphs: Mapping[str, Graph]) -> Checkpoint:
    """``checkpoint`` with opened ``graphs``, by the names of the parts of ``package``."""
    deployed = copy.copy(checkpoint.pipeline)

    def over(name: str, module: Any) -> GraphModule | None:
        return GraphModule(module, package.parts[name], graphs[name]) if name in graphs else None

    own = vars(deployed)
    for name in graphs:
        if name not in (VAE_DECODER, VAE_ENCODER):
            own[name] = over(name, getattr(checkpoint.pipeline, name))
    vae = checkpoint.pipeline.vae
    own["vae"] = GraphVae(vae, over(VAE_DECODER, VaeDecoder(vae)), over(VAE_ENCODER, VaeEncoder(vae)))
    module = checkpoint.family.module
    inner = checkpoint.family.eager(deployed) if module in graphs else checkpoint.denoiser
    error = package.manifest["checks"].get("parts", {}).get(module, {}).get("relative")
    found = DeployedDenoiser(inner, served_name(package), error)
    return replace(checkpoint, denoiser=found, deployed=deployed, inputs_at_once=_inputs_at_once(package))


def _inputs_at_once(package: Package) -> int | None:
    """What was found when ``package`` was measured; ``None`` on another processor."""
    found = package.manifest.get("profile", {}).get(DEPLOYED, {}).get("inputs_at_once")
    is_here = package.manifest.get("device", {}).get("processor") == processor()
    return found if isinstance(found, int) and is_here else None


def served_name(package: Package) -> str:
    """What jobs are told that ran on ``package``."""
    return f"{package.backend}-{package.precision}{'' if package.has_passed else UNPROVED}"
