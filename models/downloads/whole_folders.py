"""What is wrong with a diffusers folder, as far as its configurations and the headers of its weights show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.catalog.catalog import ModelSpec
from models.catalog.pipelines import denoiser_problem, index_in
from models.catalog.weights import PICKLES, file_problem, read_header
from models.downloads.on_disk import configurations_of, variant_of, weight_files
from models.downloads.parts import parts_of, reads_pipelines
from models.errors import ModelUnavailable

_VOCABULARIES = (("tokenizer.json",), ("vocab.json", "merges.txt"), ("vocab.txt",), ("spiece.model",))
"""The files that a tokenizer needs, one of these sets."""


def folder_problem(spec: ModelSpec) -> str | None:
    """The first part of the model's folder that is missing or broken, and why; ``None`` if all seem whole.

    The folder of a repository is that in the hub's cache, once all of it is there. Of the folder in ``config``, and of
    a denoiser that another file replaces, no weights are needed.
    """
    try:
        folder = configurations_of(spec)
        if folder is None:
            return None
        index, variant = index_in(folder), variant_of(folder)
        parts = parts_of(index)
        problem = denoiser_problem(index, spec.family) or (None if "vae" in parts else "its VAE is missing")
        if problem is not None:
            return problem
        for part in parts:
            needs_weights = spec.file is None and reads_pipelines(spec, part)
            reason = next(_problems(folder / part, index[part], variant, needs_weights=needs_weights), None)
            if reason is not None:
                return f"its {part} {reason}"
    except ModelUnavailable as error:
        return str(error)
    return None


def read_config(file: Path) -> Mapping[str, Any]:
    """The contents of a configuration of a part.

    Raises:
        ModelUnavailable: it is missing, or is no JSON object.
    """
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelUnavailable(f"has no {file.name}") from error
    except OSError as error:
        raise ModelUnavailable(f"has a {file.name} that cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ModelUnavailable(f"has a {file.name} that is no JSON") from error
    if not isinstance(config, dict):
        raise ModelUnavailable(f"has a {file.name} that is no JSON object")
    return config


def _problems(part: Path, entry: list[Any], variant: str | None, *, needs_weights: bool) -> Iterator[str]:
    """What is wrong with a part, to follow its name."""
    if not (len(entry) == 2 and all(isinstance(each, str) for each in entry)):
        yield f"is {entry!r} in model_index.json, and not a library and a class"
    elif not part.is_dir():
        yield "is missing: there is no such folder"
    elif "Tokenizer" in entry[1]:
        yield from _tokenizer_problems(part)
    elif entry[1].endswith("Scheduler"):
        yield from _config_problems(part / "scheduler_config.json")
    else:
        yield from _config_problems(part / "config.json")
        if needs_weights:
            yield from _weight_problems(part, variant)


def _config_problems(file: Path) -> Iterator[str]:
    try:
        read_config(file)
    except ModelUnavailable as error:
        yield str(error)


def _tokenizer_problems(part: Path) -> Iterator[str]:
    sets = [names for names in _VOCABULARIES if all((part / name).is_file() for name in names)]
    if not sets:
        yield f"has no vocabulary ({' or '.join(' and '.join(names) for names in _VOCABULARIES)})"
    for name in sets[0] if sets else ():
        if name.endswith(".json"):
            yield from _config_problems(part / name)


def _weight_problems(part: Path, variant: str | None) -> Iterator[str]:
    files = weight_files(part, variant)
    if not files:
        pickles = sorted(path.name for path in part.iterdir() if path.suffix.lower() in PICKLES)
        yield (
            f"has no .safetensors weights, only {pickles[0]}: a pickle, which can run code and is not read"
            if pickles
            else "has no .safetensors weights"
        )
    for file in files:
        problem = file_problem(file)
        if not file.exists():
            yield f"lacks {file.name}, which its index of shards names"
        elif problem is not None:
            yield f"has weights that cannot be used: {file.name}: {problem}"
        elif not read_header(file).keys() - {"__metadata__"}:
            yield f"has weights that cannot be used: {file.name} holds no tensors"
