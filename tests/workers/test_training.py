"""Jobs that train, in a real worker: what becomes of them, their events, and what unfit data sets leave behind."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.catalog.catalog import Catalog
from models.catalog.vision import EYES, WEIGHTS, VisionSpec
from models.jobs.finetuning import TRAINING_QUEUE, FinetuneRequest, LabelledImage
from models.jobs.records import JobRecord, JobStatus
from models.jobs.vision import ClassifyParams
from service.backbone.inputs import InputStore
from service.backbone.keyspace import events_key
from service.backbone.settings import Settings
from service.backbone.store import FileStore, ImageStore
from tests.disks import small_disk
from tests.models.vision.digits import digit, save_small
from tests.models.vision.rig import catalog_of, see
from tests.workers.conftest import World
from workers.training.registering import register

LONG_S = 240.0
"""A run imports torch and timm, which takes long beside other tests."""
BROKEN = b"\x89PNG\r\n\x1a\n and no more"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def overflowing(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with weights that make its features nearly as large as a float can be."""
    folder = save_small(tmp_path_factory.mktemp("large") / "tiny")
    weights = load_file(folder / WEIGHTS)
    weights["bn2.weight"], weights["bn2.bias"] = torch.zeros(256), torch.full((256,), 3e38)
    save_file(weights, folder / WEIGHTS)
    return folder


@pytest.fixture
def world(redis_url: str, tmp_path: Path, base: Path, overflowing: Path) -> Iterator[World]:
    tables = (f'[vision.{name}]\nfolder = "{folder}"\n' for name, folder in (("tiny", base), ("large", overflowing)))
    (tmp_path / "catalog.toml").write_text("".join(tables))
    with World(redis_url, tmp_path) as made:
        made.queue = TRAINING_QUEUE
        yield made


def png(number: int, seed: int) -> bytes:
    file = io.BytesIO()
    digit(number, seed).save(file, "PNG")
    return file.getvalue()


