"""The function of the job kind ``finetune``: lays out the data set, has the model trained, and gives back its files."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

from models.catalog.vision import VisionSpec
from models.errors import InputUnavailable, ModelUnavailable, TrainingFailed
from models.jobs.finetuning import PROGRESS_STEPS, FinetuneParams, LabelledImage
from models.jobs.results import FileOutput, JobOutput, Json
from models.vision.finetuning.examples import LABEL_COLUMN, PATH_COLUMN
from models.vision.finetuning.options import Options
from models.vision.finetuning.orders import ARCHIVE, DATA, Order
from workers.functions import FunctionCall
from workers.processes import FOLDER, JobProcess
from workers.scratch import disk_problems_as, scratch_folder
from workers.training.registering import register

_TRAINING = JobProcess("models.vision.finetuning.process", "training")
_UNNAMED = "model"
_MEDIA_TYPES = {".json": "application/json", ".html": "text/html; charset=utf-8"}
_OTHER = "application/octet-stream"


def finetune(call: FunctionCall) -> JobOutput:
    """Train in a process of its own; the model is in the catalog when this returns, or the document says why not.

    Raises:
        JobCanceled: the job was canceled.
        JobFailure: the data set, the model or the disk is not fit for it.
    """
    params = call.params
    assert isinstance(params, FinetuneParams)
    base = call.catalog.vision.resolve(params.model)
    if base is None:
        raise ModelUnavailable(f"the vision model {params.model!r} is no longer in the catalog", "model")
    with disk_problems_as(TrainingFailed, "the data set"), scratch_folder(call.settings.data / FOLDER) as scratch:
        _lay_out(call, params, scratch)
        order = Order(base, Path("made", params.name or _UNNAMED), _options(params), params.multi_label)
        document = _followed(call, order, scratch)
        made = scratch / order.place
        files = tuple(_file(path) for path in sorted(made.iterdir()))
        call.raise_if_canceled()
        return JobOutput(document={**_place_of(call, params, made, base), **document}, files=files)


def _lay_out(call: FunctionCall, params: FinetuneParams, folder: Path) -> None:
    """Put the archive, or the images with a CSV file of their labels, into the working folder of the run."""
    if params.data is not None:
        _copy(call, params.data, folder / ARCHIVE)
        return
    (folder / DATA).mkdir()
    with (folder / DATA / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow((PATH_COLUMN, LABEL_COLUMN))
        for index, each in enumerate(params.images):
            call.raise_if_canceled()
            table.writerow((_example(call, each, folder / DATA / f"images[{index}]"), each.label))


def _example(call: FunctionCall, image: LabelledImage, place: Path) -> str:
    """The name of the file at ``place``, which is missing if the image is gone: then it is skipped and listed."""
    try:
        _copy(call, image.image, place)
    except InputUnavailable:
        place.unlink(missing_ok=True)
    return place.name


def _copy(call: FunctionCall, source: str, place: Path) -> None:
    with call.open_source(source) as stored, place.open("wb") as file:
        shutil.copyfileobj(stored, file, 1 << 20)


def _options(params: FinetuneParams) -> Options:
    return Options(
        is_full=params.full,
        epochs=params.epochs,
        patience=params.patience,
        batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        held_out=params.held_out,
        seed=params.seed,
        min_scale=params.min_scale,
        flip=params.flip,
        augment=params.augment,
    )


def _followed(call: FunctionCall, order: Order, scratch: Path) -> dict[str, Json]:
    """What came of the run; its events are reported meanwhile."""
    epochs: list[Json] = []
    document: dict[str, Json] = {}
    for event in _TRAINING.events(call, order.to_line(), scratch):
        match event["event"]:
            case "progress":
                call.report(round(event["share"] * PROGRESS_STEPS), PROGRESS_STEPS)
            case "prepared":
                call.tell(event)
                document |= _without_name(event)
            case "epoch":
                call.tell(event)
                epochs.append(_without_name(event))
            case "finetuned":
                document |= {"best_epoch": event["epoch"]["number"], "scores": event["epoch"]["scores"]}
    return {**document, "epochs": epochs}


def _without_name(event: dict[str, Any]) -> dict[str, Json]:
    return {name: value for name, value in event.items() if name != "event"}


def _file(path: Path) -> FileOutput:
    return FileOutput(path.name, _MEDIA_TYPES.get(path.suffix, _OTHER), path.read_bytes())


def _place_of(call: FunctionCall, params: FinetuneParams, made: Path, base: VisionSpec) -> dict[str, Json]:
    """What the result says of the model's place in the catalog; the model is added to it now."""
    if params.name is None:
        return {"base": base.name, "model": None, "not_in_catalog": "the request has no name for it"}
    problem = register(call.settings, made, params.name, base, call.job_id)
    return {"base": base.name, "model": params.name if problem is None else None, "not_in_catalog": problem}
