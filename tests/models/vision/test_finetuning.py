"""A model learns labels of its own, is saved as timm saves models, and unfit data leaves nothing behind."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from models.catalog.vision import VisionSpec
from models.errors import FinetuneError
from models.jobs.vision import ClassifyParams
from models.vision.finetuning import training
from models.vision.finetuning.examples import Dataset, dataset_in, read_dataset, split
from models.vision.finetuning.finetune import Finetuned, Prepared, finetune
from models.vision.finetuning.metrics import average_precisions, confusion, scores
from models.vision.finetuning.options import Options
from models.vision.finetuning.training import Epoch
from models.vision.model import VisionModel
from tests.models.vision.digits import SIDE_PX, digit, save_small
from tests.models.vision.rig import catalog_of, save_naflex, see


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> VisionSpec:
    """A model with random weights for small images."""
    return VisionSpec(name="tiny", folder=save_small(tmp_path_factory.mktemp("base") / "tiny"), licence="mit")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images of each of four digits, a broken one, and a file that is no image."""
    root = tmp_path_factory.mktemp("digits")
    for number in range(4):
        (root / str(number)).mkdir()
        for seed in range(30):
            digit(number, seed).save(root / str(number) / f"{seed}.png")
    (root / "0/broken.png").write_bytes((root / "0/29.png").read_bytes()[:60])
    (root / os.fsdecode(b"1/notes\xff.txt")).write_text("no image")
    return root


def events_of(source: Path, base: VisionSpec, place: Path, **options: Any) -> list[Any]:
    return list(finetune(source, base, place, Options(**options)))


def accuracy_of(folder: Path, source: Path) -> float:
    """The share of the held-out images that a worker recognises with the model in ``folder``."""
    examples = [
        each
        for each in read_dataset(source).examples
        if each.file.name not in ("broken.png", os.fsdecode(b"notes\xff.txt"))
    ]
    _, held_out = split(Dataset(("0", "1", "2", "3"), tuple(examples), False), 0.2, 0)
    images = {str(each.file): Image.open(each.file).convert("RGB") for each in held_out}
    jobs = {name: ClassifyParams(image=name, model="new", top_k=1, multi_label=False) for name in images}
    outcomes: Any = see(catalog_of(VisionSpec(name="new", folder=folder)), jobs, images)
    right = [outcome.document["labels"][0]["label"] == Path(name).parent.name for name, outcome in outcomes.items()]
    return sum(right) / len(right)


def test_all_weights_learn_digits_which_are_served(base: VisionSpec, digits: Path, tmp_path: Path) -> None:
    place = tmp_path / "digits"
    options = {"is_full": True, "epochs": 9, "learning_rate": 2e-2, "flip": False, "min_scale": 0.8, "batch_size": 8}
    events = events_of(digits, base, place, **options)
    [prepared] = [event for event in events if isinstance(event, Prepared)]
    assert sorted(each.file.name for each in prepared.skipped) == ["broken.png", os.fsdecode(b"notes\xff.txt")]
    assert (prepared.learnt, prepared.held_out) == (96, 24)
    assert isinstance(events[-1], Finetuned) and events[-1].epoch.scores["accuracy"] > 0.8
    assert accuracy_of(place, digits) == events[-1].epoch.scores["accuracy"]
    card = json.loads((place / "card.json").read_text())
    assert card["labels"]["3"] == {"learnt": 24, "held_out": 6} and card["base_licence"] == "mit"
    assert len(card["skipped"]) == 2 and card["scores"] == dict(events[-1].epoch.scores)
    report = (place / "report.html").read_text()
    assert "Confusion matrix" in report and "http" not in report
    assert list(tmp_path.iterdir()) == [place]


