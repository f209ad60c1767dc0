"""LoRAs: loaded into copies of a pipeline that share its tensors."""

from __future__ import annotations

import copy
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.utils import set_weights_and_activate_adapters
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.lora_files import tensor_names
from models.diffusion.failures import is_out_of_memory, summary
from models.diffusion.pipeline import Pipeline
from models.errors import ModelUnavailable, OutOfMemory

log = logging.getLogger(__name__)

PARTS = ("unet", "transformer", "text_encoder", "text_encoder_2")
"""The modules of a pipeline that LoRAs change."""

TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
LoraWeight = float | tuple[float, float]
"""The factor of an update in denoiser and text encoders, or one for each of the two."""
LoraWeights = tuple[tuple[AuxiliaryModel, tuple[float, float]], ...]
"""LoRAs, each once, sorted by name, with the factors of its update in the denoiser and in the text encoders, of which
at least one is not 0."""

_UP_KEY = re.compile(r"[._](up|B)\.weight$")
"""A file has one such key for each layer that it changes."""
_MISMATCH = re.compile(r"size mismatch for (\S+): .*?torch\.Size\((\[.*?\])\).*?torch\.Size\((\[.*?\])\)")
"""torch's message about a tensor of another shape: its name, its shape, and the one that the model needs."""
_ADAPTER_NAME = "photogram_"
_ADAPTER = re.compile(rf"\.{_ADAPTER_NAME}\d+")
_NOISY_LOGGERS = ("diffusers.loaders.lora_base", "diffusers.loaders.peft", "transformers.integrations.peft")


def merge_weights(loras: Iterable[tuple[AuxiliaryModel, LoraWeight]]) -> LoraWeights:
    """``loras`` in the one form that all equal combinations have; the weights of a LoRA that occurs twice add up."""
    totals: dict[AuxiliaryModel, tuple[float, float]] = {}
    for lora, weight in loras:
        earlier, further = totals.get(lora, (0.0, 0.0)), _both(weight)
        totals[lora] = earlier[0] + further[0], earlier[1] + further[1]
    return tuple((lora, totals[lora]) for lora in sorted(totals, key=lambda each: each.name) if any(totals[lora]))


def _both(weight: LoraWeight) -> tuple[float, float]:
    return weight if isinstance(weight, tuple) else (weight, weight)


def copy_sharing_tensors(pipeline: Pipeline) -> Pipeline:
    """Copy ``pipeline`` with its :data:`PARTS`; the copy's modules can be changed, and its tensors are the same."""
    copied = copy.copy(pipeline)
    for name, part in _parts(pipeline):
        shared: dict[int, Any] = {id(each): each for each in part.buffers()}
        for each in part.parameters():
            shared[id(each)] = torch.nn.Parameter(each.detach(), requires_grad=False)
        setattr(copied, name, copy.deepcopy(part, shared))
    return copied


def load_loras(pipeline: Pipeline, loras: Sequence[AuxiliaryModel]) -> None:
    """Load ``loras`` into the modules of ``pipeline`` by diffusers' own loader.

    :func:`set_adapters` takes their weights in the same order. After an error the pipeline must not be used.

    Raises:
        ModelUnavailable: a file cannot be read, holds other weights than plain LoRAs, or is made for another model.
        OutOfMemory: a LoRA does not fit into the device's memory.
    """
    for lora, adapter in zip(loras, _adapter_names(len(loras)), strict=True):
        keys = _keys(lora)
        layers = sum(bool(_UP_KEY.search(key)) for key in keys)
        _load_file(pipeline, lora, adapter, has_alphas=any(key.endswith(".alpha") for key in keys))
        changed = sum(adapter in layer.scaling for layer in _lora_layers(pipeline))
        if not changed:
            message = f"LoRA {lora.name!r} is made for another model: none of its layers is in this one"
            raise ModelUnavailable(message, "loras")
        if changed < layers:
            log.warning("LoRA %r: %d of its %d layers are not in this model", lora.name, layers - changed, layers)


def set_adapters(pipeline: Pipeline, weights: Sequence[LoraWeight]) -> None:
    """Set the weights of the LoRAs in ``pipeline``, in the order in which they were loaded."""
    for name, part in _parts(pipeline):
        of_part = [_both(weight)[name in TEXT_ENCODERS] for weight in weights]
        set_weights_and_activate_adapters(part, _adapter_names(len(weights)), of_part)


def _parts(pipeline: Pipeline) -> Iterator[tuple[str, torch.nn.Module]]:
    for name in PARTS:
        part = getattr(pipeline, name, None)
        if part is not None:
            yield name, part


def _lora_layers(pipeline: Pipeline) -> Iterator[LoraLayer]:
    for _, part in _parts(pipeline):
        yield from (module for module in part.modules() if isinstance(module, LoraLayer))


def _adapter_names(count: int) -> list[str]:
    """Names that are no part of a module's name or of one another: diffusers and transformers search keys for them."""
    return [f"{_ADAPTER_NAME}{number:04}" for number in range(count)]


def _keys(lora: AuxiliaryModel) -> list[str]:
    """The names of the tensors in the file, read from its header."""
    try:
        return tensor_names(lora.path)
    except ModelUnavailable as error:
        raise ModelUnavailable(f"LoRA {lora.name!r} cannot be used: {error}", "loras") from error


def _load_file(pipeline: Any, lora: AuxiliaryModel, adapter: str, has_alphas: bool) -> None:
    try:
        source = scale_by_alphas(load_file(lora.path)) if has_alphas else str(lora.path)
        with _without_lines():
            pipeline.load_lora_weights(source, adapter_name=adapter, use_safetensors=True)
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(f"LoRA {lora.name!r} does not fit into the device's memory") from error
        message = f"LoRA {lora.name!r} is made for another model: {_reason(error)}"
        raise ModelUnavailable(message, "loras") from error


def scale_by_alphas(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Multiply each update in a file of kohya-ss by its alpha / rank, and leave the alphas out.

    diffusers 0.42 and peft multiply in the forward, but they apply the wrong alpha to most layers of a file whose
    alphas differ. The alphas of linear and convolutional layers often differ.

    Raises:
        ValueError: an alpha has no weights.
    """
    scaled = {key: tensor for key, tensor in tensors.items() if not key.endswith(".alpha")}
    for key in tensors.keys() - scaled.keys():
        layer = key.removesuffix(".alpha")
        up = next((up for up in (f"{layer}.lora_up.weight", f"{layer}.lora_B.weight") if up in scaled), None)
        if up is None:
            raise ValueError(f"there are no weights for {key!r}")
        scaled[up] = scaled[up] * (tensors[key].item() / scaled[up].shape[1])
    return scaled


@contextmanager
def _without_lines() -> Iterator[None]:
    """Silence the libraries about second adapters, unchanged modules and errors that they raise, too."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _reason(error: Exception) -> str:
    """The reason of a failed load; where shapes differ, torch gives it in a later line of its message."""
    if isinstance(error, LookupError) or "not found in the base model" in str(error):
        return "it has layers that this model lacks"
    mismatch = _MISMATCH.search(str(error))
    if mismatch is None:
        return summary(error)
    name, has, needs = mismatch.groups()
    return f"its tensor {_ADAPTER.sub('', name)!r} has the shape {has}, and the model needs {needs}"
