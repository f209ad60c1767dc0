"""Checkpoints: a loaded pipeline that many rows share, with the backend that runs its denoiser, and with LoRAs."""

from __future__ import annotations

import copy
import itertools
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import torch
from PIL.Image import Image
from torch import nn

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import ModelSpec
from models.diffusion.backends.deepcache import DeepCacheUNet
from models.diffusion.denoiser import Conditioning, Denoiser
from models.diffusion.families.family import Family
from models.diffusion.lora import LoraWeight, LoraWeights, copy_sharing_tensors, load_loras, merge_weights, set_adapters
from models.diffusion.parts import Part
from models.diffusion.pipeline import Pipeline
from models.diffusion.placement import Placement
from models.diffusion.preview import Previewer, build_previewer
from models.diffusion.prompt_inputs import PromptInputs
from models.diffusion.reduced_weights import looking_wide

log = logging.getLogger(__name__)


@dataclass
class Checkpoint:
    """A pipeline that many rows share, and the backends that run its denoiser."""

    spec: ModelSpec
    family: Family
    pipeline: Pipeline
    denoiser: Denoiser
    """The denoiser on the chosen backend."""
    eager: Denoiser
    """The denoiser on torch, which can run everything that any backend can; often the same object."""
    device: torch.device
    dtype: torch.dtype
    has_loras: bool = False
    """Whether :attr:`adapters` made this checkpoint."""
    placement: Placement = field(default_factory=Placement)
    """Where the pipeline's weights are; its modules are called within :meth:`Placement.using` only."""
    deployed: Pipeline | None = None
    """The pipeline with the graphs of a deployed package in place of its modules (``models.deploy.serving``)."""
    inputs_at_once: int | None = None
    """The largest batch, in inputs at the model's default size, that was worth while when its package was measured on
    such a processor."""
    packages: Path | None = None
    """The folder of packages that may take the place of its modules; ``None`` if none may."""
    number: int = field(default_factory=itertools.count().__next__)
    """Another one each time a model is loaded, since its text encoders may run on another backend then."""

    @property
    def fastest(self) -> Pipeline:
        """The pipeline whose text encoders and VAE are called."""
        return self.pipeline if self.deployed is None else self.deployed

    @cached_property
    def adapters(self) -> Adapters:
        """This checkpoint with LoRAs."""
        return Adapters(self)

    @cached_property
    def deepcache(self) -> DeepCacheUNet:
        """The UNet for images that reuse deep features."""
        return DeepCacheUNet(self.pipeline.unet)

    @cached_property
    def float32_vae(self) -> Any:
        """A copy of the VAE in float32, for images that overflow in its own dtype."""
        vae: Any = self.pipeline.vae
        log.warning("model %s: its VAE overflows in %s; such images are decoded in float32", self.spec.name, vae.dtype)
        return copy.deepcopy(vae).float()

    @property
    def modules(self) -> list[nn.Module]:
        """All modules that take memory; with LoRAs, most of their tensors are the base's."""
        return [each for each in self.pipeline.components.values() if isinstance(each, nn.Module)]

    def encode(self, inputs: PromptInputs, size: tuple[int, int]) -> Conditioning:
        """Encode prompts for an image of ``size``; see :meth:`Family.encode`."""
        with self.placement.using(Part.TEXT_ENCODERS):
            return self.family.encode(self.fastest, inputs, size, self.device)

    def to_latents(self, pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Encode RGB [1, 3, H, W], -1 to 1, into latents; see :meth:`Family.to_latents`."""
        with self.placement.using(Part.VAE):
            return self.family.to_latents(self.fastest, pixels.to(self.device), generator)

    def preview(self, latents: torch.Tensor) -> list[Image]:
        """Rough images of noiseless latents [N, channels, h, w]."""
        return self._previewer(latents)

    @cached_property
    def _previewer(self) -> Previewer:
        with self.placement.using(Part.VAE):
            return build_previewer(self.pipeline, self.family.decode, self.device)


class Adapters:
    """One checkpoint with any combination of LoRAs (Hu et al. 2021, arXiv 2106.09685).

    Each combination is a checkpoint of its own, whose modules share the base's tensors. Neither the base nor a
    combination is changed once it is made. So no weights are switched between two forwards, and one thread can use a
    combination while another thread makes a new one. Combinations of the same files with other weights share the
    files' tensors as well. A combination lives as long as somebody holds it: the model cache, or a row.

    Args:
        base: the checkpoint without LoRAs; its modules must not be replaced or moved afterwards.
    """

    def __init__(self, base: Checkpoint) -> None:
        self._base = base
        self._combinations: WeakValueDictionary[LoraWeights, Checkpoint] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, loras: Iterable[tuple[AuxiliaryModel, LoraWeight]]) -> Checkpoint:
        """The checkpoint with ``loras``, each with its weight; the base if there are none.

        Equal combinations give the same object, in any order. The weights of a LoRA that is named twice add up, and
        weight 0 leaves a LoRA out. May be called from any thread; one combination is made at a time.

        Raises:
            ModelUnavailable: a LoRA cannot be read, or is made for another model.
            OutOfMemory: a LoRA does not fit into the device's memory.
        """
        weights = merge_weights(loras)
        if not weights:
            return self._base
        with self._lock:
            combination = self._combinations.get(weights)
            if combination is None:
                with torch.inference_mode(False):  # parameters made in inference mode cannot be changed later
                    combination = self._combinations[weights] = self._make(weights)
            return combination

    def _make(self, weights: LoraWeights) -> Checkpoint:
        with self._base.placement.at_rest():
            return self._made(weights)

    def _made(self, weights: LoraWeights) -> Checkpoint:
        loras = [lora for lora, _ in weights]
        held = list(self._combinations.items())
        same_files = (made for known, made in held if [lora for lora, _ in known] == loras)
        source = next(same_files, None)
        pipeline = copy_sharing_tensors((source or self._base).pipeline)
        if source is None:
            with looking_wide(getattr(pipeline, self._base.family.module), self._base.dtype):
                load_loras(pipeline, loras)
        set_adapters(pipeline, [weight for _, weight in weights])
        eager = self._base.family.eager(pipeline)
        placement = self._base.placement.of(pipeline.components)
        return replace(
            self._base,
            pipeline=pipeline,
            denoiser=eager,
            eager=eager,
            has_loras=True,
            placement=placement,
            deployed=None,
        )
