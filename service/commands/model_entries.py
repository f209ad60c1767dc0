"""The catalog entry that ``photogram models add`` makes of its arguments, and its errors in the words of its flags."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.catalog.single_file import family_of
from models.errors import CatalogError, ModelUnavailable
from service.commands.model_files import beside, checked_vae, name_of_file

_FLAGS = {
    "defaults.num_inference_steps": "--steps",
    "defaults.guidance_scale": "--guidance",
    "defaults.sampler": "--sampler",
    "defaults.width": "--size",
    "defaults.height": "--size",
    "prediction": "--prediction",
}
"""The flag that gives each key of an entry whose value can be wrong."""


def name_of(options: argparse.Namespace) -> str:
    """The model's name: as given, or the last part of the source."""
    path = Path(options.source).expanduser()
    own = name_of_file(path) if path.is_file() else path.resolve().name.removesuffix(".safetensors")
    return str(options.name or own)


def entry_of(options: argparse.Namespace) -> dict[str, object]:
    """The entry, without what the arguments leave open.

    Raises:
        CatalogError: the source is no model, or the hub does not answer.
    """
    entry = {**_source(options), **_chosen(options, "family", "prediction", "dtype", "licence")}
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
    """Raise the block's :class:`CatalogError` of a wrong value with the name of the flag that gave the value."""
    try:
        yield
    except CatalogError as error:
        if error.key not in _FLAGS:
            raise
        raise CatalogError(f"{_FLAGS[error.key]} {error.reason}") from error


def _chosen(options: argparse.Namespace, *names: str) -> dict[str, object]:
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}


def _source(options: argparse.Namespace) -> dict[str, object]:
    path = Path(options.source).expanduser()
    if options.revision and (path.is_dir() or path.suffix == ".safetensors"):
        raise CatalogError(f"--revision is only for hub repositories, and {options.source} is not one")
    if path.is_dir():
        return {"folder": str(path.absolute())}
    if path.suffix == ".safetensors":
        return _file(path, options.config)
    if options.source.count("/") != 1 or options.source.startswith((".", "/", "~")):
        raise CatalogError(f"{options.source} is not a folder, a .safetensors file or a hub repository (owner/name)")
    return {"repository": options.source, "revision": options.revision or _newest_commit(options.source)}


def _file(path: Path, config: str | None) -> dict[str, object]:
    """The entry of a single file, with the family detected from its weights, and what A1111's files beside it say."""
    entry: dict[str, object] = {"file": str(path.absolute())}
    if config is not None:
        entry["config"] = str(Path(config).expanduser().absolute())
    try:
        family = family_of(path) if path.is_file() else None
    except ModelUnavailable as error:
        raise CatalogError(str(error)) from error
    if family is not None:
        entry["family"] = family
    further = beside(path)
    if config is not None:
        further.pop("prediction", None)
    return {**entry, **further}


def _newest_commit(repository: str) -> str:
    from huggingface_hub import HfApi  # its import takes longer than --help may

    try:
        commit = HfApi().model_info(repository).sha
    except Exception as error:  # the hub's client also raises the errors of its transport
        raise CatalogError(
            f"the newest commit of {repository} cannot be looked up; give --revision ({error})"
        ) from error
    if commit is None:
        raise CatalogError(f"the hub has no commit of {repository}; give --revision")
    return commit
