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
from models.errors import CatalogError, ModelUnavailable
from service.backbone.catalog_edit import add_entry, remove_entry
from service.backbone.connections import connect
from service.backbone.keyspace import MODEL_PROBLEMS_KEY
from service.backbone.settings import Settings, SettingsError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; gives the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        environment = os.environ | ({"PHOTOGRAM_DATA": options.data} if options.data else {})
        return run(options, Settings.from_environment(environment))
    except (CatalogError, SettingsError, OSError) as error:
        print(f"photogram models: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="photogram models", description="Show and edit the catalog of models.")
    parser.add_argument("--data", help="the data folder (PHOTOGRAM_DATA)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("list", help="all models, and why one cannot be used").set_defaults(run=list_models)
    _add_arguments(commands.add_parser("add", help="put a model into the catalog"))
    for name, run, text in (("remove", remove, "take a model out"), ("check", check, "load a model and draw with it")):
        command = commands.add_parser(name, help=text)
        command.add_argument("name")
        command.set_defaults(run=run)
    return parser


def _add_arguments(add_parser: argparse.ArgumentParser) -> None:
    add_parser.add_argument("source", help="a diffusers folder, a .safetensors file, or a hub repository (owner/name)")
    add_parser.add_argument("--name", help="what requests call it; by default the last part of the source")
    add_parser.add_argument(
        "--revision", help="the repository's commit; by default its newest one, looked up and pinned"
    )
    add_parser.add_argument(
        "--family", choices=tuple(FAMILIES), help=f"the architecture; a file tells it, else {STABLE_DIFFUSION}"
    )
    add_parser.add_argument("--config", help="a diffusers folder with the file's configuration and tokenizers")
    add_parser.add_argument("--dtype", choices=("auto", "float32", "float16", "bfloat16"))
    add_parser.add_argument("--licence", help="under which the weights come")
    add_parser.add_argument("--alias", action="append", default=[], help="another name; may be given several times")
    add_parser.add_argument("--steps", type=int, help="default steps")
    add_parser.add_argument("--guidance", type=float, help="default guidance scale; 1 draws without")
    add_parser.add_argument("--sampler", help="default sampler")
    add_parser.add_argument("--size", type=int, help="default width and height in pixels")
    add_parser.add_argument("--default", action="store_true", help="use it where a request names no model")
    add_parser.set_defaults(run=add)


def list_models(options: argparse.Namespace, settings: Settings) -> int:
    """Print the catalog, one model a paragraph."""
    catalog = Catalog.load(settings.catalog_path)
    noted = _noted_problems(settings)
    for name, spec in catalog.items():
        problem = spec.problem() or noted.get(name)
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


def _noted_problems(settings: Settings) -> dict[str, str]:
    """What workers noted when they last tried to load each model, where a Redis can be asked."""
    if settings.redis_url is None:
        return {}
    try:
        with connect(settings.redis_url, "photogram-models") as connection:
            found = connection.hgetall(MODEL_PROBLEMS_KEY)
            return {name.decode(): problem.decode() for name, problem in found.items()}
    except RedisError as error:
        print(f"photogram models: Redis was not asked: {error}", file=sys.stderr)
        return {}


def add(options: argparse.Namespace, settings: Settings) -> int:
    """Put one model into the catalog's file."""
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
        raise CatalogError(f"--revision is for hub repositories, and {options.source} is none")
    if path.is_dir():
        return {"folder": str(path.absolute())}
    if path.suffix == ".safetensors":
        return _file(path, options.config)
    if options.source.count("/") != 1 or options.source.startswith((".", "/", "~")):
        raise CatalogError(f"{options.source} is no folder, no .safetensors file and no hub repository (owner/name)")
    return {"repository": options.source, "revision": options.revision or _newest_commit(options.source)}


def _file(path: Path, config: str | None) -> dict[str, object]:
    """A single file, with the family that its weights' names tell."""
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
    except Exception as error:  # the hub's client lets its transport's own errors through
        raise CatalogError(f"the hub does not tell {repository}'s newest commit; give --revision ({error})") from error
    if commit is None:
        raise CatalogError(f"the hub names no commit of {repository}; give --revision")
    return commit


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Take one model out of the catalog's file; its weights stay where they are."""
    remove_entry(settings.catalog_path, options.name)
    print(f"{options.name} left the catalog")
    return 0


def check(options: argparse.Namespace, settings: Settings) -> int:
    """Load the model in a process of its own and draw one small image with it."""
    command = [sys.executable, "-m", "models.diffusion.check", str(settings.catalog_path), options.name]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
