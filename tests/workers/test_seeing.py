"""A real worker sees: the document of a job comes from the queue to the ledger, and the engine draws beside it."""

from __future__ import annotations

from typing import Any

from PIL import Image

from models.catalog.catalog import Catalog
from models.jobs.records import JobStatus
from models.jobs.vision import ClassifyRequest, SimilarityRequest
from service.backbone.inputs import InputStore
from service.backbone.settings import Settings
from tests.models.vision.rig import TINY, save, smooth_noise
from tests.workers.conftest import World


def test_a_worker_sees_and_draws(world: World, tmp_path: Any) -> None:
    folder = save(TINY, tmp_path / "eyes")
    path = world.data / "catalog.toml"
    path.write_text(f'{path.read_text()}\n[vision.eyes]\nfolder = "{folder}"\n')
    world._catalog = Catalog.load(path)
    inputs = InputStore(Settings(data=world.data).inputs_folder)
    first, second = (f"input:{_stored(inputs, smooth_noise(seed), world.data / f'{seed}.png')}" for seed in (1, 2))
    drawn = world.submit()
    labels = world.submit_request(ClassifyRequest(image=first, top_k=3))
    likeness = world.submit_request(SimilarityRequest(image=first, others=(first, second)))
    world.start_worker()
    records = world.until_over(drawn, labels, likeness)
    assert [record.status for record in records] == [JobStatus.SUCCEEDED] * 3
    document: Any = records[1].document
    assert document["model"] == "eyes" and len(document["labels"]) == 3
    similarities: Any = records[2].document
    assert similarities["similarities"][0] > 0.9999 > similarities["similarities"][1]


def _stored(inputs: InputStore, image: Image.Image, file: Any) -> str:
    image.save(file)
    return inputs.add(file.read_bytes())
