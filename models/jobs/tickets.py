"""The ticket: one complete job, opened from a request once every choice is made and every bound is checked."""

from __future__ import annotations

from dataclasses import dataclass

from models.catalog.catalog import Catalog
from models.errors import FieldProblem, InvalidTicket
from models.jobs.kinds import find_kind
from models.jobs.options import NO_OPTIONS, JobOptions
from models.jobs.params import JobParams, JobRequest
from models.jobs.records import new_job_id
from models.jobs.safety import OFF


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One complete job; nothing about it is left for the worker to decide."""

    job_id: str
    kind: str
    owner: str
    """The id of the API key that submitted the job; only this key may read or cancel it."""
    params: JobParams
    image_id: str
    """The id that the first image of the job will have in the image store; the server makes it, at random."""
    options: JobOptions = NO_OPTIONS
    safety: str = OFF
    """The safety policy for its images, one of ``models.jobs.safety.SAFETY``."""


def open_ticket(
    request: JobRequest,
    catalog: Catalog,
    *,
    owner: str,
    job_id: str | None = None,
    options: JobOptions = NO_OPTIONS,
) -> Ticket:
    """The ticket for ``request``.

    Args:
        job_id: the id that the client chose; ``None`` lets the server choose a random one.

    Raises:
        InvalidTicket: with every problem found, if the request cannot be done. What this server lacks is reported as
            ``... not available: ...``.
    """
    problems = list(options.problems())
    params, image_id = _complete_with(request, catalog, problems), new_job_id()
    # Clients of old APIs build the image's address from the id of the job. A job whose id the server has just drawn may
    # share it with its image; an id that a client chose may be known to others, or belong to an image that exists.
    return Ticket(
        job_id=job_id or image_id, kind=request.kind, owner=owner, params=params, image_id=image_id, options=options
    )


def _complete_with(request: JobRequest, catalog: Catalog, problems: list[FieldProblem]) -> JobParams:
    """As :func:`complete`; ``problems`` that were found before are reported together with those of the request."""
    try:
        params = complete(request, catalog)
    except InvalidTicket as error:
        raise InvalidTicket([*error.problems, *problems]) from error
    if problems:
        raise InvalidTicket(problems)
    return params


def complete(request: JobRequest, catalog: Catalog) -> JobParams:
    """The effective parameters of ``request``; raises :class:`~models.errors.InvalidTicket` with every problem."""
    return find_kind(request.kind).complete_request(request, catalog)
