"""``photogram models``: show, edit and check the catalog in the data folder, and download its models."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TextIO

from photogram_cli.near_misses import Parser
from photogram_cli.texts import FileName

from models.catalog.catalog import DTYPES, OFFLOADS, PREDICTIONS, WEIGHTS, Catalog, ModelSpec
from models.catalog.families import ATTENTIONS, FAMILIES
from models.catalog.file_kinds import CHECKPOINT, DENOISER, FileKind
from models.catalog.libraries import missing_package
from models.catalog.names import printable, unknown_name
from models.errors import CatalogError, DownloadFailed, StorageUnavailable, with_detail
from service.backbone.catalog_edit import TABLES, add_entry, planned_model, put_entries, remove_entry
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.running import running_server
from service.backbone.settings import Settings, SettingsError
from service.commands.model_downloads import download_shown
from service.commands.model_entries import in_flags, named_entry, removed_if_refused, with_family
from service.commands.model_files import add_auxiliary, kind_of_source, usage, weights_problem
from service.commands.model_flags import refuse_unfit_flags
from service.commands.model_list import model_lines
from service.commands.model_scan import Scan
from service.commands.model_vision import add_vision, is_vision, pull_vision


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        return run(options, configure(flags={"data": options.data}).settings)
    except (CatalogError, DownloadFailed, SettingsError, StorageUnavailable) as error:
        _print(f"photogram models: {with_detail(error)}".splitlines(), sys.stderr)
    except OSError as error:
        place = "" if error.filename is None else f" ({error.filename})"
        _print([f"photogram models: {error.strerror or error}{place}"], sys.stderr)
    return 1


def _print(lines: Iterable[str], file: TextIO | None = None) -> None:
    """Print each line, by default to standard output; names of files may have any bytes."""
    for line in lines:
        print(printable(line), file=file)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="photogram models", description="Show and edit the catalog of models of the server on this machine."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list all models, and why one is unusable").set_defaults(run=list_models)
    _add_arguments(commands.add_parser("add", help="add a model to the catalog"))
    scan_parser = commands.add_parser("scan", help="add a folder of models of A1111 or ComfyUI, without copying it")
    scan_parser.add_argument("folder", type=FileName, help="the folder of A1111 or ComfyUI, or any folder of models")
    scan_parser.add_argument("--dry-run", action="store_true", help="say what would be added, and change nothing")
    scan_parser.set_defaults(run=scan)
    for name, run, text in (
        ("pull", pull, "download the files of a model of the catalog"),
        ("remove", remove, "remove a model from the catalog"),
        ("check", check, "load a model and generate an image"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(run=run)
        if run is remove:
            command.add_argument("--table", choices=TABLES, help="which entry, if several have the name")
    verify_parser = commands.add_parser("verify", help="compare the engine's images and speed with plain diffusers")
    verify_parser.add_argument("name")
    verify_parser.add_argument("--steps", type=int, help="the steps of each image (default: the model's)")
    verify_parser.set_defaults(run=verify)
    add_data_option(parser)
    return parser


def _add_arguments(add_parser: argparse.ArgumentParser) -> None:
    add_parser.add_argument(
        "source",
        type=lambda text: text if "://" in text else FileName(text),
        help="a file of weights, a diffusers folder, a hub repository (owner/name), a URL (Civitai, or a file), or a "
        "vision model of timm (timm/NAME, or a folder in timm's layout)",
    )
    add_parser.add_argument("--name", help="the model's name in requests (default: the last part of the source)")
    add_parser.add_argument("--revision", help="the repository's commit (default: the newest, which is then pinned)")
    add_parser.add_argument("--sha256", help="the checksum of a URL's file")
    add_parser.add_argument(
        "--no-download", action="store_true", help="leave the download to pull, or to the first job"
    )
    add_parser.add_argument(
        "--family",
        choices=tuple(FAMILIES),
        help="the architecture (default: told by the file, or by the model_index.json of a folder or repository)",
    )
    add_parser.add_argument(
        "--config", type=FileName, help="a diffusers folder with the file's configuration and tokenizers"
    )
    add_parser.add_argument(
        "--prediction", choices=PREDICTIONS[1:], help="what the UNet of a file predicts (default: told by the file)"
    )
    add_parser.add_argument("--architecture", metavar="NAME", help="for a vision model in a file: its name in timm")
    add_parser.add_argument(
        "--labels", type=FileName, help="for a vision model: a text file with the label of each class, one a line"
    )
    add_parser.add_argument("--classes", type=int, help="for a vision model in a file: how many classes it has")
    add_parser.add_argument(
        "--vae", type=FileName, help="a .safetensors file with the VAE to use instead of the model's own"
    )
    add_parser.add_argument(
        "--parts", metavar="SOURCE", type=FileName,
        help="for a UNet or transformer alone: the model with its text encoders and VAE (folder, repository or file)",
    )  # fmt: skip
    add_parser.add_argument("--to", metavar="MODEL", help="the checkpoint of the catalog that a VAE is for")
    add_parser.add_argument("--dtype", choices=DTYPES)
    add_parser.add_argument("--offload", choices=OFFLOADS[1:], help="what is on the GPU only while it is used")
    add_parser.add_argument("--weights", choices=WEIGHTS[1:], help="store the denoiser's weights in fewer bits")
    add_parser.add_argument("--attention", choices=ATTENTIONS[1:], help="how the denoiser's attention is computed")
    add_parser.add_argument("--licence", help="the licence of the weights")
    add_parser.add_argument("--alias", action="append", default=[], help="another name; may be repeated")
    add_parser.add_argument("--steps", type=int, help="default steps")
    add_parser.add_argument("--guidance", type=float, help="default guidance scale; 1 disables guidance")
    add_parser.add_argument("--sampler", help="default sampler")
    add_parser.add_argument("--size", type=int, help="default width and height in pixels")
    add_parser.add_argument("--overwrite", action="store_true", help="replace the entry of the same name")
    add_parser.add_argument("--default", action="store_true", help="use it for requests without a model")
    add_parser.set_defaults(run=add)


def list_models(options: argparse.Namespace, settings: Settings) -> int:
    """Print the catalog, one paragraph for each model, as the server sees it if it runs."""
    _print(model_lines(settings))
    return 0


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Add a model to the catalog file; download it before, unless it is here or ``--no-download`` is given."""
    _print(_added(options, settings.catalog_path))
    _tell_who_sees_it(settings)
    return 0


