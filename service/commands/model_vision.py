"""Vision models that ``photogram models add`` adds: names of timm, folders in its layout, and files of weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from models.catalog.catalog import Catalog
from models.catalog.timm_models import timm_weights
from models.catalog.vision import EYES, VISION, VisionSpec, architecture_in, read_vision_models
from models.errors import CatalogError
from service.backbone.catalog_edit import put_entries
from service.commands.model_downloads import show_download
from service.commands.model_files import require_printable

TIMM = "timm/"
"""What a source begins with that is a name of timm, or one of timm's repositories on the model hub."""


def is_vision(options: argparse.Namespace) -> bool:
    """Whether the arguments name a vision model."""
    source = Path(options.source).expanduser()
    is_named = options.source.startswith(TIMM) and not source.exists()
    return is_named or options.architecture is not None or (source.is_dir() and architecture_in(source) is not None)


def add_vision(options: argparse.Namespace, catalog_path: Path) -> Iterator[str]:
    """Add a vision model to the catalog, its files downloaded before; the lines say how to use it.

    Raises:
        CatalogError: the source is no model of timm, or the name is taken.
        DownloadFailed: the hub does not answer, or has no such model.
    """
    name, source = _source(options)
    name = options.name or name
    require_printable(options, name)
    if name.casefold() == EYES:
        raise CatalogError(f"the vision model {EYES!r} is built in: --name gives yours another name")
    if name in Catalog.load(catalog_path).vision and not options.overwrite:
        raise CatalogError(f"there is a vision model {name!r} already: --overwrite replaces it, --name gives another")
    labels = None if options.labels is None else str(Path(options.labels).expanduser().absolute())
    given = {"aliases": options.alias, "licence": options.licence, "labels": labels, "classes": options.classes}
    entry = {**source, **{key: value for key, value in given.items() if value}}
    spec = read_vision_models({name: entry}, catalog_path.parent)[name]
    if (problem := spec.problem()) is not None:
        raise CatalogError(f"{options.source} cannot be added: {problem}")
    if spec.repository is not None and not options.no_download:
        pull_vision(spec)
    put_entries(catalog_path, {(VISION, name): entry})
    yield f"{name} is in the catalog: a vision model"
    yield f'use it in a request of the kind classify, embed or similarity: "model": "{name}"'


def _source(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """The usual name of the model, and where its weights are."""
    path = Path(options.source).expanduser()
    if path.is_dir():
        return path.absolute().name, {"folder": str(path.absolute())}
    if options.architecture is not None:
        return path.stem, {"file": str(path.absolute()), "architecture": options.architecture}
    return _published(options)


def _published(options: argparse.Namespace) -> tuple[str, dict[str, Any]]:
    """timm's weights of a name, or else a repository of timm's account; pinned to a commit if the hub is asked."""
    name = options.source.removeprefix(TIMM)
    found = timm_weights(name)
    if found is None:
        raise CatalogError(f"timm has no model {name!r}; GET /v1/vision/models?filter=... lists all that there are")
    model, weights = found
    if weights is None or weights.repository is None:
        raise CatalogError(
            f"no weights of {name!r} are published on the model hub: add a file with --architecture {name}"
        )
    entry: dict[str, Any] = {"repository": weights.repository}
    if weights.licence:
        entry["licence"] = weights.licence
    if options.revision or not options.no_download:
        entry["revision"] = options.revision or _newest(weights.repository)
    return model.name, entry


def _newest(repository: str) -> str:
    from models.downloads.hub import look_up  # its import takes longer than --help may

    return look_up(repository).commit


def pull_vision(spec: VisionSpec) -> None:
    """Download the files of a model of a repository unless they are here, and show how far it is.

    Raises:
        CatalogError: it is a folder or a file of this machine.
        DownloadFailed: the message says why, and what to do.
    """
    from models.vision.files import download, is_on_disk  # the hub's client: longer than --help may take

    if spec.repository is None:
        raise CatalogError(f"{spec.name} is a folder or a file of this machine and is not downloaded")
    if not is_on_disk(spec):
        show_download(spec.name, partial(download, spec))
