"""A model with LoRAs baked in: its packages are those of a model of its own, whose name says which LoRAs it has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from models.catalog.auxiliary import AuxiliaryModel
from models.catalog.catalog import Catalog
from models.catalog.names import unknown_name
from models.errors import PhotogramError
from models.jobs.params import LORA_WEIGHT_MAX, LoraUse

Weights = tuple[float, float]
"""Of a LoRA in the denoiser and in the text encoders."""


class NoLora(PhotogramError):
    """What names a LoRA and its weight does not; the message says why."""


def combined_name(model: str, loras: Iterable[tuple[str, Weights]]) -> str:
    """The name of ``model`` with ``loras``, such as ``house+sketch@0.8``; ``model`` itself without any.

    Args:
        loras: sorted by their names, each once.
    """
    return "+".join([model, *(f"{name}@{_told(weights)}" for name, weights in loras)])


def stored_name(model: str, loras: Iterable[LoraUse]) -> str:
    """The name under which the packages of ``model`` with ``loras`` are stored."""
    return combined_name(model, sorted((use.name, use.weights) for use in loras))


def _told(weights: Weights) -> str:
    denoiser, text_encoders = map(float, weights)
    return repr(denoiser) if denoiser == text_encoders else f"{denoiser!r},{text_encoders!r}"


def find_lora(name: str, catalog: Catalog) -> AuxiliaryModel:
    """The LoRA with this name or alias; raises :class:`NoLora` if there is none."""
    lora = catalog.loras.resolve(name)
    if lora is None:
        raise NoLora(unknown_name("LoRA", name, catalog.loras).message)
    return lora


def read_loras(texts: Sequence[str], catalog: Catalog) -> list[LoraUse]:
    """The LoRAs in ``texts``, each ``NAME`` or ``NAME:WEIGHT``, as the catalog calls them.

    Raises:
        NoLora: there is no such LoRA, the weight is no number within the limits, or one is named twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, weight = _split(text)
        lora = find_lora(name, catalog)
        if lora.name in found:
            raise NoLora(f"the LoRA {lora.name} is named twice")
        found[lora.name] = weight
    return [LoraUse(name=name, weight=weight) for name, weight in sorted(found.items())]


def _split(text: str) -> tuple[str, float]:
    name, colon, given = text.rpartition(":")
    if not colon:
        return text, 1.0
    try:
        weight = float(given)
    except ValueError:
        raise NoLora(f"{text!r}: the weight must be a number, as in {name}:0.8") from None
    if not 0 < abs(weight) <= LORA_WEIGHT_MAX:  # refuses NaN, too
        raise NoLora(f"{text!r}: the weight must be from {-LORA_WEIGHT_MAX:g} to {LORA_WEIGHT_MAX:g}, and not 0")
    return name, weight
