"""``photogram storage``: check where images are stored, and move them to another place."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from photogram_cli.near_misses import Parser

from models.errors import StorageUnavailable
from service.backbone.configuration import configure
from service.backbone.data_option import add_data_option
from service.backbone.objects.checking import steps
from service.backbone.objects.migration import Migration, Outcome, Progress
from service.backbone.objects.opening import IMAGES, KINDS, opener
from service.backbone.permissions import image_modes, restrict_umask
from service.backbone.settings import Settings, SettingsError
from service.commands.flag_values import place

_TOLD_EVERY_S = 1.0
_MIB = 1 << 20


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    options = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace, Settings], int] = options.run
    restrict_umask()
    try:
        return run(options, configure(flags={"data": options.data}).settings)
    except (StorageUnavailable, SettingsError, OSError) as error:
        print(f"photogram storage: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="photogram storage", description="Check and move stored images and files.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checking = commands.add_parser("check", help="try everything that the server needs of its storage")
    checking.set_defaults(run=check)
    moving = commands.add_parser(
        "migrate",
        help="copy all images, files and uploads to another place",
        description="Copy all images, files and uploads. Nothing is removed or replaced; the server may run meanwhile."
        " Run it again to go on, or to copy what the server has stored since.",
    )
    places = "a data folder, or s3://bucket/prefix"
    moving.add_argument("--from", dest="source", type=place, required=True, metavar="PLACE", help=places)
    moving.add_argument("--to", dest="target", type=place, required=True, metavar="PLACE", help=places)
    moving.set_defaults(run=migrate)
    add_data_option(parser)
    return parser


def check(options: argparse.Namespace, settings: Settings) -> int:
    """Try the storage step by step, and stop at the first one that fails."""
    place = settings.storage or str(settings.data)
    print(f"storage: {place}{f' at {settings.s3_endpoint}' if settings.storage and settings.s3_endpoint else ''}")
    for text, is_right in steps(opener(place, settings)(IMAGES)):
        began_at = time.monotonic()
        try:
            outcome = "ok" if is_right() else "FAILED"
        except StorageUnavailable as error:
            outcome = f"FAILED: {error}"
        print(f"  {text:30}  {outcome}  {(time.monotonic() - began_at) * 1000:.0f} ms")
        if outcome != "ok":
            return 1
    return 0


def migrate(options: argparse.Namespace, settings: Settings) -> int:
    """Copy everything from one place to another."""
    if options.source == options.target:
        raise SettingsError("--from and --to are the same place")
    if "://" not in options.source and not any((Path(options.source) / kind).is_dir() for kind in KINDS):
        raise SettingsError(f"{options.source} is no data folder: it has no folder {', '.join(KINDS)}")
    places = opener(options.source, settings), opener(options.target, settings)
    migration = Migration(*places, image_modes(settings))
    migration.count()
    try:
        progress = migration.run(_Telling())
    except StorageUnavailable as error:
        raise StorageUnavailable(
            f"{error}; {migration.progress.done} objects are done, run it again to go on"
        ) from error
    for line in _summary(progress):
        print(line)
    return 1 if progress.outcomes[Outcome.DIFFERENT] else 0


class _Telling:
    """Prints how far a migration has come, at most once a second."""

    def __init__(self) -> None:
        self._told_at = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if time.monotonic() - self._told_at >= _TOLD_EVERY_S:
            self._told_at = time.monotonic()
            print(
                f"{progress.done} of {progress.total} objects, {progress.done_bytes / _MIB:.1f} of"
                f" {progress.total_bytes / _MIB:.1f} MiB",
                flush=True,
            )


def _summary(progress: Progress) -> Iterator[str]:
    count = progress.outcomes
    yield (
        f"{count[Outcome.COPIED]} objects copied, {count[Outcome.PRESENT]} were there already; all of them were read"
        f" back and are equal ({progress.done_bytes / _MIB:.1f} MiB)"
    )
    if count[Outcome.GONE]:
        yield f"{count[Outcome.GONE]} were removed from the source meanwhile"
    if count[Outcome.DIFFERENT]:
        yield f"{count[Outcome.DIFFERENT]} are different in the target, and were left alone:"
        yield from (f"  {name}" for name in progress.different)


if __name__ == "__main__":
    sys.exit(main())
