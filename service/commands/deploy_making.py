"""``photogram deploy make``: the packages of a model for one or several targets, and how models are loaded for that."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from photogram_runtime.package import Package, is_recipe

from models.catalog.catalog import Catalog, ModelSpec
from models.catalog.names import printable, unknown_name
from models.deploy.backends import BACKENDS, PRECISIONS, REFUSED, check_target
from models.deploy.combinations import read_loras, stored_name
from models.deploy.names import find_model
from models.deploy.profiling_keys import was_slower
from models.deploy.shapes import read_shape
from models.deploy.store import Busy, PackageStore
from models.errors import PhotogramError, with_detail
from models.jobs.params import LoraUse
from models.jobs.payload import build
from service.backbone.settings import Settings
from service.commands.deploy_figures import show_lines
from service.commands.flag_values import checked

if TYPE_CHECKING:
    import torch

    from models.deploy.making import Recorded
    from models.deploy.packaging import Progress, Target, Tell
    from models.diffusion.checkpoint import Checkpoint

RECIPE_ONLY = 3
"""The exit code for a package that was made and cannot be run here."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``make`` besides the model."""
    parser.add_argument(
        "--backend", nargs="+", choices=(*BACKENDS, *REFUSED), default=["openvino"], metavar="BACKEND",
        help=f"one or several of {', '.join(BACKENDS)} (default: openvino)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", nargs="+", choices=PRECISIONS, default=["f32"], metavar="PRECISION",
        help=f"one or several of {', '.join(PRECISIONS)}, for each backend (default: f32)",
    )  # fmt: skip
    parser.add_argument(
        "--shapes", nargs="+", type=checked(read_shape), default=[], metavar="WxH",
        help="sizes in pixels that images may have besides the default (default: a choice of several)",
    )  # fmt: skip
    parser.add_argument("--steps", type=int, metavar="N", help="of the images that are drawn (default: the model's)")
    parser.add_argument(
        "--lora", nargs="+", default=[], metavar="NAME[:WEIGHT]",
        help="bake these LoRAs in; requests with just these LoRAs and weights use the package",
    )  # fmt: skip
    parser.add_argument("--parts", nargs="+", default=[], metavar="PART", help="only these parts (default: all)")
    parser.add_argument("--force", action="store_true", help="let it be served even if it does not pass its checks")
    parser.add_argument("--json", action="store_true", help="print each step and the result as a line of JSON")


def make(options: argparse.Namespace, settings: Settings) -> int:
    """Export, check and publish; 1 if a package could not be made, 2 if one did not pass, 3 if one is a recipe only."""
    names = dict.fromkeys((backend, precision) for backend in options.backend for precision in options.precision)
    for backend, precision in names:
        check_target(backend, precision)
    catalog = Catalog.load(settings.catalog_path)
    tell, store = teller(options.json), PackageStore(settings.packages_folder)
    codes: set[int] = set()
    loras = read_loras(options.lora, catalog)
    name = stored_name(find_model(options.model, catalog, loras).name, loras)
    targets = list(_free(store, name, [_target(options, *each) for each in names], codes))
    if not targets:
        return 1
    model = _recorded(options, settings, catalog, tell, loras)
    from models.deploy.making import make_packages

    for target, found in make_packages(model, targets, store, is_forced=options.force, tell=tell):
        if isinstance(found, Exception):
            codes.add(1)
            complain(f"{target.name}: {message_of(found)}")
        else:
            codes.add(RECIPE_ONLY if is_recipe(found.manifest) else 0 if found.has_passed else 2)
            _show(found, options.json)
    return next((code for code in (1, 2, RECIPE_ONLY) if code in codes), 0)


def _free(store: PackageStore, model: str, targets: Sequence[Target], codes: set[int]) -> Iterator[Target]:
    """Those of ``targets`` that no other process is making, which is known before the model is recorded."""
    for target in targets:
        try:
            store.require_free(model, target.name)
        except Busy as error:
            codes.add(1)
            complain(f"{target.name}: {error}")
        else:
            yield target


def _show(package: Package, is_json: bool) -> None:
    if is_json:
        print(json.dumps({"package": str(package.folder), **_without_calls(package.manifest)}), flush=True)
        return
    print("\n".join(show_lines(package.manifest)))
    print(f"package: {package.folder}")
    print(_advice(package.manifest))


def _recorded(
    options: argparse.Namespace, settings: Settings, catalog: Catalog, tell: Tell, loras: Sequence[LoraUse]
) -> Recorded:
    """The model, recorded on torch."""
    cpu()
    from models.deploy.loading import record_model

    target = _target(options, options.backend[0], options.precision[0])
    return record_model(options.model, target, catalog, settings.backend, settings.backends_folder, tell, loras)


def _target(options: argparse.Namespace, backend: str, precision: str) -> Target:
    from models.deploy.packaging import Target

    return Target(backend, precision, options.steps, tuple(options.parts), tuple(options.shapes))


def _advice(manifest: Mapping[str, Any]) -> str:
    if is_recipe(manifest):
        return "It is a recipe only: it was not run here, and is never served."
    if manifest["checks"]["passed"]:
        model, target = manifest["model"], f"{manifest['backend']}-{manifest['precision']}"
        if was_slower(manifest["profile"]):
            return f"What runs without it was faster, and stays in use unless: photogram deploy use {model} {target}"
        return "Workers use it from the model's next job on, once none is being drawn with it."
    if manifest["checks"]["forced"]:
        return "It did not pass its checks and is served all the same, because of --force."
    return "It did not pass its checks and is not served; --force would serve it."


def _without_calls(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name not in ("parts", "files")}


def cpu() -> torch.device:
    """The CPU; torch is imported here, with its threads and its libraries quiet."""
    from models.diffusion.quiet import let_waiting_threads_sleep, silence_libraries

    let_waiting_threads_sleep()
    silence_libraries()
    import torch

    return torch.device("cpu")


def spec_of(catalog: Catalog, name: str) -> ModelSpec:
    """The model called ``name`` that draws; what is told if there is none says which are alike."""
    found = catalog.resolve(name)
    if found is None:
        raise PhotogramError(unknown_name("model", name, catalog).message)
    return found


def load_packaged(package: Package, catalog: Catalog, settings: Settings) -> Checkpoint:
    """The model that ``package`` was made of, in float32 on the CPU, with what the server uses without a package."""
    cpu()
    from models.deploy.loading import load_drawing

    spec = spec_of(catalog, package.manifest.get("base") or package.name)
    loras = [build(LoraUse, each) for each in package.manifest.get("loras") or ()]
    return load_drawing(spec, catalog, settings.backend, settings.backends_folder, loras)


def teller(is_json: bool) -> Tell:
    """Prints progress, as lines of JSON or for people."""
    began_at = time.monotonic()

    def tell(progress: Progress) -> None:
        seconds = time.monotonic() - began_at
        if is_json:
            event = {"stage": progress.stage, "done": progress.done, "total": progress.total, "part": progress.detail,
                     "target": progress.target}  # fmt: skip
            print(json.dumps(event | {"seconds": round(seconds, 1)}), flush=True)
        else:
            done = f"{progress.stage} {progress.done}/{progress.total}"
            print(" ".join(filter(None, (f"{seconds:6.1f} s ", done, progress.detail, progress.target))), flush=True)

    return tell


def message_of(error: Exception) -> str:
    """What is told of ``error``."""
    return with_detail(error) if isinstance(error, PhotogramError) else str(error)


def complain(text: str) -> None:
    """Say in one line why something could not be done."""
    print(f"photogram deploy: {printable(text)}", file=sys.stderr)
