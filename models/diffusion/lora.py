"""LoRAs: checkpoints that share the base's weights and have low-rank weights beside them."""

from __future__ import annotations

import copy
import logging
import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from diffusers.utils import set_weights_and_activate_adapters
from peft.tuners.lora import LoraLayer
from safetensors import safe_open
from safetensors.torch import load_file

from models.catalog.auxiliary import AuxiliaryModel
from models.diffusion.checkpoint import Checkpoint
from models.diffusion.failures import is_out_of_memory, summary
from models.diffusion.pipeline import Pipeline
from models.errors import ModelUnavailable, OutOfMemory

log = logging.getLogger(__name__)

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
"""The modules of a pipeline that LoRAs may change."""

Weights = tuple[tuple[AuxiliaryModel, float], ...]
"""LoRAs and what their update is multiplied by, in UNet and text encoders alike: each once, by name, none of them 0."""

_LORA_KEY = re.compile(r"lora.*[._](up|down|A|B)\.(weight|bias)$|\.alpha$")
_UP_KEY = re.compile(r"[._](up|B)\.weight$")
"""One of these for each layer that a file changes."""
_ALARMED = ("diffusers.loaders.lora_base", "diffusers.loaders.peft", "transformers.integrations.peft")


class Adapters:
    """One checkpoint with LoRAs in any combination (Hu et al. 2021, arXiv 2106.09685).

    Each combination is a checkpoint of its own whose modules share the base's tensors. Neither the base nor a
    combination is ever changed after it was made: there is nothing to switch between two forwards, and any thread may
    use one of them while another is being made. Combinations of the same files at other weights share the files'
    tensors too.

    Args:
        base: the checkpoint without LoRAs; its modules must not be replaced or moved from now on.
        limit: how many combinations are kept; the one that was asked for longest ago goes first. Rows that still use
            it keep it alive.
    """

    def __init__(self, base: Checkpoint, *, limit: int = 8) -> None:
        self._base = base
        self._limit = limit
        self._made: OrderedDict[Weights, Checkpoint] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, uses: Iterable[tuple[AuxiliaryModel, float]]) -> Checkpoint:
        """The checkpoint under ``uses``, the same object for equal ones, in whatever order; without any, the base.

        The weights of a LoRA that is named twice add up, and weight 0 is none. May be called from any thread; one
        combination is made at a time.

        Raises:
            ModelUnavailable: a LoRA cannot be read, or is made for another model.
            OutOfMemory: it does not fit the device.
        """
        weights = add_up(uses)
        if not weights:
            return self._base
        with self._lock:
            if weights not in self._made:
                with torch.inference_mode(False):  # parameters made in inference mode could never be changed again
                    self._made[weights] = self._make(weights)
            self._made.move_to_end(weights)
            while len(self._made) > self._limit:
                self._made.popitem(last=False)
            return self._made[weights]

    def clear(self) -> None:
        """Keep no combination any longer, to make room; rows in progress keep theirs."""
        with self._lock:
            self._made.clear()

    def _make(self, weights: Weights) -> Checkpoint:
        loras = [lora for lora, _ in weights]
        alike = next((made for known, made in self._made.items() if [lora for lora, _ in known] == loras), None)
        pipeline = twin(self._base.pipeline) if alike is None else twin(alike.pipeline)
        if alike is None:
            load(pipeline, loras)
        weigh(pipeline, [weight for _, weight in weights])
        eager = self._base.family.eager(pipeline)
        return replace(self._base, pipeline=pipeline, denoiser=eager, eager=eager, has_loras=True)


def add_up(uses: Iterable[tuple[AuxiliaryModel, float]]) -> Weights:
    """``uses`` in the one form that they share with all equal ones."""
    totals: dict[AuxiliaryModel, float] = {}
    for lora, weight in uses:
        totals[lora] = totals.get(lora, 0.0) + weight
    return tuple((lora, totals[lora]) for lora in sorted(totals, key=lambda each: each.name) if totals[lora])


