"""The catalog entry that ``photogram models add`` makes of its arguments, and its errors in the words of its flags."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.catalog.catalog import ModelSpec
from models.catalog.file_kinds import CHECKPOINT, DENOISER, FileKind, kind_of
from models.catalog.pipelines import INDEX, family_of_pipeline, index_in
from models.catalog.single_file import family_of
from models.catalog.weights import SAFETENSORS
from models.errors import CatalogError, DownloadFailed, ModelUnavailable
from service.backbone.catalog_edit import NameTaken
from service.commands.model_files import beside, checked_vae, kind_of_source, name_of_file, require_printable
from service.commands.model_flags import is_repository

LINKED_FOLDER = "models"
"""The folder in the data folder for files that were downloaded from URLs."""
_FLAGS = {
    "defaults.num_inference_steps": "--steps",
    "defaults.guidance_scale": "--guidance",
    "defaults.sampler": "--sampler",
    "defaults.width": "--size",
    "defaults.height": "--size",
    "prediction": "--prediction",
    "weights": "--weights",
    "attention": "--attention",
}
"""The flag that gives each key of an entry whose value can be wrong."""


def named_entry(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """The model's name, and its entry without what the arguments leave open.

    The name is as given, or the last part of the source; for a URL, the name of its file.

    Raises:
        CatalogError: the source is no model.
        DownloadFailed: the hub or Civitai does not answer, or has no such model.
    """
    if "://" in options.source:
        name, source = _link(options)
    else:
        name, source = _last_part(options.source), _source_or_denoiser(options)
    chosen = name if options.name is None else options.name
    require_printable(options, chosen)
    return chosen, _entry(options, source)


def with_family(entry: dict[str, object], spec: ModelSpec) -> dict[str, object]:
    """``entry`` with the family of the file behind a URL, if that is here, unless the family was given.

    Raises:
        CatalogError: the file is no checkpoint that can be used.
    """
    if spec.url is None or spec.file is None or not spec.file.is_file():
        return entry
    kind = kind_of(spec.file)
    _refuse_linked(kind, spec.url, has_config=spec.config is not None)
    return {"family": kind.family, **entry}


@contextmanager
def removed_if_refused(spec: ModelSpec) -> Iterator[None]:
    """Remove the file behind a URL that the block downloads, if the block then refuses it."""
    was_there = spec.url is None or spec.file is None or spec.file.exists()
    try:
        yield
    except CatalogError:
        if not was_there and spec.file is not None:
            spec.file.unlink(missing_ok=True)
        raise


def _refuse_linked(kind: FileKind, url: str, *, has_config: bool) -> None:
    """Raise :class:`CatalogError` unless the file behind a URL is a checkpoint that can be used."""
    problem = kind.problem or (None if has_config else kind.configuration_problem)
    if problem is not None:
        raise CatalogError(f"{url} cannot be added: {problem}")
    if kind.kind != CHECKPOINT:
        raise CatalogError(f"{url} is {kind} and no checkpoint: download it, and photogram models add FILE adds it")


def _last_part(source: str) -> str:
    path = Path(source).expanduser()
    return name_of_file(path) if path.is_file() else Path(os.path.abspath(path)).name.removesuffix(SAFETENSORS)


def _entry(options: argparse.Namespace, source: dict[str, object]) -> dict[str, object]:
    entry = {
        **source,
        **_chosen(options, "family", "prediction", "dtype", "offload", "weights", "attention", "licence"),
    }
    if options.vae is not None:
        entry["vae"] = checked_vae(Path(options.vae).expanduser())
    if options.alias:
        entry["aliases"] = options.alias
    size = {"width": options.size, "height": options.size}
    defaults = {"num_inference_steps": options.steps, "guidance_scale": options.guidance,
                "sampler": options.sampler, **size}  # fmt: skip
    entry["defaults"] = {key: value for key, value in defaults.items() if value is not None}
    return entry


@contextmanager
def in_flags() -> Iterator[None]:
    """Raise the block's :class:`CatalogError` with the name of the flag that gave the value, or that helps."""
    try:
        yield
    except NameTaken as error:
        advice = "--overwrite replaces its entry, --name gives another name"
        if not error.can_overwrite:
            advice = "choose another name (--name)"
        raise CatalogError(f"{error}: {advice}") from error
    except CatalogError as error:
        if error.key not in _FLAGS:
            raise
        raise CatalogError(f"{_FLAGS[error.key]} {error.reason}") from error


