"""What a job is likely to disappoint its user with, although it can be run, or was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models.catalog.backends import UNPROVED
from models.catalog.catalog import HOUSE
from models.catalog.concepts import concepts_count, words_not_taught
from models.errors import quoted
from models.jobs.agents import AgentParams
from models.jobs.params import DrawParams, JobParams
from models.jobs.results import Json

_NAMED_MAX = 5


def warnings_of(params: JobParams, backends: Sequence[str] = (), document: Json = None) -> list[str]:
    """The warnings of a job with these parameters, with what ran its models and with its document; mostly none."""
    return [*_warnings(params), *_unproved(backends), *_of_agent(params, document)]


def _of_agent(params: JobParams, document: Json) -> Iterator[str]:
    """What an agent job tells of the jobs that it ran, and of what people said."""
    if isinstance(params, AgentParams) and isinstance(document, dict):
        found = document.get("warnings")
        yield from map(str, found if isinstance(found, list) else ())


def _unproved(backends: Sequence[str]) -> Iterator[str]:
    for name in backends:
        if name.endswith(UNPROVED):
            yield (
                f"the model ran on its package {name.removesuffix(UNPROVED)}, which did not pass its checks and was "
                "forced; its images may differ from those of torch"
            )


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
