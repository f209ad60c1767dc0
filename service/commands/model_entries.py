"""The catalog entry that ``photogram models add`` makes of its arguments, and its errors in the words of its flags."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.catalog.catalog import ModelSpec
from models.catalog.file_kinds import CHECKPOINT, DENOISER
from models.catalog.single_file import family_of
from models.catalog.weights import SAFETENSORS
from models.errors import CatalogError, ModelUnavailable
from service.backbone.catalog_edit import NameTaken
from service.commands.model_files import beside, checked_vae, kind_of_source, name_of_file

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
    for text in (chosen, *options.alias):
        require_printable(text)
    return chosen, _entry(options, source)


def require_printable(name: str) -> None:
    """Raise :class:`CatalogError` for a name that cannot be written in one line of a listing."""
    if not name.strip() or not name.isprintable():
        raise CatalogError(f"{name!r} is no name: --name gives one of letters, digits and signs in one line")


def with_family(entry: dict[str, object], spec: ModelSpec) -> dict[str, object]:
    """``entry`` with the family of the file that was downloaded, unless it was given.

    Raises:
        CatalogError: the file is no checkpoint that can be used.
    """
    if spec.url is None or spec.file is None or not spec.file.is_file():
        return entry
    kind = kind_of_source(str(spec.file))
    if kind is not None and kind.kind != CHECKPOINT:
        raise CatalogError(f"it is {kind}: add it with photogram models add {shlex.quote(str(spec.file))}")
    return {**_family_of(spec.file), **entry}


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
    if options.parts is not None and not is_denoiser:
        raise CatalogError(f"--parts is for files with a UNet or transformer alone, and {options.source} is none")
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
    if options.revision and (path.is_dir() or is_file):
        raise CatalogError(f"--revision is only for hub repositories, and {source} is not one")
    if path.is_dir():
        return {"folder": str(path.absolute())}
    if is_file:
        return _file(path, options.config)
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
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


def _link(options: argparse.Namespace) -> tuple[str, dict[str, object]]:
    """The name of the file behind a URL, and its entry; the file lands in the folder ``models`` of the data folder."""
    from models.downloads.links import resolve  # its import takes longer than --help may

    if options.revision:
        raise CatalogError(f"--revision is only for hub repositories, and {options.source} is not one")
    link = resolve(options.source, options.sha256)
    stem = link.file_name[: -len(SAFETENSORS)]
    file_name = re.sub(r"[^\w.-]+", "_", options.name or stem) + SAFETENSORS
    entry: dict[str, object] = {"file": f"{LINKED_FOLDER}/{file_name}", "url": link.url}
    return stem, {**entry, **({} if link.sha256 is None else {"sha256": link.sha256}), **_config(options.config)}


def _repository(name: str, options: argparse.Namespace) -> dict[str, object]:
    """The entry of a repository at one commit; with ``--no-download`` and a revision, the hub is not asked."""
    if options.revision and options.no_download:
        return {"repository": name, "revision": options.revision}
    from models.downloads.hub import look_up  # its import takes longer than --help may

    found = look_up(name, options.revision)
    licence = {"licence": found.licence} if found.licence else {}
    return {"repository": name, "revision": found.commit, **licence}
