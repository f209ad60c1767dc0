"""``photogram deploy``: export a model to an inference backend, prove the result, measure it, and let it be served."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photogram_cli.near_misses import Parser
from photogram_runtime.errors import PackageError
from photogram_runtime.package import MANIFEST, Package, read_package, usability_problem

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.names import printable, unknown_name
from models.deploy.backends import BACKENDS, PRECISIONS, check_target
from models.deploy.store import SHEET, PackageStore
from models.errors import PhotogramError, with_detail
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.settings import Settings, SettingsError
from service.commands.deploy_figures import check_lines, figure_lines, show_lines, summary_line
from service.commands.deploy_transfer import pull_package, push_package

if TYPE_CHECKING:
    import torch

    from models.deploy.packaging import Progress, Target, Tell
    from models.diffusion.checkpoint import Checkpoint


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given and not given[0].startswith("-") and given[0] not in _COMMANDS:
        given = ["make", *given]  # `photogram deploy MODEL ...`
    options = _parser().parse_args(given)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        return run(options, configure(flags={"data": options.data}).settings)
    except (PhotogramError, PackageError, SettingsError) as error:
        text = with_detail(error) if isinstance(error, PhotogramError) else str(error)
        print(f"photogram deploy: {printable(text)}", file=sys.stderr)
    except OSError as error:
        place = "" if error.filename is None else f" ({error.filename})"
        print(f"photogram deploy: {printable(f'{error.strerror or error}{place}')}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="photogram deploy",
        description="Export a model to an inference backend, prove it against torch, and let workers serve it. "
        "`photogram deploy MODEL` is short for `photogram deploy make MODEL`.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    making = commands.add_parser("make", help="export a model, check it, and publish the package")
    _add_model(making)
    making.add_argument("--backend", choices=tuple(BACKENDS), default="openvino", help="(default: openvino)")
    making.add_argument("--precision", choices=PRECISIONS, default="f32", help="(default: f32)")
    making.add_argument("--steps", type=int, metavar="N", help="of the images that are drawn (default: the model's)")
    making.add_argument("--parts", nargs="+", default=[], metavar="PART", help="only these parts (default: all)")
    making.add_argument("--force", action="store_true", help="let it be served even if it does not pass its checks")
    making.add_argument("--json", action="store_true", help="print each step and the result as a line of JSON")
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
    profiling = commands.add_parser("profile", help="measure a package beside torch and what is built in")
    _add_target(profiling)
    profiling.add_argument("--rounds", type=int, default=10, metavar="N", help="(default: 10)")
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
        command.add_argument("place", metavar="PLACE", help="a folder, or s3://bucket/prefix")
        command.set_defaults(run=run)
    add_data_option(parser)
    return parser


_COMMANDS = ("make", "list", "show", "test", "rm", "profile", "compare", "check-env", "push", "pull")


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="the model's name in the catalog")


def _add_target(parser: argparse.ArgumentParser) -> None:
    _add_model(parser)
    parser.add_argument("target", metavar="TARGET", help="BACKEND-PRECISION, such as openvino-int8")


def make(options: argparse.Namespace, settings: Settings) -> int:
    """Export, check and publish; 2 if the package did not pass its checks."""
    check_target(options.backend, options.precision)
    catalog = Catalog.load(settings.catalog_path)
    package = _deployed(options, settings, catalog)
    if options.json:
        print(json.dumps({"package": str(package.folder), **_without_calls(package.manifest)}), flush=True)
    else:
        print("\n".join(show_lines(package.manifest)))
        print(f"package: {package.folder}")
        print(_advice(package.manifest))
    return 0 if package.has_passed else 2


def _deployed(options: argparse.Namespace, settings: Settings, catalog: Catalog) -> Package:
    _cpu()
    from models.deploy.making import make_package

    return make_package(
        options.model, _target(options), catalog, _store(settings), settings.backend, settings.backends_folder,
        is_forced=options.force, tell=_teller(options.json),
    )  # fmt: skip


def _target(options: argparse.Namespace) -> Target:
    from models.deploy.packaging import Target

    return Target(options.backend, options.precision, options.steps, tuple(options.parts))


def _cpu() -> torch.device:
    """The CPU; torch is imported here, with its threads and its libraries quiet."""
    from models.diffusion.quiet import let_waiting_threads_sleep, silence_libraries

    let_waiting_threads_sleep()
    silence_libraries()
    import torch

    return torch.device("cpu")


def _advice(manifest: Mapping[str, Any]) -> str:
    if manifest["checks"]["passed"]:
        return "Workers use it from the model's next job on, once none is being drawn with it."
    if manifest["checks"]["forced"]:
        return "It did not pass its checks and is served all the same, because of --force."
    return "It did not pass its checks and is not served; --force would serve it."


def _teller(is_json: bool) -> Tell:
    began_at = time.monotonic()

    def tell(progress: Progress) -> None:
        seconds = time.monotonic() - began_at
        if is_json:
            event = {"stage": progress.stage, "done": progress.done, "total": progress.total, "part": progress.detail}
            print(json.dumps(event | {"seconds": round(seconds, 1)}), flush=True)
        else:
            detail = f" {progress.detail}" if progress.detail else ""
            print(f"{seconds:6.1f} s  {progress.stage} {progress.done}/{progress.total}{detail}", flush=True)

    return tell


def _without_calls(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name not in ("parts", "files")}


def _spec(catalog: Catalog, name: str) -> ModelSpec:
    found = catalog.resolve(name)
    if found is None:
        raise PhotogramError(unknown_name("model", name, catalog).message)
    return found


def _store(settings: Settings) -> PackageStore:
    return PackageStore(settings.packages_folder)


def _load(spec: ModelSpec, settings: Settings) -> Checkpoint:
    """The model in float32 on the CPU, with what the server uses without a package."""
    device = _cpu()
    from models.diffusion.checkpoint_loading import load_checkpoint

    return load_checkpoint(spec, device, backend=settings.backend, cache=settings.backends_folder)


def list_packages(options: argparse.Namespace, settings: Settings) -> int:
    """Print a line for each package."""
    store, found = _store(settings), False
    for model in store.models():
        for target, manifest in store.manifests(model):
            found = True
            print(printable(summary_line(model, target, manifest)))
    if not found:
        print("no model is deployed; photogram deploy MODEL makes a package")
    return 0


def show(options: argparse.Namespace, settings: Settings) -> int:
    """Verify a package and print what is in it; 2 if it may not be used."""
    package = read_package(_place(options, settings))
    print("\n".join(map(printable, show_lines(package.manifest))))
    problem = usability_problem(package.manifest)
    if problem is not None:
        print(f"not usable here: {problem}")
    return 0 if problem is None and (package.has_passed or package.is_forced) else 2


def _place(options: argparse.Namespace, settings: Settings) -> Path:
    place = _store(settings).place(options.model, options.target)
    if not (place / MANIFEST).is_file():
        known = ", ".join(_store(settings).targets(options.model)) or "none"
        raise PhotogramError(f"there is no package {options.target} of {options.model}; its packages: {known}")
    return place


def test(options: argparse.Namespace, settings: Settings) -> int:
    """Record again, and compare the package as it is; 2 if it does not pass."""
    package = _drawing(read_package(_place(options, settings)))
    catalog = Catalog.load(settings.catalog_path)
    checkpoint = _load(_spec(catalog, options.model), settings)
    from models.deploy.deploying import check

    document = check(checkpoint, catalog, package, _teller(False))
    print("\n".join(check_lines(document)))
    return 0 if document["passed"] else 2


def _drawing(package: Package) -> Package:
    """``package``, if it is of a model that draws."""
    if package.kind != "drawing":
        raise PhotogramError(f"a {package.kind} package is checked and measured only when it is made")
    return package


def measure(options: argparse.Namespace, settings: Settings) -> int:
    """Measure a package beside torch and what is built in."""
    package = _drawing(read_package(_place(options, settings)))
    catalog = Catalog.load(settings.catalog_path)
    checkpoint = _load(_spec(catalog, options.model), settings)
    from models.deploy.deploying import measured

    figures = measured(checkpoint, catalog, package, max(1, options.rounds), options.steps, _teller(False))
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
        _place(options, settings)  # says which there are
    print(f"removed {options.target} of {options.model}; workers stop using it with the next job")
    return 0


def check_env(options: argparse.Namespace, settings: Settings) -> int:
    """Print which backends can be used here."""
    for name, backend in BACKENDS.items():
        for precision in backend.precisions:
            print(f"{name:12} {precision:5} {backend.obstacle(precision) or 'ready'}")
        for precision, reason in backend.refused.items():
            print(f"{'':12} not {precision}: {reason}")
    return 0


def push(options: argparse.Namespace, settings: Settings) -> int:
    """Copy a package to a folder or a bucket."""
    read_package(_place(options, settings))
    print(f"pushed to {push_package(_store(settings), options.model, options.target, options.place, settings)}")
    return 0


def pull(options: argparse.Namespace, settings: Settings) -> int:
    """Copy a package from a folder or a bucket, and verify it before it is published."""
    place = pull_package(_store(settings), options.model, options.target, options.place, settings)
    print(f"pulled to {place}")
    return 0
