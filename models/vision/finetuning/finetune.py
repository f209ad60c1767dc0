"""A whole run: read the data, train, judge, and write the model; what happens is told as events."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.catalog.vision import VisionSpec
from models.errors import FinetuneError
from models.vision.finetuning.examples import Dataset, Example, read_dataset, split, without
from models.vision.finetuning.images import Skipped, problems
from models.vision.finetuning.learners import FrozenLearner, FullLearner, Learner, features, put_classifier
from models.vision.finetuning.options import Options
from models.vision.finetuning.report import Outcome, report_html
from models.vision.finetuning.saving import REPORT, complete_folder, require_space, write_card, write_model
from models.vision.finetuning.training import Counted, Epoch, seed_all, targets_of, train
from models.vision.model import VisionModel, load_vision_model

SKIPPED_MAX = 1000
"""How many images that were left out the card lists."""


@dataclass(frozen=True)
class Prepared:
    """What there is to learn."""

    labels: int
    learnt: int
    held_out: int
    skipped: Sequence[Skipped]
    is_multi_label: bool


@dataclass(frozen=True)
class Finetuned:
    """The model is written."""

    folder: Path
    epoch: Epoch
    """The best one, whose weights it has."""


Event = Counted | Prepared | Epoch | Finetuned


def finetune(
    source: Path,
    base: VisionSpec,
    place: Path,
    options: Options,
    *,
    is_multi_label: bool | None = None,
    is_confined: bool = False,
) -> Iterator[Event]:
    """Give the model ``base`` a classifier for the labels in ``source``, and write it to the folder ``place``.

    Until it is complete nothing is at ``place``, or what was there before.

    Args:
        is_multi_label: whether an image may have several labels, or none; ``None`` if the data has such an image.
        is_confined: whether the data may name only files in the folder of ``source``.

    Raises:
        FinetuneError: the data or the model is not fit for it, the loss is not finite, or the disk is full.
        ModelUnavailable: ``base`` cannot be loaded.
        OutOfMemory: the model does not fit into the device's memory.
        OSError: the data cannot be read.
    """
    seed_all(options.seed)
    dataset = read_dataset(source, is_multi_label=is_multi_label, is_confined=is_confined)
    skipped = yield from _checked(dataset)
    dataset = _without(dataset, skipped)
    learnt, held_out = split(dataset, options.held_out, options.seed)
    yield Prepared(len(dataset.labels), len(learnt), len(held_out), skipped, dataset.is_multi_label)
    model = load_vision_model(base, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    require_space(model, place)
    learner = yield from _learner(model, dataset, learnt, held_out, options)
    targets, judged = targets_of(dataset, learnt), targets_of(dataset, held_out)
    epochs = []
    for event in train(learner, learnt, targets, judged, options):
        epochs += [event] if isinstance(event, Epoch) else []
        yield event
    outcome = Outcome(dataset, held_out, learner.judged(), judged, epochs)
    learner.finish()
    best = [each for each in epochs if each.is_best][-1]
    card = _card(source, model, options, outcome, learnt, skipped, best)
    with complete_folder(place) as folder:
        write_model(model, dataset.labels, folder)
        write_card(card, folder)
        facts = {
            **{name.replace("_", " "): card[name] for name in ("base", "trained", "made_at", "best_epoch")},
            **{f"images {name.replace('_', ' ')}": count for name, count in card["images"].items()},
            **{name: f"{score:.1%}" for name, score in best.scores.items()},
        }
        report = report_html(place.name, facts, outcome)
        (folder / REPORT).write_text(report, encoding="utf-8", errors="xmlcharrefreplace")
    yield Finetuned(place, best)


def _checked(dataset: Dataset) -> Generator[Counted, None, list[Skipped]]:
    """Yields how far it is; returns the images that cannot be used."""
    skipped: list[Skipped] = []
    total = len(dataset.examples)
    for done, problem in enumerate(problems(dataset.examples), 1):
        skipped += [] if problem is None else [problem]
        yield Counted("images", done, total)
    return skipped


def _without(dataset: Dataset, skipped: Sequence[Skipped]) -> Dataset:
    """The data without the images that cannot be used; if too little is left, the error names one of them."""
    try:
        return without(dataset, [each.file for each in skipped])
    except FinetuneError as error:
        first = skipped[0]
        told = f"{len(skipped)} images cannot be used, such as {first.file}: {first.reason}"
        raise FinetuneError(f"{error} ({told})") from error


def _learner(
    model: VisionModel, dataset: Dataset, learnt: list[Example], held_out: list[Example], options: Options
) -> Generator[Counted, None, Learner]:
    """Yields how far it is; returns the learner."""
    classifier = put_classifier(model, len(dataset.labels))
    if options.is_full:
        return FullLearner(model, learnt, held_out, options)
    vectors: list[Tensor] = []
    for chunk in features(model, [*learnt, *held_out]):
        vectors.extend(chunk)
        yield Counted("features", len(vectors), len(learnt) + len(held_out))
    both = torch.stack(vectors)
    if not both.isfinite().all():
        broken = [*learnt, *held_out][int((~both.isfinite()).any(1).nonzero()[0])]
        raise FinetuneError(f"the model's features of {broken.file} are not finite")
    return FrozenLearner(classifier, both[: len(learnt)], both[len(learnt) :])


def _card(
    source: Path, model: VisionModel, options: Options, outcome: Outcome, learnt: Sequence[Example],
    skipped: Sequence[Skipped], best: Epoch,
) -> dict[str, Any]:  # fmt: skip
    """The data card: what it was made of and how, for people and programs."""
    dataset, spec = outcome.dataset, model.spec
    counts = {
        name: {"learnt": _count(learnt, label), "held_out": _count(outcome.held_out, label)}
        for label, name in enumerate(dataset.labels)
    }
    return {
        "base": spec.name,
        "base_source": spec.source,
        "base_licence": spec.licence,
        "trained": "all weights" if options.is_full else "the classifier",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "data": source.name,
        "multi_label": dataset.is_multi_label,
        "images": {"learnt": len(learnt), "held_out": len(outcome.held_out), "skipped": len(skipped)},
        "labels": counts,
        "skipped": [{"file": str(each.file), "reason": each.reason} for each in skipped[:SKIPPED_MAX]],
        "options": asdict(options) | {"learning_rate": options.rate},
        "best_epoch": best.number,
        "scores": dict(best.scores),
        "epochs": [asdict(each) for each in outcome.epochs],
    }


def _count(examples: Sequence[Example], label: int) -> int:
    return sum(label in example.labels for example in examples)