def twin(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose :data:`PARTS` may be rebuilt without a change to the first one's; the tensors are the same."""
    second = copy.copy(pipeline)
    for name, part in _parts(pipeline):
        shared: dict[int, Any] = {id(each): each for each in part.buffers()}
        for each in part.parameters():
            shared[id(each)] = torch.nn.Parameter(each.detach(), requires_grad=False)
        setattr(second, name, copy.deepcopy(part, shared))
    return second


def load(pipeline: Pipeline, loras: Sequence[AuxiliaryModel]) -> None:
    """Put ``loras`` into the modules of ``pipeline``, by diffusers' own loader; :func:`weigh` takes the same order.

    After an error the pipeline is not fit for use.

    Raises:
        ModelUnavailable: one cannot be read, holds more than low-rank weights, or does not fit the modules.
        OutOfMemory: one does not fit the device.
    """
    for lora, adapter in zip(loras, _adapter_names(len(loras)), strict=True):
        keys = _keys(lora)
        layers = sum(bool(_UP_KEY.search(key)) for key in keys)
        _load_file(pipeline, lora, adapter, has_alphas=any(key.endswith(".alpha") for key in keys))
        changed = sum(adapter in layer.scaling for layer in _lora_layers(pipeline))
        if not changed:
            raise ModelUnavailable(f"LoRA {lora.name!r} is made for another model: none of its layers is in this one")
        if changed < layers:
            log.warning("LoRA %r: %d of its %d layers are not in this model", lora.name, layers - changed, layers)


def weigh(pipeline: Pipeline, weights: Sequence[float]) -> None:
    """Let the LoRAs of ``pipeline`` work with ``weights``, in the order they were loaded in."""
    for _, part in _parts(pipeline):
        set_weights_and_activate_adapters(part, _adapter_names(len(weights)), list(weights))


def _parts(pipeline: Pipeline) -> Iterator[tuple[str, torch.nn.Module]]:
    for name in PARTS:
        part = getattr(pipeline, name, None)
        if part is not None:
            yield name, part


def _lora_layers(pipeline: Pipeline) -> Iterator[LoraLayer]:
    for _, part in _parts(pipeline):
        yield from (module for module in part.modules() if isinstance(module, LoraLayer))


def _adapter_names(count: int) -> list[str]:
    """Names that are part of no module's name and of no other's: diffusers and transformers look for them in keys."""
    return [f"photogram_{number:04}" for number in range(count)]


def _keys(lora: AuxiliaryModel) -> list[str]:
    """What the file holds, from its header alone."""
    if lora.path.suffix != ".safetensors":
        raise ModelUnavailable(f"LoRA {lora.name!r}: {lora.path} is no .safetensors file")
    try:
        with safe_open(lora.path, framework="pt") as file:
            keys = list(file.keys())
    except Exception as error:  # safetensors has its own error, which is no OSError
        raise ModelUnavailable(f"LoRA {lora.name!r} cannot be read: {summary(error)}") from error
    foreign = [key for key in keys if not _LORA_KEY.search(key)]
    if foreign:
        kinds = "only plain LoRAs can be used, no DoRA, LoHa, LoKr or other weights"
        raise ModelUnavailable(f"LoRA {lora.name!r} holds {foreign[0]!r}; {kinds}")
    return keys


def _load_file(pipeline: Any, lora: AuxiliaryModel, adapter: str, has_alphas: bool) -> None:
    try:
        source = scale_by_alphas(load_file(lora.path)) if has_alphas else str(lora.path)
        with _without_false_alarms():
            pipeline.load_lora_weights(source, adapter_name=adapter, use_safetensors=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"LoRA {lora.name!r} does not fit into the device's memory") from error
        raise ModelUnavailable(f"LoRA {lora.name!r} is made for another model: {_reason(error)}") from error


def scale_by_alphas(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``tensors`` as kohya-ss writes them, but without alphas: each update is multiplied by its own alpha / rank.

    diffusers 0.42 and peft would do so in the forward, but where the alphas of a file differ, as those of linear and
    convolutional layers often do, most of their layers get the wrong one.
    """
    scaled = {key: tensor for key, tensor in tensors.items() if not key.endswith(".alpha")}
    for key in tensors.keys() - scaled.keys():
        layer = key.removesuffix(".alpha")
        up = next((up for up in (f"{layer}.lora_up.weight", f"{layer}.lora_B.weight") if up in scaled), None)
        if up is None:
            raise ValueError(f"{key!r} belongs to no weights")
        scaled[up] = scaled[up] * (tensors[key].item() / scaled[up].shape[1])
    return scaled


@contextmanager
def _without_false_alarms() -> Iterator[None]:
    """The libraries warn of second adapters and of modules that a LoRA leaves alone; :func:`load` counts layers."""
    loggers = [logging.getLogger(name) for name in _ALARMED]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    """What torch complains of, which is not in the first line where shapes differ."""
    mismatches = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
    return mismatches[0] if mismatches else summary(error)
