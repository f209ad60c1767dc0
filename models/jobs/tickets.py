"""The ticket: one complete job, opened from a request once every choice is made and every bound is checked."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from models.catalog.catalog import Catalog
from models.jobs.kinds import find_kind
from models.jobs.params import JobParams, JobRequest


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One complete job; nothing about it is left for the worker to decide."""

    job_id: str
    kind: str
    owner: str
    """The id of the API key that submitted the job; only this key may read or cancel it."""
    params: JobParams
    image_id: str
    """The id that the first image of the job will have in the image store; it cannot be guessed."""


def open_ticket(request: JobRequest, catalog: Catalog, *, job_id: str, owner: str) -> Ticket:
    """The ticket for ``request``.

    Raises:
        InvalidTicket: with every problem found, if the request cannot be done. What this server lacks is reported as
            ``... not available: ...``.
    """
    params = complete(request, catalog)
    return Ticket(job_id=job_id, kind=request.kind, owner=owner, params=params, image_id=_image_id(job_id))


def complete(request: JobRequest, catalog: Catalog) -> JobParams:
    """The effective parameters of ``request``; raises :class:`~models.errors.InvalidTicket` with every problem."""
    return find_kind(request.kind).complete_request(request, catalog)


def _image_id(job_id: str) -> str:
    """The job's own id if it is a random UUID, so that clients that build ``{job}.png`` themselves find the image.

    A job id that the client chose can be guessed, and images need no key: such a job gets a random image id.
    """
    try:
        return job_id if str(uuid.UUID(job_id, version=4)) == job_id else str(uuid.uuid4())
    except ValueError:
        return str(uuid.uuid4())
