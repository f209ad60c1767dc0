"""``photogram deploy``: export a model to an inference backend, prove the result, measure it, and let it be served."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from photogram_cli.near_misses import Parser
from photogram_runtime.errors import PackageError
from photogram_runtime.package import MANIFEST, Package, is_recipe, usability_problem

from models.catalog.catalog import Catalog
from models.catalog.names import printable
from models.deploy.backends import BACKENDS, REFUSED
from models.deploy.names import find_model
from models.deploy.profiling_keys import BUILT_IN
from models.deploy.store import SHEET, PackageStore
from models.errors import PhotogramError
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.setting_values import whole
from service.backbone.settings import Settings, SettingsError
from service.commands.deploy_figures import check_lines, figure_lines, show_lines, summary_line
from service.commands.deploy_making import (
    RECIPE_ONLY,
    add_options,
    complain,
    load_packaged,
    make,
    message_of,
    teller,
)
from service.commands.deploy_transfer import pull_package, push_package
from service.commands.flag_values import checked, place


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    options = _parser().parse_args(_with_command(given))
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        return run(options, configure(flags={"data": options.data}).settings)
    except (PhotogramError, PackageError, SettingsError) as error:
        complain(message_of(error))
    except OSError as error:
        place = "" if error.filename is None else f" ({error.filename})"
        complain(f"{error.strerror or error}{place}")
    return 1


def _with_command(given: list[str]) -> list[str]:
    """``given`` with ``make`` before the model of ``photogram deploy [--data FOLDER] MODEL ...``."""
    at = 2 if given[:1] == ["--data"] else 1 if given and given[0].startswith("--data=") else 0
    is_model = at < len(given) and not given[at].startswith("-") and given[at] not in _COMMANDS
    return [*given[:at], "make", *given[at:]] if is_model else given


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="photogram deploy",
        description="Export a model to an inference backend, prove it against torch, and let workers serve it. "
        "`photogram deploy MODEL` is short for `photogram deploy make MODEL`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    making = commands.add_parser("make", help="export a model, check it, and publish the package")
    _add_model(making)
    add_options(making)
    making.set_defaults(run=make)
    commands.add_parser("list", help="list all packages").set_defaults(run=list_packages)
    for name, run, text in (
        ("show", show, "what is in a package, and what its checks found"),
        ("test", test, "check a package again on this machine"),
        ("rm", remove, "remove a package"),
    ):
        command = commands.add_parser(name, help=text)
        _add_target(command)
        command.set_defaults(run=run)
    using = commands.add_parser("use", help="choose the package that workers use, instead of the fastest")
    _add_model(using)
    using.add_argument(
        "target", metavar="TARGET", help=f"BACKEND-PRECISION, {BUILT_IN!r} for none, or {_AUTO!r} for the fastest"
    )
    using.set_defaults(run=use)
    profiling = commands.add_parser("profile", help="measure a package beside torch and what is built in")
    _add_target(profiling)
    profiling.add_argument(
        "--rounds", type=checked(whole(1, _ROUNDS_MAX)), default=10, metavar="N", help="(default: 10)"
    )
    profiling.add_argument("--steps", type=int, metavar="N", help="of each image (default: the model's)")
    profiling.set_defaults(run=measure)
    comparing = commands.add_parser("compare", help="the packages of a model side by side")
    _add_model(comparing)
    comparing.add_argument(
        "--sheets", type=Path, metavar="FOLDER", help="copy each package's sheet of images beside torch's to here"
    )
    comparing.set_defaults(run=compare)
    commands.add_parser("check-env", help="which backends can be used on this machine").set_defaults(run=check_env)
    for name, run, text in (("push", push, "copy a package to"), ("pull", pull, "copy a package from")):
        command = commands.add_parser(name, help=f"{text} a folder or an S3 bucket, for other servers")
        _add_target(command)
        command.add_argument("place", type=place, metavar="PLACE", help="a folder, or s3://bucket/prefix")
        command.set_defaults(run=run)
    add_data_option(parser)
    return parser


_COMMANDS = ("make", "list", "show", "test", "rm", "use", "profile", "compare", "check-env", "push", "pull")
_AUTO = "auto"
_ROUNDS_MAX = 10_000


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name in the catalog")


def _add_target(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("target", metavar="TARGET", help="BACKEND-PRECISION, such as openvino-int8")


def _store(settings: Settings) -> PackageStore:
    return PackageStore(settings.packages_folder)


def list_packages(options: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each package."""
    store, found = _store(settings), False
    for model in store.models():
        for target, manifest in store.manifests(model):
            found = True
            chosen = "  chosen" if store.pinned(model) == target else ""
            print(printable(f"{summary_line(model, target, manifest)}{chosen}"))
    if not found:
        print("no model is deployed; photogram deploy MODEL makes a package")
    return 0


