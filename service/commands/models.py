"""``photogram models``: show and edit the catalog in the data folder."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import HfApi
from redis.exceptions import RedisError

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.families import FAMILIES, STABLE_DIFFUSION
from models.catalog.single_file import family_of
from models.errors import CatalogError, ModelUnavailable, StorageUnavailable
from service.backbone.catalog_edit import add_entry, remove_entry
from service.backbone.connections import connect
from service.backbone.keyspace import MODEL_PROBLEMS_KEY
from service.backbone.settings import Settings, SettingsError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        environment = os.environ | ({"PHOTOGRAM_DATA": options.data} if options.data else {})
        return run(options, Settings.from_environment(environment))
    except (CatalogError, SettingsError, StorageUnavailable, OSError) as error:
        print(f"photogram models: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="photogram models", description="Show and edit the catalog of models.")
    parser.add_argument("--data", help="the data folder (default: PHOTOGRAM_DATA)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="list all models, and why one is unusable").set_defaults(run=list_models)
    _add_arguments(commands.add_parser("add", help="add a model to the catalog"))
    for name, run, text in (
        ("remove", remove, "remove a model from the catalog"),
        ("check", check, "load a model and generate an image"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(run=run)
    return parser


def _add_arguments(add_parser: argparse.ArgumentParser) -> None:
    add_parser.add_argument("source", help="a diffusers folder, a .safetensors file, or a hub repository (owner/name)")
    add_parser.add_argument("--name", help="the model's name in requests (default: the last part of the source)")
    add_parser.add_argument("--revision", help="the repository's commit (default: the newest, which is then pinned)")
    add_parser.add_argument(
        "--family",
        choices=tuple(FAMILIES),
        help=f"the architecture (default: detected for files, else {STABLE_DIFFUSION})",
    )
    add_parser.add_argument("--config", help="a diffusers folder with the file's configuration and tokenizers")
    add_parser.add_argument("--dtype", choices=("auto", "float32", "float16", "bfloat16"))
    add_parser.add_argument("--licence", help="the licence of the weights")
    add_parser.add_argument("--alias", action="append", default=[], help="another name; may be repeated")
    add_parser.add_argument("--steps", type=int, help="default steps")
    add_parser.add_argument("--guidance", type=float, help="default guidance scale; 1 disables guidance")
    add_parser.add_argument("--sampler", help="default sampler")
    add_parser.add_argument("--size", type=int, help="default width and height in pixels")
    add_parser.add_argument("--default", action="store_true", help="use it for requests without a model")
    add_parser.set_defaults(run=add)


def list_models(options: argparse.Namespace, settings: Settings) -> int:
    """Print the catalog, one paragraph for each model."""
    catalog = Catalog.load(settings.catalog_path)
    reported = _reported_problems(settings)
    for name, spec in catalog.items():
        problem = spec.problem() or reported.get(name)
        mark = " (default)" if name == catalog.default else ""
        aliases = f"\n    also called: {', '.join(spec.aliases)}" if spec.aliases else ""
        print(f"{name}{mark}: {'CANNOT BE USED: ' + problem if problem else 'ok'}")
        print(f"    {spec.family}, {spec.dtype}, licence {spec.licence or 'not given'}, from {spec.source}")
        print(f"    {_defaults(spec)}{aliases}")
    return 0


def _defaults(spec: ModelSpec) -> str:
    chosen = spec.defaults
    size = f"{chosen.width}x{chosen.height}"
    return f"{size}, {chosen.num_inference_steps} steps, {chosen.sampler}, guidance {chosen.guidance_scale:g}"


def _reported_problems(settings: Settings) -> dict[str, str]:
    """The problems that workers had when they last loaded each model, if Redis is available."""
    if settings.redis_url is None:
        return {}
    try:
        with connect(settings.redis_url, "photogram-models") as connection:
            found = connection.hgetall(MODEL_PROBLEMS_KEY)
            return {name.decode(): problem.decode() for name, problem in found.items()}
    except RedisError as error:
        print(f"photogram models: Redis is not reachable: {error}", file=sys.stderr)
        return {}


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Add a model to the catalog file."""
    name = options.name or Path(options.source).resolve().name.removesuffix(".safetensors")
    entry = {**_source(options), **_chosen(options, "family", "dtype", "licence")}
    if options.alias:
        entry["aliases"] = options.alias
    size = {"width": options.size, "height": options.size}
    defaults = {"num_inference_steps": options.steps, "guidance_scale": options.guidance,
                "sampler": options.sampler, **size}  # fmt: skip
    entry["defaults"] = {key: value for key, value in defaults.items() if value is not None}
    add_entry(settings.catalog_path, name, entry, is_default=options.default)
    problem = Catalog.load(settings.catalog_path)[name].problem()
    print(f"{name} is in the catalog" + (f", but {problem}" if problem else ""))
    return 0


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
    """The entry of a single file, with the family detected from the names of its weights."""
    entry: dict[str, object] = {"file": str(path.absolute())}
    if config is not None:
        entry["config"] = str(Path(config).expanduser().absolute())
    try:
        family = family_of(path) if path.is_file() else None
    except ModelUnavailable as error:
        raise CatalogError(str(error)) from error
    return entry if family is None else {**entry, "family": family}


def _newest_commit(repository: str) -> str:
    try:
        commit = HfApi().model_info(repository).sha
    except Exception as error:  # the hub's client also raises the errors of its transport
        raise CatalogError(
            f"the newest commit of {repository} cannot be looked up; give --revision ({error})"
        ) from error
    if commit is None:
        raise CatalogError(f"the hub has no commit of {repository}; give --revision")
    return commit


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Remove a model from the catalog file; its weights are not deleted."""
    remove_entry(settings.catalog_path, options.name)
    print(f"{options.name} left the catalog")
    return 0


def check(options: argparse.Namespace, settings: Settings) -> int:
    """Load the model in a separate process and generate a small image."""
    command = [sys.executable, "-m", "models.diffusion.check", str(settings.catalog_path), options.name]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
