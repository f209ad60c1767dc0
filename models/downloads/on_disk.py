"""Where the weights of a model lie on this machine, whether all are there, and how many bytes they take."""

from __future__ import annotations

import json
from pathlib import Path

from huggingface_hub import constants, try_to_load_from_cache

from models.catalog.catalog import ModelSpec
from models.catalog.pipelines import INDEX, index_in
from models.downloads.parts import FP16, parts_of, reads_pipelines, weights_among
from models.errors import ModelUnavailable


def is_hub_offline() -> bool:
    """Whether ``HF_HUB_OFFLINE`` forbids downloads."""
    return bool(constants.HF_HUB_OFFLINE)


def place_of(spec: ModelSpec) -> Path | None:
    """The folder or file of the weights; for a repository, its folder in the hub's cache, if it was downloaded."""
    if spec.repository is None:
        return spec.folder or spec.file
    found = try_to_load_from_cache(spec.repository, INDEX, revision=spec.revision)
    return Path(found).parent if isinstance(found, str) else None


def configurations_of(spec: ModelSpec) -> Path | None:
    """The diffusers folder with the model's configurations; ``None`` if it is not on this machine, or not known."""
    if spec.file is not None:
        return spec.config
    return place_of(spec) if is_on_disk(spec) else None


def is_on_disk(spec: ModelSpec) -> bool:
    """Whether the model can be loaded without a download of weights; its files may be broken."""
    if spec.url is not None and spec.file is not None:
        return spec.file.is_file()
    if spec.repository is None:
        return True
    place = place_of(spec)
    return place is not None and all(
        _is_complete(place / part) if reads_pipelines(spec, part) else (place / part).is_dir() for part in _parts(place)
    )


def variant_of(folder: Path) -> str | None:
    """The variant under which diffusers finds the weights in ``folder``: ``fp16`` if a part has no others."""
    parts = [folder / part for part in _parts(folder)]
    return FP16 if any(_has_weights(part, FP16) and not _has_weights(part, None) for part in parts) else None


def weight_files(part: Path, variant: str | None) -> list[Path]:
    """The files that diffusers reads of ``part`` if it is asked for ``variant``: these, or else those without one."""
    return _weights(part, variant) or _weights(part, None)


def bytes_of(place: Path) -> int:
    """The bytes of a file, or of all files in a folder; links count as what they point to."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _parts(folder: Path) -> list[str]:
    return parts_of(index_in(folder))


def _is_complete(part: Path) -> bool:
    """Whether a part is there, with its weights if it has some; the hub's cache has a file once all of it is there."""
    if not part.is_dir():
        return False
    if not (part / "config.json").is_file():
        return True  # a tokenizer or a scheduler
    return _has_weights(part, None) or _has_weights(part, FP16)


def _has_weights(part: Path, variant: str | None) -> bool:
    """Whether ``part`` has all weights of a variant."""
    files = _weights(part, variant)
    return bool(files) and all(file.is_file() for file in files)


def _weights(part: Path, variant: str | None) -> list[Path]:
    """The files of one variant's weights in ``part``: the shards that its index names, or the one file there is."""
    names = weights_among([path.name for path in part.glob("*")], variant)
    indexes = [name for name in names if name.endswith(".json")]
    shards = {shard for index in indexes for shard in _shards(part / index)}
    return [part / name for name in sorted(shards or names)]


def _shards(index: Path) -> set[str]:
    """The files that an index of shards names.

    Raises:
        ModelUnavailable: it cannot be read, or names no files beside it.
    """
    try:
        named = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
        shards = {name for name in named if Path(name).name == name}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise ModelUnavailable(f"its {index.parent.name} has an index of shards that cannot be read") from error
    if len(shards) < len(set(named)):
        raise ModelUnavailable(f"its {index.parent.name} has an index of shards that names files elsewhere")
    return shards