def test_the_classifier_alone_learns_and_the_rest_stays(base: VisionSpec, digits: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    runs = [events_of(digits, base, tmp_path / name, epochs=6, seed=3)[-1] for name in ("one", "two")]
    assert runs[0].epoch.scores == runs[1].epoch.scores and runs[0].epoch.scores["accuracy"] > 0.4
    before, after = (load_file(folder / "model.safetensors") for folder in (base.folder, tmp_path / "one"))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert {name.rpartition(".")[0] for name in changed} == {"classifier"}


@pytest.mark.parametrize("is_full", [False, True])
def test_a_naflex_model_learns_from_images_of_any_aspect(is_full: bool, tmp_path: Path) -> None:
    data = tmp_path / "data"
    sizes = [(64, 16), (16, 64), (32, 32), (1, 1), (90, 30), (64, 16)]
    for label, brightness in (("dark", 40), ("light", 220)):
        (data / label).mkdir(parents=True)
        for number, size in enumerate(sizes):
            Image.new("L", size, brightness + number).save(data / label / f"{number}.png")
    spec = VisionSpec(name="naflex", folder=save_naflex(tmp_path / "naflex"))
    events = events_of(data, spec, tmp_path / "new", is_full=is_full, epochs=2, batch_size=4)
    assert isinstance(events[-1], Finetuned) and math.isfinite(events[-1].epoch.loss)
    images = {label: Image.open(data / label / "0.png").convert("RGB") for label in ("dark", "light")}
    jobs = {name: ClassifyParams(image=name, model="new", top_k=1, multi_label=False) for name in images}
    outcomes: Any = see(catalog_of(VisionSpec(name="new", folder=tmp_path / "new")), jobs, images)
    found = {name: outcome.document["labels"][0]["label"] for name, outcome in outcomes.items()}
    assert found == {"dark": "dark", "light": "light"} or is_full


def test_several_labels_an_image_from_a_table(base: VisionSpec, tmp_path: Path) -> None:
    rows = ["path,label"]
    for seed in range(16):
        has_left, has_right = seed % 2, seed // 2 % 2
        image = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
        image.paste("red", (0, 0, 14, 32 * has_left))
        image.paste("blue", (18, 0, 32, 32 * has_right))
        image.save(tmp_path / f"{seed}.png")
        rows.append(f"{seed}.png,{';'.join(['left'] * has_left + ['right'] * has_right)}")
    (tmp_path / "data.csv").write_text("\n".join(rows))
    events = events_of(tmp_path / "data.csv", base, tmp_path / "sides", epochs=20, held_out=0.25)
    assert events[-1].epoch.scores["map"] > 0.9
    assert "average precision" in (tmp_path / "sides/report.html").read_text()
    assert json.loads((tmp_path / "sides/card.json").read_text())["multi_label"] is True


def test_it_stops_when_nothing_gets_better(base: VisionSpec, digits: Path, tmp_path: Path) -> None:
    events = events_of(digits, base, tmp_path / "new", epochs=30, patience=1, learning_rate=1e-9)
    epochs = [event for event in events if isinstance(event, Epoch)]
    assert len(epochs) < 30 and not epochs[-1].is_best


def folders(root: Path, **counts: int) -> Path:
    for label, count in counts.items():
        (root / label).mkdir(parents=True)
        for seed in range(count):
            digit(0, seed).save(root / label / f"{seed}.png")
    return root


def table(root: Path, text: str) -> Path:
    (root / "data.csv").write_text(text)
    return root / "data.csv"


UNFIT: dict[str, tuple[Callable[[Path], Path], str]] = {
    "one class": (lambda root: folders(root / "a", cat=3), "at least 2 labels, and the data has only 'cat'"),
    "no images": (lambda root: root, "the data has none"),
    "one image of a class": (lambda root: folders(root / "a", cat=3, dog=1), "too few of: 'dog'"),
    "labels that do not match": (
        lambda root: folders(root / "a/train", cat=2, dog=2) and folders(root / "a/val", dig=1).parent,
        "has labels that",
    ),
    "no columns": (lambda root: table(root, "a.png,cat\n"), "lacks label, path"),
    "no label": (lambda root: table(root, "path,label\na.png\n"), "line 2: needs a path and a label"),
    "no text": (lambda root: table(root, "path,label\na.png,\x07\n"), "all printable"),
    "no label in a table": (lambda root: table(root, "path,label\na.png,\nb.png,b\n"), "a.png has no label"),
    "nothing there": (lambda root: root / "gone", "neither a folder nor a CSV file"),
    "all broken": (lambda root: table(root, "path,label\na,x\nb,x\nc,y\nd,y\n"), "4 images cannot be used, such as"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_unfit_data_is_refused(case: str, base: VisionSpec, tmp_path: Path) -> None:
    make, reason = UNFIT[case]
    (tmp_path / "data").mkdir()
    with pytest.raises(FinetuneError) as caught:
        events_of(make(tmp_path / "data"), base, tmp_path / "new")
    assert reason in str(caught.value) and not (tmp_path / "new").exists()


def test_a_loss_that_is_not_finite_stops_and_says_where(
    base: VisionSpec, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss_of = training.loss_of
    monkeypatch.setattr(training, "loss_of", lambda logits, *rest: loss_of(logits, *rest) * math.nan)
    with pytest.raises(FinetuneError, match=r"not finite in epoch 1, batch 1 of 3 \(.*png.*lower learning rate"):
        events_of(digits, base, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_what_was_there(
    base: VisionSpec, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "new"
    place.mkdir()
    (place / "old").write_text("kept")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("models.vision.finetuning.finetune.write_card", full)
    with pytest.raises(FinetuneError, match="the disk is full"):
        events_of(digits, base, place, epochs=1)
    assert [each.name for each in tmp_path.rglob("*")] == ["new", "old"]


def test_a_model_whose_classifier_reads_something_else_is_refused(
    base: VisionSpec, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = VisionModel.read
    monkeypatch.setattr(VisionModel, "read", lambda model, *rest: read(model, *rest) + 1)
    with pytest.raises(FinetuneError, match="no classifier that can be replaced"):
        events_of(digits, base, tmp_path / "new")


def test_what_the_data_says_of_the_split_is_kept(tmp_path: Path) -> None:
    folders(tmp_path / "train", cat=3, dog=3)
    folders(tmp_path / "val", dog=2)
    learnt, held_out = split(read_dataset(tmp_path), 0.5, 0)
    assert len(learnt) == 6 and {each.file.parent.parent.name for each in held_out} == {"val"}


def test_scores_of_a_known_case() -> None:
    logits = torch.tensor([[3.0, 1, 0], [0, 2, 1], [2, 1, 0], [0, 1, 4]])
    targets = torch.tensor([0, 1, 1, 2])
    assert scores(logits, targets) == pytest.approx({"accuracy": 3 / 4, "f1": (2 / 3 + 2 / 3 + 1) / 3})
    assert confusion(logits, targets).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    many = torch.tensor([[1.0, 0], [0, 0], [1, 0], [0, 0]])
    found = average_precisions(torch.tensor([[4.0, 0], [3, 0], [2, 0], [1, 0]]), many)
    assert found[0] == pytest.approx((1 + 2 / 3) / 2) and found[1].isnan()


def test_a_table_from_outside_names_files_beside_it_alone(tmp_path: Path) -> None:
    for path in ("/etc/passwd", "../a.png", "a/../../a.png", "a\x1b.png"):
        with pytest.raises(FinetuneError, match="a file outside of its folder"):
            read_dataset(table(tmp_path, f"path,label\n{path},a\nb.png,b\n"), is_confined=True)
    inside = table(tmp_path, "path,label\na1.png,a\n./a2.png,a\nb1.png,b\nsub/b2.png,b\n")
    assert len(read_dataset(inside, is_confined=True).examples) == 4


def test_data_is_found_in_an_unpacked_archive(tmp_path: Path) -> None:
    folders(tmp_path / "one/animals", cat=1, dog=1)
    assert dataset_in(tmp_path / "one") == tmp_path / "one/animals"
    folders(tmp_path / "two", cat=1)
    assert dataset_in(tmp_path / "two") == tmp_path / "two"
    (tmp_path / "three/set").mkdir(parents=True)
    assert dataset_in(tmp_path / "three") == tmp_path / "three"
    assert dataset_in(table(tmp_path / "three/set", "path,label\n").parents[1]) == tmp_path / "three/set/data.csv"


def test_an_augmentation_that_timm_has_not_is_named(base: VisionSpec, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(FinetuneError, match="no augmentation 'rand-x9'"):
        events_of(digits, base, tmp_path / "new", is_full=True, augment="rand-x9")
