"""How the images of jobs are marked: by the level of the job, by what they were made from, and never at their cost."""

from __future__ import annotations

import logging
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.catalog.catalog import Catalog
from models.jobs.params import C2PA, IPTC, NONE, UNMARKED, WATERMARK, DrawRequest, UpscaleRequest
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import open_ticket
from models.media.iptc import COMPOSITE, ENHANCED, TRAINED, packet, source_type
from models.provenance.reading import inspect
from models.provenance.signing import manifest_bytes
from service.backbone.inputs import InputStore
from service.backbone.provenance import Signing
from service.backbone.settings import Settings
from service.backbone.store import ImageStore
from tests.models.provenance.samples import encoded, photograph
from tests.workers.parts import marking
from workers.marking import Marking

IMAGE_512 = photograph(512, 9)
CATALOG = Catalog({})


def record_of(request: Any, **changes: Any) -> JobRecord:
    ticket = open_ticket(request, CATALOG, owner="me")
    return JobRecord(
        job_id=ticket.job_id, kind=ticket.kind, owner="me", status=JobStatus.RUNNING,
        params=replace(ticket.params, **changes), requested={}, image_id=ticket.image_id, step=1, steps=1, images=(),
        document=None, files=(), timings={}, error_code=None, error_message=None, created_at=0.0, started_at=0.0,
        finished_at=None,
    )  # fmt: skip


def drawn(**changes: Any) -> JobRecord:
    return record_of(DrawRequest(prompt="a secret prompt"), **changes)


def upscaled(source: str, upscaler: str = "Lanczos", **changes: Any) -> JobRecord:
    return record_of(UpscaleRequest(image=source), upscaler=upscaler, **changes)


def no_deadline() -> None:
    """The deadline of a job that has time left."""


def told(marks: Marking, record: JobRecord) -> dict[str, Any]:
    return inspect(marks.encode(IMAGE_512, record, no_deadline), marks._signing.certificate())


@pytest.mark.parametrize(
    ("level", "iptc", "is_signed", "has_watermark"),
    [(UNMARKED, None, False, False), (IPTC, TRAINED, False, False), (C2PA, TRAINED, True, False),
     (WATERMARK, TRAINED, True, True)],
)  # fmt: skip
def test_each_level_adds_a_mark(
    tmp_path: Path, level: str, iptc: str | None, is_signed: bool, has_watermark: bool
) -> None:
    record = drawn(provenance=level)
    found = told(marking(tmp_path), record)
    assert (found["digital_source_type"], found["c2pa"] is not None) == (iptc, is_signed)
    assert (found["watermark"] or {}).get("id") == (record.image_id[:8] if has_watermark else None)
    assert found["parameters"].startswith("a secret prompt")


@pytest.mark.parametrize("level", [UNMARKED, IPTC, C2PA])
def test_only_the_watermark_changes_pixels(tmp_path: Path, level: str) -> None:
    data = marking(tmp_path).encode(IMAGE_512, drawn(provenance=level), no_deadline)
    assert Image.open(BytesIO(data)).tobytes() == IMAGE_512.tobytes()


def test_a_manifest_quotes_no_prompt_and_names_no_model_without_metadata(tmp_path: Path) -> None:
    marks = marking(tmp_path)
    (action,) = told(marks, drawn())["c2pa"]["actions"]
    assert action["description"] == "txt2img with the model house"
    silent = marks.encode(IMAGE_512, drawn(metadata=NONE), no_deadline)
    assert b"secret" not in silent and b"house" not in silent and manifest_bytes(silent)


@pytest.mark.parametrize(
    ("before", "upscaler", "wanted"),
    [(None, "Lanczos", ENHANCED), (None, "trained", COMPOSITE), (TRAINED, "Lanczos", TRAINED),
     (TRAINED, "trained", TRAINED), (COMPOSITE, "Lanczos", COMPOSITE)],
)  # fmt: skip
def test_an_edit_of_a_photograph_is_a_composite(tmp_path: Path, before: str | None, upscaler: str, wanted: str) -> None:
    xmp = {} if before is None else {"xmp": packet(before).encode()}
    sha256 = InputStore(tmp_path / "inputs").add(encoded(photograph(64), "JPEG", **xmp))
    found = told(marking(tmp_path), upscaled(f"input:{sha256}", upscaler))
    assert found["digital_source_type"] == wanted
    assert found["c2pa"]["ingredients"] == [f"input:{sha256}"]
    assert [each["action"] for each in found["c2pa"]["actions"]] == ["c2pa.opened", "c2pa.edited"]


def test_an_edit_of_our_own_image_carries_its_manifest(tmp_path: Path) -> None:
    marks = marking(tmp_path)
    first = marks.encode(IMAGE_512, drawn(), no_deadline)
    image_id = ImageStore(tmp_path / "images").add(first)
    edit = marks.encode(IMAGE_512, upscaled(f"image:{image_id}"), no_deadline)
    assert manifest_bytes(edit) > manifest_bytes(first) + 2000
    found = inspect(edit, marks._signing.certificate())
    assert found["c2pa"]["state"] == "valid" and found["digital_source_type"] == TRAINED


@pytest.mark.parametrize(
    "source", ["https://user:secret@example.org/a.png?token=secret", "image:00000000-0000-4000-8000-000000000000"]
)
def test_an_image_that_is_not_here_is_named_without_its_secrets(tmp_path: Path, source: str) -> None:
    record = replace(upscaled("input:" + "0" * 64, "trained", metadata=NONE))
    record = replace(record, params=replace(record.params, image=source))
    data = marking(tmp_path).encode(IMAGE_512, record, no_deadline)
    assert b"secret" not in data and inspect(data)["c2pa"]["state"] == "untrusted"
    assert inspect(data)["digital_source_type"] == COMPOSITE


def test_a_kind_without_the_parameter_is_marked_as_the_server_says(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, provenance=IPTC)
    marks = Marking(Signing(settings), ImageStore(tmp_path / "images"), InputStore(tmp_path / "inputs"), IPTC)
    data = marks.encode(IMAGE_512, drawn(provenance=None), no_deadline)
    assert source_type(Image.open(BytesIO(data))) == TRAINED and not manifest_bytes(data)


def test_an_image_that_cannot_be_signed_is_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "provenance").mkdir()
    (tmp_path / "provenance" / "certificate.pem").write_text("nonsense")
    (tmp_path / "provenance" / "key.pem").write_text("nonsense")
    marks = marking(tmp_path)
    with caplog.at_level(logging.ERROR):
        files = [marks.encode(IMAGE_512, drawn(), no_deadline) for _ in range(3)]
    assert all(source_type(Image.open(BytesIO(each))) == TRAINED and not manifest_bytes(each) for each in files)
    assert len([each for each in caplog.records if "cannot be signed" in each.message]) == 1
