"""timm's models by name, with parameters, input sizes and licences, read from a file because the gateway has no torch.

``scripts/list_timm_models.py`` writes the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("timm_models.json")


@dataclass(frozen=True, kw_only=True)
class TimmWeights:
    """Published weights of an architecture."""

    tag: str
    repository: str | None
    """The repository of the model hub; ``None`` if they are elsewhere."""
    licence: str
    classes: int
    """How many classes the classifier has; 0 if there is none."""
    input_size: tuple[int, int, int]
    """Channels, height and width of the input in pixels."""


@dataclass(frozen=True, kw_only=True)
class TimmModel:
    """An architecture of timm."""

    name: str
    parameters: int | None
    """The number of its weights; ``None`` if unknown."""
    input_size: tuple[int, int, int]
    pretrained: tuple[TimmWeights, ...]
    """The published weights, timm's default first; empty if there are none."""

    def weights(self, tag: str) -> TimmWeights | None:
        """The published weights called ``tag``, the default ones if that is empty; ``None`` if there are none."""
        return next((each for each in self.pretrained if tag in ("", each.tag)), None)


@cache
def timm_models() -> Mapping[str, TimmModel]:
    """All architectures by name, in timm's order."""
    document = json.loads(PATH.read_text(encoding="utf-8"))
    return {each["name"]: _model(each) for each in document["models"]}


def _model(document: Mapping[str, Any]) -> TimmModel:
    return TimmModel(
        name=document["name"],
        parameters=document["parameters"],
        input_size=_size(document["input_size"]),
        pretrained=tuple(_weights(tag, each) for tag, each in document["pretrained"].items()),
    )


def _weights(tag: str, document: Mapping[str, Any]) -> TimmWeights:
    return TimmWeights(tag=tag, **{**document, "input_size": _size(document["input_size"])})


def _size(size: Sequence[int]) -> tuple[int, int, int]:
    channels, height, width = size
    return channels, height, width


def timm_weights(name: str) -> tuple[TimmModel, TimmWeights | None] | None:
    """The architecture and the weights of a name such as ``resnet18`` or ``resnet18.a1_in1k``; ``None`` if unknown."""
    architecture, _, tag = name.partition(".")
    model = timm_models().get(architecture)
    return None if model is None else (model, model.weights(tag))
