"""Labelled images on disk: a folder for each label, or a CSV file."""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.catalog.vision import CLASSES_MAX
from models.errors import FinetuneError, quoted
from models.jobs.finetuning import LABEL_MAX_CHARS, SEPARATOR

EXAMPLES_MAX = 2_000_000
PATH_COLUMN, LABEL_COLUMN = "path", "label"
TRAIN = "train"
HELD_OUT = ("val", "validation", "test")
"""The folders beside :data:`TRAIN` that hold the held-out images, in the order in which they are looked for."""
_Named = tuple[Path, tuple[str, ...], bool | None]
"""A file, its labels, and whether it is held out; ``None`` where the data does not say."""


@dataclass(frozen=True)
class Example:
    """One labelled image."""

    file: Path
    labels: tuple[int, ...]
    """Places in :attr:`Dataset.labels`; exactly one unless the data has many labels an image."""
    is_held_out: bool | None = None
    """Whether the model is judged by it and not trained on it; ``None`` where :func:`split` decides."""


@dataclass(frozen=True)
class Dataset:
    """Labelled images."""

    labels: tuple[str, ...]
    examples: tuple[Example, ...]
    is_multi_label: bool
    """Whether an image may have several labels, or none."""

    def count(self, label: int) -> int:
        """How many images have the label."""
        return sum(label in example.labels for example in self.examples)


def read_dataset(source: Path, *, is_multi_label: bool | None = None, is_confined: bool = False) -> Dataset:
    """The examples of ``source``; the images themselves are not read.

    A folder has a folder of images for each label, or folders ``train`` and ``val`` that have these. A CSV file has the
    columns ``path``, relative to the file, and ``label``; several labels are separated by ``;``, which makes the
    data multi-label.

    Args:
        is_multi_label: ``None`` takes what the data shows; images with several labels cannot be others.
        is_confined: whether a CSV file may name only files in its own folder, as one from outside must.

    Raises:
        FinetuneError: it cannot be read as such, or its labels cannot be learnt.
        OSError: it cannot be read at all.
    """
    if source.is_dir():
        dataset = _dataset(_in_folder(source), bool(is_multi_label))
    elif source.is_file():
        named = list(_in_csv(source))
        if is_confined:
            _require_confined(named, source)
        dataset = _dataset(iter(named), _is_multi_label(named, is_multi_label))
    else:
        raise FinetuneError(f"{source} is neither a folder nor a CSV file")
    require_learnable(dataset)
    return dataset


def dataset_in(folder: Path) -> Path:
    """Where in an unpacked archive the data is: its only CSV file, its only folder if that has folders, or itself."""
    inside = [each for each in sorted(folder.iterdir()) if not each.name.startswith(".")]
    tables = [each for each in inside if each.is_file() and each.suffix.lower() == ".csv"]
    if len(tables) == 1:
        return tables[0]
    is_wrapped = len(inside) == 1 and inside[0].is_dir() and any(_is_data(each) for each in inside[0].iterdir())
    return dataset_in(inside[0]) if is_wrapped else folder


