"""The safety policy: what it does with images that jobs make and start from, by the real classifier."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from redis import Redis

from models.catalog.catalog import Catalog
from models.catalog.vision import VisionModels, VisionSpec
from models.errors import ContentRefused, SafetyUnavailable
from models.jobs.params import DrawRequest
from models.jobs.records import JobStatus
from models.jobs.results import JobOutput
from models.jobs.safety import SAFETY, SafetyResult
from models.jobs.tickets import open_ticket
from service.backbone.settings import Settings, SettingsError
from service.backbone.store import FileStore, ImageStore
from tests.intake import BlockingIntake
from tests.models.provenance.samples import photograph
from tests.models.vision.rig import TINY, save
from tests.workers.parts import CATALOG, Parts, marking
from workers.executors import Finished
from workers.finish import Finish
from workers.safety import Safety

IMAGE = photograph(128, 9)
OUTPUT = JobOutput(images=(IMAGE,))
SOURCE = "input:" + "0" * 64


def refuse_all(image: Image.Image) -> str:
    return f"it is on a list ({image.mode})"


def allow_all(image: Image.Image) -> None:
    return None


def safety(catalog: Catalog = CATALOG, **settings: Any) -> Safety:
    """As the worker has it."""
    return Safety(Settings(**settings), lambda: catalog)


class Record:
    """A record as far as the policy reads it."""

    def __init__(self, policy: str, **params: Any) -> None:
        request = DrawRequest(**({"prompt": "x"} | params))
        self.safety_policy, self.params = policy, open_ticket(request, CATALOG, owner="me").params


def applied(policy: str, made: Safety) -> tuple[JobOutput, SafetyResult | None]:
    return made.apply(Record(policy), OUTPUT)  # type: ignore[arg-type]


def test_a_safe_image_stays_as_it_is_under_every_policy_and_is_scored_under_all_but_off() -> None:
    made = safety(safety_threshold=1.0)
    results = {policy: applied(policy, made) for policy in SAFETY}
    assert all(output is OUTPUT for output, _ in results.values())
    assert results["off"][1] is None
    assert all(0 <= results[policy][1].scores[0] < 0.5 for policy in SAFETY[1:])
    assert all(results[policy][1].flagged == (False,) for policy in SAFETY[1:])


def test_an_unsafe_image_is_tagged_blurred_or_refused() -> None:
    made = safety(safety_threshold=0.0)
    assert applied("off", made) == (OUTPUT, None)
    output, result = applied("tag", made)
    assert output is OUTPUT and result is not None and result.flagged == (True,)
    output, result = applied("blur", made)
    (blurred,) = output.images
    assert result is not None and result.flagged == (True,) and blurred.size == IMAGE.size
    assert _contrast(blurred) < _contrast(IMAGE) / 2
    with pytest.raises(ContentRefused, match="refuses the image"):
        applied("refuse", made)


def _contrast(image: Image.Image) -> int:
    """The largest difference of brightness of neighbouring pixels."""
    row = [image.convert("L").getpixel((x, image.height // 2)) for x in range(image.width)]
    return max(abs(first - second) for first, second in pairwise(row))  # type: ignore[operator]


@pytest.mark.parametrize(("policy", "is_refused"), [("off", False), ("tag", False), ("blur", True), ("refuse", True)])
def test_an_unsafe_image_that_a_job_starts_from(policy: str, is_refused: bool) -> None:
    record, made = Record(policy, kind="img2img", image=SOURCE), safety(safety_threshold=0.0)
    if not is_refused:
        made.check_inputs(record, {SOURCE: IMAGE})  # type: ignore[arg-type]
        return
    with pytest.raises(ContentRefused) as caught:
        made.check_inputs(record, {SOURCE: IMAGE})  # type: ignore[arg-type]
    assert caught.value.field == "image"


def test_it_fails_closed_or_open_as_the_server_says() -> None:
    with pytest.raises(SafetyUnavailable, match="'gone' of the safety policy is not in the catalog"):
        applied("tag", safety(safety_model="gone"))
    output, result = applied("refuse", safety(safety_model="gone", safety_fails="open"))
    assert output is OUTPUT and result is not None
    assert result.scores == () and "not in the catalog" in (result.problem or "")


def test_a_model_of_timm_scores_by_its_labels(tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("SFW\nNSFW\n")
    folder = save(TINY, tmp_path / "judge", num_classes=2)
    spec = VisionSpec(name="judge", folder=folder, labels=labels)
    catalog = Catalog({}, vision=VisionModels({"judge": spec}))
    result = applied("tag", safety(catalog, safety_model="judge"))[1]
    assert result is not None and result.classifier == "judge" and 0.2 < result.scores[0] < 0.8
    with pytest.raises(SafetyUnavailable, match="has none of the labels gore"):
        applied("tag", safety(catalog, safety_model="judge", safety_labels=("gore",)))


def test_the_operators_hook_refuses_whatever_the_policy() -> None:
    made = safety(safety_hook=f"{__name__}:refuse_all")
    with pytest.raises(ContentRefused, match=r"it is on a list \(RGB\)"):
        applied("off", made)
    with pytest.raises(ContentRefused) as caught:
        made.check_inputs(Record("off", kind="img2img", image=SOURCE), {SOURCE: IMAGE})  # type: ignore[arg-type]
    assert caught.value.field == "image"
    assert applied("off", safety(safety_hook=f"{__name__}:allow_all")) == (OUTPUT, None)
    with pytest.raises(SettingsError, match="PHOTOGRAM_SAFETY_HOOK"):
        safety(safety_hook="no_such_module:check")


@pytest.mark.parametrize(("threshold", "status"), [(0.0, JobStatus.FAILED), (1.0, JobStatus.SUCCEEDED)])
def test_a_refused_image_is_not_stored_and_another_has_its_scores_in_the_record(
    redis: Redis, tmp_path: Path, threshold: float, status: JobStatus
) -> None:
    parts = Parts(redis)
    images, files = ImageStore(tmp_path / "images"), FileStore(tmp_path / "files")
    finish = Finish(parts.consumer, images, files, marking(tmp_path), 60, safety=safety(safety_threshold=threshold))
    ticket = replace(open_ticket(DrawRequest(prompt="x"), CATALOG, owner="me"), safety="refuse")
    BlockingIntake(redis, 1000).accept(ticket, {})
    job = parts.consumer.take(1)
    assert job is not None and job.become_ready() and job.start_running() and job.start_ending()
    finish.succeed(job, Finished(job.execution_id, OUTPUT, {}))
    finish.close()

    record = parts.ledger.read(ticket.job_id)
    assert record is not None and record.status is status
    if status is JobStatus.FAILED:
        assert record.error_code == "content_refused" and images.find(ticket.image_id) is None
    else:
        assert record.safety is not None and record.safety.policy == "refuse" and len(record.safety.scores) == 1
