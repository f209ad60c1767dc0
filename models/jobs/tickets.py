"""The ticket: one complete job, opened from a request once every choice is made and every bound is checked."""

from __future__ import annotations

from dataclasses import dataclass

from models.catalog.catalog import Catalog
from models.jobs.kinds import find_kind
from models.jobs.params import JobParams, JobRequest
from models.jobs.records import new_job_id


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


def open_ticket(request: JobRequest, catalog: Catalog, *, owner: str, job_id: str | None = None) -> Ticket:
    """The ticket for ``request``.

    Args:
        job_id: the id that the client chose; ``None`` lets the server choose a random one.

    Raises:
        InvalidTicket: with every problem found, if the request cannot be done. What this server lacks is reported as
            ``... not available: ...``.
    """
    params, image_id = complete(request, catalog), new_job_id()
    # Clients of old APIs build the image's address from the id of the job. A job whose id the server has just drawn may
    # share it with its image; an id that a client chose may be known to others, or belong to an image that exists.
    return Ticket(job_id=job_id or image_id, kind=request.kind, owner=owner, params=params, image_id=image_id)


def complete(request: JobRequest, catalog: Catalog) -> JobParams:
    """The effective parameters of ``request``; raises :class:`~models.errors.InvalidTicket` with every problem."""
    return find_kind(request.kind).complete_request(request, catalog)