def _added(options: argparse.Namespace, catalog_path: Path) -> Iterator[str]:
    """Add what the source is; the lines say what that is, and how to use it."""
    sees = is_vision(options)
    kind = None if sees else kind_of_source(options.source)
    refuse_unfit_flags(options, kind, is_vision=sees)
    if sees:
        return add_vision(options, catalog_path)
    if kind is None or kind.kind in (CHECKPOINT, DENOISER):
        return _add_checkpoint(options, catalog_path, kind)
    return add_auxiliary(options, catalog_path, kind)


def _add_checkpoint(options: argparse.Namespace, catalog_path: Path, kind: FileKind | None) -> Iterator[str]:
    """Add a checkpoint, or a denoiser with the other parts of another one; ``kind`` is that of a single file."""
    name, entry = named_entry(options)
    with in_flags():
        spec = planned_model(catalog_path, name, entry, overwrite=options.overwrite)
        _refuse(options.source, missing_package(spec) or spec.problem())
        with removed_if_refused(spec):
            if not options.no_download:
                download_shown(spec)
            entry = with_family(entry, spec)
            if not options.no_download:
                spec = planned_model(catalog_path, name, entry, overwrite=options.overwrite)
                _refuse(options.source, weights_problem(spec))
        add_entry(catalog_path, name, entry, is_default=options.default, overwrite=options.overwrite)
    yield f"{name} is in the catalog" + ("" if kind is None else f": {kind}")
    yield usage(CHECKPOINT, name)


def _refuse(source: str, problem: str | None) -> None:
    if problem is not None:
        raise CatalogError(f"{source} cannot be added: {problem}")


def scan(options: argparse.Namespace, settings: Settings) -> int:
    """Add a folder of models to the catalog file, as it is."""
    found = Scan(Catalog.load(settings.catalog_path))
    _print(found.lines(Path(options.folder).expanduser().absolute()))
    if found.entries and not options.dry_run:
        put_entries(settings.catalog_path, found.entries)
        _tell_who_sees_it(settings)
    return 0


def pull(options: argparse.Namespace, settings: Settings) -> int:
    """Download the files of a model that is in the catalog, or else of a vision model."""
    catalog = Catalog.load(settings.catalog_path)
    seeing = catalog.vision.resolve(options.name)
    if seeing is not None and catalog.resolve(options.name) is None:
        pull_vision(seeing)
    else:
        _pull_checkpoint(_known(options.name, settings))
    print(f"{options.name} is on this machine")
    return 0


def _pull_checkpoint(spec: ModelSpec) -> None:
    from models.downloads.download import is_remote  # the hub's client: longer than --help may take

    if not is_remote(spec):
        raise CatalogError(f"{spec.name} is a folder or a file of this machine and is not downloaded")
    download_shown(spec)
    problem = weights_problem(spec)
    if problem is not None:
        raise CatalogError(f"{spec.name} is on this machine, and cannot be used: {problem}")


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Remove a model from the catalog file; its weights are not deleted."""
    table = remove_entry(settings.catalog_path, options.name, options.table)
    print(f"{options.name} left the catalog ({table})")
    _tell_who_sees_it(settings)
    return 0


def _tell_who_sees_it(settings: Settings) -> None:
    """Print which server reads the changed file: gateway and workers read it again when it changes."""
    server = running_server(settings.data)
    if server is None:
        print(f"no photogram up runs with this folder; changed {settings.catalog_path}")
    else:
        print(f"the server at {server.url} sees it at once; changed {settings.catalog_path}")


def check(options: argparse.Namespace, settings: Settings) -> int:
    """Load the model in a separate process and generate a small image."""
    return _run_apart("models.diffusion.check", options.name, settings)


def verify(options: argparse.Namespace, settings: Settings) -> int:
    """Draw with plain diffusers and with the engine in a separate process, and compare images and speed."""
    steps = [] if options.steps is None else ["--steps", str(options.steps)]
    return _run_apart("models.diffusion.verify", options.name, settings, *steps)


def _run_apart(module: str, name: str, settings: Settings, *more: str) -> int:
    """Run ``module`` with a model of the catalog in a process of its own, and return its exit code."""
    _known(name, settings)
    command = [sys.executable, "-m", module, str(settings.catalog_path), name, *more]
    return subprocess.run(command, check=False).returncode


def _known(name: str, settings: Settings) -> ModelSpec:
    catalog = Catalog.load(settings.catalog_path)
    spec = catalog.resolve(name)
    if spec is None:
        raise CatalogError(unknown_name("model", name, catalog).message)
    return spec


if __name__ == "__main__":
    sys.exit(main())