def archive(files: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return file.getvalue()


def digits(count: int, *numbers: int, folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{number}/{seed}.png": png(number, seed) for number in numbers for seed in range(count)}


def stored(world: World, data: bytes) -> str:
    return f"input:{InputStore(world.data / 'inputs').add(data)}"


def submit(world: World, files: Mapping[str, bytes], **params: Any) -> str:
    return world.submit_request(FinetuneRequest(data=stored(world, archive(files)), **params))


def events(world: World, job_id: str, kind: str) -> list[dict[str, Any]]:
    found = world.redis.xrange(events_key(job_id))
    return [json.loads(fields[b"data"]) for _, fields in found if fields[b"kind"] == kind.encode()]


def files_of(world: World, record: JobRecord) -> dict[str, bytes]:
    store = FileStore(world.data / "files")
    return {file.name: store.find(file.file_id).read() for file in record.files}


def left(world: World) -> list[str]:
    """What runs have left of their own, beside the lock."""
    return [path.name for path in (world.data / "training").glob("*") if path.name != ".lock"]


def vision_models(world: World) -> list[str]:
    return [name for name in Catalog.load(world.data / "catalog.toml").vision if name != EYES]


def test_a_model_is_trained_told_of_and_served(world: World) -> None:
    world.set_environment(PHOTOGRAM_JOB_TIMEOUT_S="1")  # of drawings; a training may take longer
    files = digits(30, 0, 1, 2, folder="digits/") | {"digits/0/broken.png": BROKEN, "__MACOSX/digits/x": b"x"}
    job = submit(world, files, name="digits", epochs=9, full=True, learning_rate=0.02, flip=False, min_scale=0.8,
                 batch_size=8)  # fmt: skip
    world.start_worker()
    (record,) = world.until_over(job, timeout_s=LONG_S)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    document: Any = record.document
    assert (document["model"], document["not_in_catalog"], document["base"]) == ("digits", None, "tiny")
    assert (document["labels"], document["learnt"], document["held_out"], document["skipped"]) == (3, 72, 18, 1)
    assert document["skipped_files"][0]["file"] == "data/digits/0/broken.png"
    notes = events(world, job, "note")
    assert [note["event"] for note in notes] == ["prepared"] + ["epoch"] * len(document["epochs"])
    assert {"loss", "held_out_loss", "scores", "is_best"} <= notes[1].keys()
    assert record.step == record.steps == 100 and events(world, job, "progress")
    made = files_of(world, record)
    assert sorted(made) == ["card.json", "config.json", "model.safetensors", "report.html"]
    assert b"Confusion matrix" in made["report.html"]
    folder = world.data / "vision/digits"
    assert (folder / WEIGHTS).read_bytes() == made["model.safetensors"] and left(world) == []
    spec = Catalog.load(world.data / "catalog.toml").vision["digits"]
    assert recognised(spec) > 0.8


def recognised(spec: VisionSpec) -> float:
    images = {f"{number}-{seed}": digit(number, seed).convert("RGB") for number in range(3) for seed in range(50, 60)}
    jobs = {name: ClassifyParams(image=name, model=spec.name, top_k=1, multi_label=False) for name in images}
    found: Any = see(catalog_of(spec), jobs, images)
    return sum(each.document["labels"][0]["label"] == name[0] for name, each in found.items()) / len(images)


def test_images_of_jobs_and_uploads_are_learnt_by_their_labels(world: World) -> None:
    images = ImageStore(world.data / "images")
    made = [LabelledImage(image=f"image:{images.add(png(n, seed))}", label=str(n)) for n in (0, 1) for seed in range(8)]
    sent = [LabelledImage(image=stored(world, png(n, seed)), label=str(n)) for n in (0, 1) for seed in range(8, 12)]
    gone = LabelledImage(image=f"input:{'0' * 64}", label="1")
    job = world.submit_request(FinetuneRequest(images=(*made, gone, *sent), epochs=2))
    world.start_worker()
    (record,) = world.until_over(job, timeout_s=LONG_S)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    document: Any = record.document
    assert (document["learnt"], document["held_out"], document["model"]) == (20, 4, None)
    assert [each["file"] for each in document["skipped_files"]] == ["data/images[16]"]
    assert "no name" in document["not_in_catalog"] and len(files_of(world, record)) == 4
    assert vision_models(world) == ["tiny", "large"]


UNFIT: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "one class": (digits(3, 0), {}, "needs at least 2 labels, and the data has only '0'"),
    "broken images": (
        digits(3, 0) | {"1/a.png": BROKEN, "1/b.png": BROKEN}, {}, "2 images cannot be used, such as data/1/a.png",
    ),
    "other labels": (
        digits(2, 0, 1, folder="train/") | digits(2, 2, folder="val/"), {},
        "data/val has labels that data/train has not: '2'",
    ),
    "a table of other files": (
        {"all.csv": b"path,label\n/etc/passwd,a\n/etc/hosts,b\n"}, {}, "a file outside of its folder: '/etc/passwd'",
    ),
    "a loss that is not finite": (
        digits(3, 0, 1), {"model": "large"}, "the loss is not finite in epoch 1, batch 1 of 1",
    ),
    "a path that leads out": ({"../a.png": b"1"}, {}, "cannot be unpacked: its entry '../a.png' has a path"),
}  # fmt: skip


def test_unfit_data_fails_with_the_reason_and_leaves_nothing(world: World) -> None:
    world.start_worker()
    jobs = {case: submit(world, files, name="new", **params) for case, (files, params, _) in UNFIT.items()}
    for case, job in jobs.items():
        (record,) = world.until_over(job, timeout_s=LONG_S)
        assert (record.status, record.error_code) == (JobStatus.FAILED, "training_failed"), (case, record.error_message)
        assert UNFIT[case][2] in record.error_message and str(world.data) not in record.error_message, case
    assert vision_models(world) == ["tiny", "large"] and left(world) == []
    assert not (world.data / "vision").exists() and not (world.data / "files").exists()


def test_without_space_for_the_data_nothing_is_left(world: World) -> None:
    with small_disk(world.data / "training", "1m") as disk:
        job = submit(world, {f"{label}/{seed}": bytes(400_000) for label in "ab" for seed in range(3)}, name="new")
        disk.fill()
        world.start_worker()
        (record,) = world.until_over(job, timeout_s=LONG_S)
        disk.free()
    assert record.status is JobStatus.FAILED and record.error_code == "training_failed"
    assert "the disk is full" in record.error_message or "may not be written" in record.error_message
    assert vision_models(world) == ["tiny", "large"]


def trainings(process: psutil.Process) -> list[psutil.Process]:
    return process.children(recursive=True)


def test_a_run_is_canceled_within_an_epoch(world: World) -> None:
    job = submit(world, digits(40, 0, 1), name="new", full=True, epochs=1000, patience=1000, batch_size=2)
    worker = psutil.Process(world.start_worker().pid)
    world.until(lambda: world.record(job).step >= 6, LONG_S)  # the images are checked by then
    assert len(trainings(worker)) == 1
    waiting = world.submit_request(FinetuneRequest(data=stored(world, archive(digits(3, 0))), epochs=1), owner="you")
    time.sleep(1)
    assert world.record(waiting).status is JobStatus.QUEUED  # another worker may take it
    world.cancel(waiting)
    world.cancel(job)
    assert world.until_over(job, timeout_s=LONG_S)[0].status is JobStatus.CANCELED
    world.until(lambda: not trainings(worker) and not left(world))
    assert vision_models(world) == ["tiny", "large"] and not (world.data / "vision").exists()


def test_a_run_begins_again_after_its_worker_died(world: World) -> None:
    job = submit(world, digits(20, 0, 1), name="new", full=True, epochs=5, batch_size=2)
    first = world.start_worker()
    world.until(lambda: bool(trainings(psutil.Process(first.pid))))
    (run,) = trainings(psutil.Process(first.pid))
    world.kill(first)
    world.until(lambda: not run.is_running())
    assert left(world)
    world.start_worker()
    (record,) = world.until_over(job, timeout_s=LONG_S)
    assert record.status is JobStatus.SUCCEEDED, record.error_message
    assert vision_models(world) == ["tiny", "large", "new"] and left(world) == []


@pytest.fixture
def made(tmp_path: Path, base: Path) -> Path:
    return save_small(tmp_path / "made")


def test_a_model_is_added_once_and_only_if_its_name_is_free(tmp_path: Path, made: Path, base: Path) -> None:
    settings, spec = Settings(data=tmp_path / "data"), VisionSpec(name="tiny", folder=base, licence="mit")
    assert "does not add" in str(register(Settings(data=tmp_path, register_finetuned=False), made, "new", spec, "1"))
    assert register(settings, made, "new", spec, "1") is None and not made.exists()
    added = Catalog.load(settings.catalog_path).vision["new"]
    assert (added.folder, added.licence, added.problem()) == (settings.data / "vision/new", "mit", None)
    again = save_small(tmp_path / "again")
    assert register(settings, again, "new", spec, "1") is None  # the job was delivered again after it had added it
    assert register(settings, again, "new", spec, "2") == "there is a vision model 'new' already"
    assert register(settings, again, "house", spec, "2") == "there is a model 'house' already, which draws"
    known = Catalog.load(settings.catalog_path).vision
    assert known["new"].trained_by_job and known.resolve(None) == known[EYES]
    (settings.data / "vision/other").mkdir()
    (settings.data / "vision/other/config.json").write_text("{}")
    assert "a folder of a vision model 'other' already" in str(register(settings, again, "other", spec, "2"))


def test_a_catalog_that_cannot_be_written_leaves_no_model(tmp_path: Path, made: Path, base: Path) -> None:
    settings, spec = Settings(data=tmp_path / "data"), VisionSpec(name="tiny", folder=base)
    settings.data.mkdir()
    settings.catalog_path.write_text("[models.broken]\n")
    assert "cannot be written" in str(register(settings, made, "new", spec, "1")) and made.exists()
    settings.catalog_path.unlink()
    (settings.data / ".catalog.toml.lock").mkdir()
    assert "cannot be written" in str(register(settings, made, "new", spec, "1"))
    assert list((settings.data / "vision").iterdir()) == []


def test_a_worker_that_trains_has_no_torch_itself() -> None:
    code = "import sys, workers.training.job; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
