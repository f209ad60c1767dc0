"""The choice among the candidates of a job: those whose images fit the prompt best, and well enough, are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL.Image import Image

from models.errors import InternalFailure, JobFailure, ScoreTooLow
from models.jobs.candidates import Candidate, candidates_document
from models.jobs.composition import plain_text
from models.jobs.params import DrawParams
from models.jobs.records import JobRecord
from models.jobs.results import Image as StoredImage
from models.jobs.results import Json
from models.jobs.seeds import candidate_seeds

if TYPE_CHECKING:
    from models.eyes.encoders import Vectors

log = logging.getLogger(__name__)

SCORE_DIGITS = 4

Fit = Callable[[Image, str], float]
"""How well an image fits a text, from -1 to 1; may be called from any thread."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for one job."""

    images: tuple[Image, ...]
    """Those that are kept, the best first."""
    records: tuple[JobRecord, ...]
    """For each of ``images``, the record of the job that draws it alone."""
    _seeds: tuple[int, ...]
    """For each of ``images``, its seed."""
    _scored: tuple[tuple[int, float], ...]
    """Seed and score of each candidate, in their order."""

    def document(self, stored: Sequence[StoredImage]) -> Json:
        """The JSON result of the job, whose ``images`` were ``stored``."""
        ids = {seed: image.image_id for seed, image in zip(self._seeds, stored, strict=True)}
        return candidates_document(
            [Candidate(seed=seed, score=score, image_id=ids.get(seed)) for seed, score in self._scored]
        )


def choose(record: JobRecord, images: Sequence[Image], fit: Fit, check: Callable[[], None]) -> Choice:
    """The best of ``images``, one of each candidate; of two with equal scores, the earlier one is better.

    Args:
        check: called before each image is scored; what it raises ends the choice.

    Raises:
        InternalFailure: the images cannot be scored.
        ScoreTooLow: none fits as well as ``min_score`` asks for; its document has all scores.
    """
    params = record.drawn_params
    assert isinstance(params, DrawParams)
    scores = _scores(plain_text(params.prompt), images, fit, check)
    seeds = candidate_seeds(params)
    best = sorted(range(len(images)), key=lambda index: -scores[index])[: params.keep]
    if params.min_score is not None:
        _require_score(seeds, scores, params.min_score)
        best = [index for index in best if scores[index] >= params.min_score]
    return Choice(
        tuple(images[index] for index in best),
        tuple(record.of_candidate(seeds[index]) for index in best),
        tuple(seeds[index] for index in best),
        tuple(zip(seeds, scores, strict=True)),
    )


def _require_score(seeds: Sequence[int], scores: Sequence[float], least: float) -> None:
    if max(scores) >= least:
        return
    candidates = [Candidate(seed=seed, score=score, image_id=None) for seed, score in zip(seeds, scores, strict=True)]
    raise ScoreTooLow(
        f"no image fits the prompt well enough: the best score is {max(scores)}, and must be at least {least}",
        "min_score",
        document=candidates_document(candidates),
    )


def _scores(text: str, images: Sequence[Image], fit: Fit, check: Callable[[], None]) -> list[float]:
    scores = []
    for image in images:
        check()
        try:
            scores.append(round(float(fit(image, text)), SCORE_DIGITS))
        except Exception as error:  # the model is a library's
            if isinstance(error, JobFailure):
                raise
            log.error("candidates could not be scored", exc_info=error)
            raise InternalFailure("the candidates of the job could not be compared with the prompt") from error
    return scores


def fit_by_eyes(image: Image, text: str) -> float:
    """How well ``image`` fits ``text`` for the built-in vision model, which the first call loads."""
    from models.eyes.encoders import image_encoder  # memory that a worker without candidates saves

    return float(image_encoder().encode(image) @ _vector(text))


@lru_cache(maxsize=16)
def _vector(text: str) -> Vectors:
    """The vector of ``text``, kept for the other candidates of the job."""
    from models.eyes.encoders import text_encoder

    vector: Vectors = text_encoder().encode([text])[0]
    return vector
