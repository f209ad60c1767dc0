"""What a job is likely to disappoint its user with, although it can be run."""

from __future__ import annotations

from collections.abc import Iterator

from models.catalog.catalog import HOUSE
from models.catalog.concepts import concepts_count, words_not_taught
from models.errors import quoted
from models.jobs.params import DrawParams, JobParams

_NAMED_MAX = 5


def warnings_of(params: JobParams) -> list[str]:
    """The warnings of a job with these parameters, for people; mostly none."""
    return list(_warnings(params))


def _warnings(params: JobParams) -> Iterator[str]:
    if not isinstance(params, DrawParams) or params.model != HOUSE:
        return
    unknown = words_not_taught(params.prompt)
    if unknown:
        named = ", ".join(quoted(word) for word in unknown[:_NAMED_MAX])
        more = f" and {len(unknown) - _NAMED_MAX} more" if len(unknown) > _NAMED_MAX else ""
        yield (
            f"the built-in model was not taught {named}{more}, and draws whatever is nearest of the {concepts_count()} "
            "things that it knows (models/house/concepts.txt)"
        )