def _chosen(options: argparse.Namespace, *names: str) -> dict[str, object]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _source_or_denoiser(options: argparse.Namespace) -> dict[str, object]:
    kind = kind_of_source(options.source)
    is_denoiser = kind is not None and kind.kind == DENOISER
    if kind is None or not is_denoiser:
        return _source(options.source, options)
    if options.parts is None:
        raise CatalogError(
            f"{options.source} is {kind}: --parts names the model that its text encoders and VAE are taken from, "
            "a diffusers folder, a hub repository or a checkpoint"
        )
    denoiser = str(Path(options.source).expanduser().absolute())
    return {**_source(options.parts, options), "family": kind.family, "denoiser": denoiser}


def _source(source: str, options: argparse.Namespace) -> dict[str, object]:
    path = Path(source).expanduser()
    is_file = path.suffix.lower() == SAFETENSORS
    if path.is_dir():
        return {"folder": str(path.absolute()), **_family_in(path, options.family)}
    if is_file:
        return _file(path, options.config)
    if not is_repository(source):
        raise CatalogError(f"{source} is not a folder, a .safetensors file, a URL or a hub repository (owner/name)")
    return _repository(source, options)


def _file(path: Path, config: str | None) -> dict[str, object]:
    """The entry of a single file, with the family detected from its weights, and what A1111's files beside it say."""
    entry: dict[str, object] = {"file": str(path.absolute()), **_config(config)}
    if not path.is_file():
        return entry
    further = beside(path)
    if config is not None:
        further.pop("prediction", None)
    return {**entry, **_family_of(path), **further}


def _config(config: str | None) -> dict[str, object]:
    return {} if config is None else {"config": str(Path(config).expanduser().absolute())}


def _family_of(path: Path) -> dict[str, object]:
    try:
        family = family_of(path)
    except ModelUnavailable as error:
        raise CatalogError(str(error)) from error
    return {} if family is None else {"family": family}


def _family_in(folder: Path, given: str | None) -> dict[str, object]:
    """The family of a diffusers folder, unless it was ``given``; a folder that is none is told of elsewhere."""
    if given is not None or not (folder / INDEX).is_file():
        return {}
    with _family_to_be_given(str(folder)):
        return {"family": family_of_pipeline(index_in(folder))}


@contextmanager
def _family_to_be_given(source: str) -> Iterator[None]:
    """Raise the block's :class:`ModelUnavailable`, which tells why a family is unknown, with the flag that gives it."""
    try:
        yield
    except DownloadFailed:
        raise
    except ModelUnavailable as error:
        message = f"{source} cannot be added: {error}; --family tells the family of a model that one of them can run"
        raise CatalogError(message) from error


def _link(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """The name of the file behind a URL, and its entry; the file lands in the folder ``models`` of the data folder."""
    from models.downloads.links import look_ahead, resolve  # their import takes longer than --help may

    link = resolve(options.source, options.sha256)
    stem = link.file_name[: -len(SAFETENSORS)]
    file_name = re.sub(r"[^\w.-]+", "_", options.name or stem) + SAFETENSORS
    kind = None if options.no_download else look_ahead(link.url)
    if kind is not None:
        _refuse_linked(kind, options.source, has_config=options.config is not None)
    entry: dict[str, object] = {"file": f"{LINKED_FOLDER}/{file_name}", "url": link.url}
    if kind is not None and kind.family is not None:
        entry["family"] = kind.family
    return stem, {**entry, **({} if link.sha256 is None else {"sha256": link.sha256}), **_config(options.config)}


def _repository(name: str, options: argparse.Namespace) -> dict[str, object]:
    """The entry of a repository at one commit, with its family; with ``--no-download`` and a revision, offline."""
    if options.revision and options.no_download:
        return {"repository": name, "revision": options.revision}
    from models.downloads.hub import index_of, look_up  # its import takes longer than --help may

    found = look_up(name, options.revision)
    licence = {"licence": found.licence} if found.licence else {}
    entry: dict[str, object] = {"repository": name, "revision": found.commit, **licence}
    if options.family is not None:
        return entry
    with _family_to_be_given(name):
        return {**entry, "family": family_of_pipeline(index_of(found))}
