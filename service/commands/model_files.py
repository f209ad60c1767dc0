"""Files of weights that ``photogram models`` adds: their names, their entries, and how requests use them."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from models.catalog.auxiliary import AuxiliaryModels
from models.catalog.catalog import HOUSE, Catalog, ModelSpec
from models.catalog.file_kinds import CHECKPOINT, CONTROLNET, EMBEDDING, LORA, TABLES, UPSCALER, VAE, FileKind, kind_of
from models.catalog.names import unknown_name
from models.errors import CatalogError
from service.backbone.catalog_edit import change_entry, put_entries

_USES = {
    CHECKPOINT: 'use it: photogram generate "a cat" --model {quoted}',
    LORA: "use it in a prompt: <lora:{name}:1>",
    EMBEDDING: "use it by its name in a prompt: {name}",
    CONTROLNET: 'use it in a request: "controls": [{{"model": "{name}", "image": ...}}]',
    UPSCALER: 'use it in a request of the kind upscale: "upscaler": "{name}"',
}
_LORA_FIELD = 'use it in a request: "loras": [{{"name": "{name}"}}]'
_TAG_ENDS = ":<>"
"""A name with one of these cannot be written in a ``<lora:...>`` tag."""
_GENERIC = ("diffusion_pytorch_model", "pytorch_lora_weights", "learned_embeds", "model")
"""Names that libraries give to every file; the folder tells what such a file is."""
_LDM = "ldm."
"""The module of the pipelines in the configurations of Stable Diffusion 1.x and 2.x."""


def kind_of_source(source: str) -> FileKind | None:
    """What the file ``source`` is; ``None`` if there is no such file, as for folders and repositories.

    Raises:
        CatalogError: the file cannot be used.
    """
    file = Path(source).expanduser()
    if not file.is_file():
        return None
    kind = kind_of(file)
    if kind.problem is not None:
        raise CatalogError(f"{file} cannot be added: {kind.problem}")
    return kind


def name_of_file(file: Path) -> str:
    """The name of the model in ``file``: that of the file, or of its folder if the file is called as all others."""
    stem = file.name.removesuffix(file.suffix)
    plain = stem.removesuffix(".fp16")
    return file.absolute().parent.name or stem if plain in _GENERIC else stem


def usage(kind: str, name: str) -> str:
    """How requests use the model."""
    text = _LORA_FIELD if kind == LORA and any(each in name for each in _TAG_ENDS) else _USES[kind]
    return text.format(name=name, quoted=shlex.quote(name))


def checked_vae(file: Path) -> str:
    """The absolute path of a file that is a VAE.

    Raises:
        CatalogError: it is something else.
    """
    kind = kind_of(file)
    if kind.kind != VAE or kind.problem is not None:
        raise CatalogError(f"{file} is no VAE: {kind.problem or f'it is {kind}'}")
    return str(file.absolute())


def beside(file: Path) -> dict[str, str]:
    """The keys that A1111's files beside the checkpoint ``file`` stand for: ``MODEL.vae.safetensors``, ``MODEL.yaml``.

    Raises:
        CatalogError: one of them cannot be read.
    """
    keys = {}
    vae, config = file.with_suffix(".vae.safetensors"), file.with_suffix(".yaml")
    if vae.is_file():
        keys["vae"] = checked_vae(vae)
    prediction = _prediction_in(read_yaml(config)) if config.is_file() else None
    return keys if prediction is None else {**keys, "prediction": prediction}


def read_yaml(file: Path) -> Any:
    """The contents of a YAML file, of plain types alone.

    Raises:
        CatalogError: the file cannot be read.
    """
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:
        raise CatalogError(f"{file} cannot be read: it is no YAML") from error


def _prediction_in(config: Any) -> str | None:
    """What the UNet predicts by a configuration of the original code; ``None`` if it is of another code."""
    model = config.get("model") if isinstance(config, dict) else None
    if not isinstance(model, dict) or not str(model.get("target")).startswith(_LDM):
        return None
    params = model.get("params")
    said = params.get("parameterization") if isinstance(params, dict) else None
    return "v_prediction" if said == "v" else "epsilon"


def auxiliary_entry(file: Path, kind: FileKind) -> dict[str, object]:
    """The entry of an auxiliary model; a ControlNet beside its ``config.json`` is a folder.

    A LoRA's family is not written: the catalog reads it from the file.
    """
    is_folder = kind.kind == CONTROLNET and (file.parent / "config.json").is_file()
    entry: dict[str, object] = {"folder" if is_folder else "file": str(file.parent if is_folder else file)}
    return entry if kind.family is None or kind.kind == LORA else {**entry, "family": kind.family}


def require_printable(options: argparse.Namespace, name: str) -> None:
    """Raise :class:`CatalogError` if the name, an alias or the licence cannot be written in one line of a listing."""
    if not options.source.strip():
        raise CatalogError("the source is empty: give a file, a folder, a repository or a URL")
    licence = [] if options.licence is None else [options.licence]
    given = {"--name": [name], "--alias": options.alias, "--licence": licence}
    for flag, text in ((flag, text) for flag, texts in given.items() for text in texts):
        if not text.strip() or not text.isprintable():
            raise CatalogError(f"{text!r} cannot be used: {flag} gives letters, digits and signs in one line")


def add_auxiliary(options: argparse.Namespace, catalog_path: Path, kind: FileKind) -> Iterator[str]:
    """Add a file that is no checkpoint to the catalog; the lines say what it is and how to use it.

    Raises:
        CatalogError: the name is taken, or a VAE lacks its checkpoint or does not fit it.
    """
    file = Path(options.source).expanduser().absolute()
    if kind.kind == VAE:
        yield _give_vae(options.to, file, catalog_path)
        return
    table, name = TABLES[kind.kind], options.name or name_of_file(file)
    require_printable(options, name)
    _refuse_taken(getattr(Catalog.load(catalog_path), table), name, file, kind, options.overwrite)
    given = {"family": options.family, "aliases": options.alias, "licence": options.licence}
    entry = {**auxiliary_entry(file, kind), **{key: value for key, value in given.items() if value}}
    put_entries(catalog_path, {(table, name): entry})
    yield f"{name} is in the catalog: {kind}"
    yield usage(kind.kind, name)


def _refuse_taken(held: AuxiliaryModels, name: str, file: Path, kind: FileKind, overwrite: bool) -> None:
    found = held.get(name)
    if found is None or overwrite:
        return
    raise CatalogError(
        f"there is a model {name!r} of this kind already, {found.path}: --overwrite puts {file} ({kind}) in its place, "
        "--name gives another name"
    )


def _give_vae(model: str | None, file: Path, catalog_path: Path) -> str:
    if model is None:
        command = f"photogram models add {shlex.quote(str(file))} --to MODEL"
        raise CatalogError(f"{file} is a VAE, which belongs to a checkpoint of the catalog: {command}")
    catalog = Catalog.load(catalog_path)
    spec = catalog.resolve(model)
    if spec is None:
        raise CatalogError(f"--to: {unknown_name('model', model, catalog).message}")
    if spec.name == HOUSE:
        raise CatalogError(f"--to: the model {HOUSE!r} is built in, and keeps its own VAE")
    problem = weights_problem(replace(spec, vae=file))
    if problem is not None:
        raise CatalogError(f"{file} cannot be given to {spec.name}: {problem}")
    change_entry(catalog_path, spec.name, "vae", str(file))
    return f"{spec.name} uses this VAE now"


def weights_problem(spec: ModelSpec) -> str | None:
    """What is wrong with the weights of a model on this machine, told by their headers; ``None`` if they may be whole.

    Of what is not downloaded, nothing is said.
    """
    from models.downloads.whole_folders import folder_problem

    problem = folder_problem(spec)
    if problem is not None:
        return problem
    from models.diffusion.quiet import silence_libraries  # torch: seconds, which only what may be whole is worth

    silence_libraries()
    from models.diffusion.fitting import fitting_problem

    return fitting_problem(spec)
