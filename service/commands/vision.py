"""``photogram vision``: give a vision model labels of your own, on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from photogram_cli.near_misses import Parser

from models.catalog.catalog import Catalog
from models.catalog.names import printable, unknown_name
from models.catalog.vision import VISION, VisionSpec, new_name_problem
from models.errors import CatalogError, PhotogramError, ProblemCode, with_detail
from service.backbone.catalog_edit import put_entries
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.settings import Settings, SettingsError

if TYPE_CHECKING:
    from models.vision.finetuning.finetune import Event, Prepared
    from models.vision.finetuning.options import Options
    from models.vision.finetuning.training import Counted

_TOLD_EVERY_S = 2.0
_SKIPPED_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        return run(options, configure(flags={"data": options.data_folder}).settings)
    except (PhotogramError, SettingsError, OSError) as error:
        print(f"photogram vision: {printable(with_detail(error))}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram vision", description="Train vision models on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("finetune", help="give a vision model a classifier for labels of your own")
    command.add_argument(
        "--data", required=True, type=Path, metavar="FOLDER|CSV",
        help="a folder with a folder of images for each label, or a CSV file with the columns path and label",
    )  # fmt: skip
    command.add_argument("--model", required=True, metavar="NAME", help="the vision model of the catalog to begin with")
    command.add_argument("--output", required=True, metavar="NAME", help="the name of the new vision model")
    command.add_argument("--overwrite", action="store_true", help="replace the vision model of that name")
    command.add_argument("--multi-label", action="store_true", help="an image may have several labels, or none")
    command.add_argument("--full", action="store_true", help="train all weights, not only the classifier")
    command.add_argument("--epochs", type=int, default=30, metavar="N", help="how many at most (default: 30)")
    command.add_argument(
        "--patience",
        type=int,
        default=5,
        metavar="N",
        help="stop after so many epochs without a better one (default: 5)",
    )
    command.add_argument("--batch-size", type=int, default=32, metavar="N", help="images of a step (default: 32)")
    command.add_argument("--learning-rate", type=float, metavar="X", help="of AdamW (default: 0.01; with --full 0.001)")
    command.add_argument(
        "--held-out", type=float, default=0.2, metavar="X", help="the share of images to judge by (default: 0.2)"
    )
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of all random choices (default: 0)")
    augmenting = command.add_argument_group("augmentation by timm, with --full")
    augmenting.add_argument(
        "--min-scale", type=float, default=0.35, metavar="X", help="the smallest part of an image shown (default: 0.35)"
    )
    augmenting.add_argument("--no-flip", dest="flip", action="store_false", help="do not mirror images")
    augmenting.add_argument("--augment", metavar="POLICY", help="a policy of timm, such as rand-m9-mstd0.5")
    command.add_argument("--licence", default="", help="the licence of the new weights (default: that of the old ones)")
    command.add_argument("--json", action="store_true", help="print each event as a line of JSON")
    command.set_defaults(run=finetune)
    add_data_option(parser, "--data-folder")  # --data is the data set
    return parser


def finetune(options: argparse.Namespace, settings: Settings) -> int:
    """Train, write the model into the data folder, and add it to the catalog."""
    catalog = Catalog.load(settings.catalog_path)
    base = _base(options.model, catalog)
    _require_free(options.output, catalog, overwrite=options.overwrite)
    from models.vision.finetuning.finetune import finetune as run  # torch: longer than --help may take

    place = settings.data / VISION / options.output
    if place.exists() and not options.overwrite:
        raise CatalogError(f"{place} exists: --overwrite replaces it, another --output leaves it alone")
    tell = _tell_json if options.json else _Telling()
    for event in run(options.data, base, place, _options_of(options), is_multi_label=options.multi_label or None):
        tell(event)
    licence = options.licence or base.licence
    entry = {"folder": str(place.absolute())} | ({"licence": licence} if licence else {})
    put_entries(settings.catalog_path, {(VISION, options.output): entry})
    if not options.json:
        print(f"{options.output} is in the catalog; try it: photogram classify IMAGE --model {options.output}")
    return 0


def _base(name: str, catalog: Catalog) -> VisionSpec:
    found = catalog.vision.resolve(name)
    if found is None:
        raise CatalogError(unknown_name("vision model", name, catalog.vision).message)
    return found


def _require_free(name: str, catalog: Catalog, *, overwrite: bool) -> None:
    problem = new_name_problem(name, catalog.vision, catalog)
    if problem is None or (problem.code is ProblemCode.CONFLICT and overwrite):
        return
    advice = "--overwrite replaces it" if problem.code is ProblemCode.CONFLICT else "choose another --output"
    raise CatalogError(f"{problem.message}: {advice}")


def _options_of(options: argparse.Namespace) -> Options:
    from models.vision.finetuning.options import Options

    return Options(
        is_full=options.full,
        epochs=options.epochs,
        patience=options.patience,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        held_out=options.held_out,
        seed=options.seed,
        min_scale=options.min_scale,
        flip=options.flip,
        augment=options.augment,
    )


def _tell_json(event: Event) -> None:
    document: dict[str, Any] = {"event": type(event).__name__.lower(), **asdict(event)}
    print(json.dumps(document, default=str), flush=True)


class _Telling:
    """Prints events for people; how far the counting is, at most every two seconds, to standard error."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, event: Event) -> None:
        from models.vision.finetuning.finetune import Finetuned, Prepared
        from models.vision.finetuning.training import Counted

        match event:
            case Counted():
                self._count(event)
            case Prepared():
                _tell_prepared(event)
            case Finetuned():
                print(f"best: epoch {event.epoch.number}, {_scores(event.epoch.scores)}; the report is in")
                print(f"{event.folder}/report.html")
            case _:
                best = ", the best so far" if event.is_best else ""
                losses = f"loss {event.loss:.4f}, held out {event.held_out_loss:.4f}"
                print(f"epoch {event.number}/{event.epochs}: {losses}, {_scores(event.scores)}{best}", flush=True)

    def _count(self, event: Counted) -> None:
        if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            print(f"{event.what}: {event.done} of {event.total}", file=sys.stderr, flush=True)


def _tell_prepared(event: Prepared) -> None:
    form = ", several an image" if event.is_multi_label else ""
    print(f"{event.labels} labels{form}; {event.learnt} images to learn from, {event.held_out} held out")
    for each in event.skipped[:_SKIPPED_SHOWN]:
        print(printable(f"skipped {each.file}: {each.reason}"), file=sys.stderr)
    if len(event.skipped) > _SKIPPED_SHOWN:
        print(f"skipped {len(event.skipped) - _SKIPPED_SHOWN} more, which the card lists", file=sys.stderr)


def _scores(scores: Any) -> str:
    return ", ".join(f"{name} {value:.1%}" for name, value in scores.items())


if __name__ == "__main__":
    sys.exit(main())
