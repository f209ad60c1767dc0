"""What the record of a job says of its candidates: the seed and the score of each, and the image of those kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.jobs.params import DrawParams
from models.jobs.payload import Payload
from models.jobs.records import JobRecord, JobStatus
from models.jobs.results import Json

_KEY = "best_of"


@dataclass(frozen=True, kw_only=True)
class Candidate(Payload):
    """One candidate of a job whose images were compared with the prompt."""

    seed: int
    score: float
    """How similar its image is to the prompt, from -1 to 1."""
    image_id: str | None
    """``None`` if its image was not kept, or is deleted."""


def candidates_document(candidates: Sequence[Candidate]) -> Json:
    """The JSON result of a job with these candidates, in the order of their seeds, also if none of them is kept."""
    return {_KEY: [each.to_payload() for each in candidates]}


def shown_document(record: JobRecord) -> Json:
    """The JSON result of the job, in which candidates have no image any more that was deleted."""
    candidates = _candidates(record)
    if not candidates:
        return record.document
    there = {image.image_id for image in record.images}
    return candidates_document(
        [each if each.image_id in there else replace(each, image_id=None) for each in candidates]
    )


def seed_of(record: JobRecord, image_id: str) -> int | None:
    """The seed with which the image of the job was drawn; ``None`` of kinds without one."""
    usual = record.params.seed if isinstance(record.params, DrawParams) else None
    return next((each.seed for each in _candidates(record) if each.image_id == image_id), usual)


def first_seed(record: JobRecord) -> int | None:
    """The seed of the first image, for clients that know one image of a job; until there is one, of the parameters."""
    return seed_of(record, record.images[0].image_id if record.images else "")


def _candidates(record: JobRecord) -> list[Candidate]:
    if not record.params.is_scored or record.status is not JobStatus.SUCCEEDED or not isinstance(record.document, dict):
        return []
    listed = record.document.get(_KEY)
    return (
        [Candidate.from_payload(each) for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    )