def _is_data(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() == ".csv"


def _require_confined(named: Sequence[_Named], source: Path) -> None:
    folder = os.path.abspath(source.parent)
    for file, _, _ in named:
        if not str(file).isprintable() or os.path.commonpath([folder, os.path.abspath(file)]) != folder:
            raise FinetuneError(f"{source} names a file outside of its folder: {quoted(str(file))}")


def _is_multi_label(named: Sequence[_Named], wanted: bool | None) -> bool:
    if wanted or (wanted is None and any(len(labels) > 1 for _, labels, _ in named)):
        return True
    for file, labels, _ in named:
        if len(labels) != 1:
            found = f"{len(labels)} labels" if labels else "no label"
            raise FinetuneError(f"{file} has {found}, which only multi-label data may have")
    return False


def require_learnable(dataset: Dataset) -> None:
    """Raise :class:`FinetuneError` unless there are labels to tell apart, with images to learn and to judge them by."""
    least = 1 if dataset.is_multi_label else 2
    if len(dataset.labels) < least:
        found = f"only {dataset.labels[0]!r}" if dataset.labels else "none"
        raise FinetuneError(f"a classifier needs at least {least} labels, and the data has {found}")
    if len(dataset.labels) > CLASSES_MAX:
        raise FinetuneError(f"the data has {len(dataset.labels)} labels; {CLASSES_MAX} are allowed")
    rare = [name for place, name in enumerate(dataset.labels) if dataset.count(place) < 2]
    if rare:
        names = ", ".join(map(repr, rare[:5]))
        raise FinetuneError(
            f"each label needs at least 2 images, one to learn and one to judge by; too few of: {names}"
        )


def split(dataset: Dataset, share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """The examples to learn from and those to judge by.

    What the data says itself is kept; else ``share`` of the images of each label are drawn with ``seed``, at least one.
    An image with several labels is drawn with the first of them.

    Raises:
        FinetuneError: there are too few of either, or a label has none to learn from.
    """
    if any(example.is_held_out is not None for example in dataset.examples):
        held_out = [example for example in dataset.examples if example.is_held_out]
    else:
        held_out = list(_drawn(dataset, share, random.Random(seed)))
    chosen = {example.file for example in held_out}
    learnt = [example for example in dataset.examples if example.file not in chosen]
    if len(learnt) < 2 or not any(example.labels for example in held_out):
        raise FinetuneError(f"{len(learnt)} images to learn from and {len(held_out)} to judge by are too few")
    known = {label for example in learnt for label in example.labels}
    if missing := [name for place, name in enumerate(dataset.labels) if place not in known]:
        raise FinetuneError(f"no image to learn from has the label {missing[0]!r}: another seed draws others")
    return learnt, held_out


def _drawn(dataset: Dataset, share: float, chance: random.Random) -> Iterator[Example]:
    groups: dict[int | None, list[Example]] = {}
    for example in dataset.examples:
        groups.setdefault(example.labels[0] if example.labels else None, []).append(example)
    for group in groups.values():
        yield from chance.sample(group, min(max(1, round(share * len(group))), len(group) - 1))


def _dataset(named: Iterator[_Named], is_multi_label: bool) -> Dataset:
    found: dict[Path, _Named] = {}
    for each in named:
        if each[0] in found:
            raise FinetuneError(f"{each[0]} is listed twice")
        if len(found) == EXAMPLES_MAX:
            raise FinetuneError(f"there are more than {EXAMPLES_MAX} images")
        found[each[0]] = each
    names = sorted({label for _, labels, _ in found.values() for label in labels})
    places = {name: place for place, name in enumerate(names)}
    examples = (
        Example(file, tuple(places[label] for label in labels), held_out) for file, labels, held_out in found.values()
    )
    return Dataset(tuple(names), tuple(examples), is_multi_label)


def _in_folder(folder: Path) -> Iterator[_Named]:
    held_out = next((folder / name for name in HELD_OUT if (folder / name).is_dir()), None)
    if held_out is None or not (folder / TRAIN).is_dir():
        yield from _labelled(folder, None)
        return
    known, judged = _folders(folder / TRAIN), _folders(held_out)
    unknown = sorted({each.name for each in judged} - {each.name for each in known})
    if unknown:
        raise FinetuneError(f"{held_out} has labels that {folder / TRAIN} has not: {', '.join(map(repr, unknown[:5]))}")
    yield from _labelled(folder / TRAIN, False)
    yield from _labelled(held_out, True)


def _labelled(folder: Path, is_held_out: bool | None) -> Iterator[_Named]:
    for label in _folders(folder):
        files = (each for each in sorted(label.rglob("*")) if each.is_file() and not each.name.startswith("."))
        yield from ((file, (_label(label.name, str(label)),), is_held_out) for file in files)


def _folders(folder: Path) -> Sequence[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")]


def _in_csv(file: Path) -> Iterator[_Named]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines, strict=True)
            if missing := {PATH_COLUMN, LABEL_COLUMN} - set(rows.fieldnames or ()):
                raise FinetuneError(
                    f"{file}: its first line must name the columns, and lacks {', '.join(sorted(missing))}"
                )
            for row in rows:
                yield _row(file, row, f"{file}, line {rows.line_num}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise FinetuneError(f"{file} is no CSV file in UTF-8: {error}") from error


def _row(file: Path, row: dict[str, str | None], place: str) -> _Named:
    path, labels = row[PATH_COLUMN], row[LABEL_COLUMN]
    if not path or labels is None or "\0" in path:
        raise FinetuneError(f"{place}: needs a path and a label")
    names = dict.fromkeys(_label(label.strip(), place) for label in labels.split(SEPARATOR) if label.strip())
    return file.parent / path, tuple(names), None


def _label(name: str, place: str) -> str:
    if len(name) > LABEL_MAX_CHARS or not name.isprintable():
        raise FinetuneError(f"{place}: a label has at most {LABEL_MAX_CHARS} characters, all printable")
    return name


def without(dataset: Dataset, files: Sequence[Path]) -> Dataset:
    """The data without the examples of ``files``; raises :class:`FinetuneError` if too few are left."""
    left_out = set(files)
    left = replace(dataset, examples=tuple(each for each in dataset.examples if each.file not in left_out))
    require_learnable(left)
    return left
