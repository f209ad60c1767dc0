"""Writes ``models/catalog/timm_models.json``: what timm's models are, for listings of the gateway, which has no torch.

``python scripts/list_timm_models.py`` takes some minutes, since each architecture is made once, without memory for its
weights, to count its parameters.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch

from models.catalog.timm_models import PATH
from models.vision.timm_import import import_timm


def entry(timm: Any, name: str, tags: Sequence[str]) -> dict[str, Any]:
    """What the file has of one architecture; ``tags`` are those of its published weights."""
    config = timm.get_pretrained_cfg(name)
    return {
        "name": name,
        "parameters": _parameters(timm, name),
        "input_size": list(config.input_size),
        "pretrained": {tag: _weights(timm, name, tag) for tag in sorted(tags, key=lambda tag: tag != config.tag)},
    }


def _weights(timm: Any, name: str, tag: str) -> dict[str, Any]:
    config = timm.get_pretrained_cfg(f"{name}.{tag}")
    return {
        "repository": config.hf_hub_id,
        "licence": config.license or "",
        "classes": config.num_classes,
        "input_size": list(config.input_size),
    }


def _parameters(timm: Any, name: str) -> int | None:
    try:
        with torch.device("meta"):
            model = timm.create_model(name)
    except Exception as error:  # a few compute with their weights when they are made
        print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
        return None
    return sum(each.numel() for each in model.parameters())


def main() -> None:
    """Write the file, one architecture a line."""
    timm = import_timm()
    tags = defaultdict(list)
    for each in timm.list_models(pretrained=True):
        name, _, tag = each.partition(".")
        tags[name].append(tag)
    lines = [json.dumps(entry(timm, name, tags[name]), separators=(",", ":")) for name in timm.list_models()]
    PATH.write_text(f'{{"timm": "{timm.__version__}", "models": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