def show(options: argparse.Namespace, settings: Settings) -> int:
    """Verify a package and print what is in it; 2 if it may not be used, 3 if it is a recipe only."""
    package = _package(options, settings)
    print("\n".join(map(printable, show_lines(package.manifest))))
    if is_recipe(package.manifest):
        return RECIPE_ONLY
    problem = usability_problem(package.manifest)
    if problem is not None:
        print(f"not usable here: {problem}")
    return 0 if problem is None and (package.has_passed or package.is_forced) else 2


def _package(options: argparse.Namespace, settings: Settings) -> Package:
    """The package that ``options`` name, verified."""
    store = _store(settings)
    if not (store.place(options.model, options.target) / MANIFEST).is_file():
        known = ", ".join(store.targets(options.model)) or "none"
        raise PhotogramError(f"there is no package {options.target} of {options.model}; its packages: {known}")
    return store.read(options.model, options.target)


def test(options: argparse.Namespace, settings: Settings) -> int:
    """Record again, and compare the package as it is; 2 if it does not pass."""
    package = _drawing(_package(options, settings))
    catalog = Catalog.load(settings.catalog_path)
    checkpoint = load_packaged(package, catalog, settings)
    from models.deploy.deploying import check

    document = check(checkpoint, catalog, package, teller(False))
    print("\n".join(check_lines(document)))
    return 0 if document["passed"] else 2


def _drawing(package: Package) -> Package:
    """``package``, if it is of a model that draws, and can be run here."""
    if package.kind != "drawing":
        raise PhotogramError(f"packages for {package.kind} are checked and measured only when they are made")
    if is_recipe(package.manifest):
        raise PhotogramError(f"a package for {package.backend} is a recipe only: nothing here can run it")
    return package


def measure(options: argparse.Namespace, settings: Settings) -> int:
    """Measure a package beside torch and what is built in."""
    package = _drawing(_package(options, settings))
    catalog = Catalog.load(settings.catalog_path)
    checkpoint = load_packaged(package, catalog, settings)
    from models.deploy.deploying import measure as measured

    figures = measured(checkpoint, catalog, package, options.rounds, options.steps, teller(False))
    print("\n".join(figure_lines(figures)))
    return 0


def compare(options: argparse.Namespace, settings: Settings) -> int:
    """Print the figures of all packages of a model."""
    store = _store(settings)
    if not store.targets(options.model):
        raise PhotogramError(f"{options.model} has no packages; photogram deploy {options.model} makes one")
    for target, manifest in store.manifests(options.model):
        print(printable(summary_line(options.model, target, manifest)))
        sheet = store.place(options.model, target) / SHEET
        if options.sheets is not None and sheet.is_file():
            options.sheets.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sheet, options.sheets / f"{target}.png")
    return 0


def remove(options: argparse.Namespace, settings: Settings) -> int:
    """Remove a package."""
    if not _store(settings).remove(options.model, options.target):
        _package(options, settings)  # says which there are
    print(f"removed {options.target} of {options.model}; workers stop using it with the next job")
    return 0


def use(options: argparse.Namespace, settings: Settings) -> int:
    """Choose what workers use of a model."""
    store, model, target = _store(settings), options.model, options.target
    catalog = Catalog.load(settings.catalog_path)
    if not store.targets(model):
        model = find_model(model, catalog).name
    if target not in (_AUTO, BUILT_IN):
        package = _package(options, settings)
        problem = usability_problem(package.manifest)
        if not package.has_passed and not package.is_forced:
            problem = "it did not pass its checks; make it with --force if it is to be served all the same"
        if problem is not None:
            raise PhotogramError(f"{target} cannot be used: {problem}")
    store.pin(model, None if target == _AUTO else target)
    chosen = {_AUTO: "the fastest package that passed", BUILT_IN: "no package"}.get(target, target)
    print(f"workers use {chosen} from the next job of {model} on")
    return 0


def check_env(options: argparse.Namespace, settings: Settings) -> int:
    """Print which backends can be used here."""
    for name, backend in BACKENDS.items():
        for precision in backend.precisions:
            state = "ready" if backend.recipe_only is None else "recipe only"
            print(f"{name:12} {precision:5} {backend.obstacle(precision) or state}")
        for precision, reason in backend.refused.items():
            print(f"{'':12} not {precision}: {reason}")
    for name, reason in REFUSED.items():
        print(f"{name:12} refused: {reason}")
    return 0


def push(options: argparse.Namespace, settings: Settings) -> int:
    """Copy a package to a folder or a bucket."""
    _package(options, settings)
    print(f"pushed to {push_package(_store(settings), options.model, options.target, options.place, settings)}")
    return 0


def pull(options: argparse.Namespace, settings: Settings) -> int:
    """Copy a package from a folder or a bucket, and verify it before it is published."""
    pulled = pull_package(_store(settings), options.model, options.target, options.place, settings)
    print(f"pulled to {pulled}")
    return 0
