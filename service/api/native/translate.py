"""From the native body of a job to its request, and from parameter names to the native names of fields."""

from __future__ import annotations

from collections.abc import Iterable

from models.errors import FieldProblem, InvalidTicket, Problem, ProblemCode
from models.jobs.kinds import JobKind, job_kinds
from service.api.bodies import validated
from service.api.native.schemas import JobEnvelope, envelope


def parse_job(document: object, kinds: Iterable[JobKind] | None = None, prefix: str = "") -> JobEnvelope:
    """The job in ``document``, a value that came as JSON.

    Args:
        kinds: the kinds that are accepted; ``None`` accepts all that are registered.
        prefix: the path of ``document`` in the whole body, ending in a dot if it is not empty.

    Raises:
        InvalidTicket: the kind is not accepted, or the parameters do not have its shape.
    """
    accepted = {kind.name: kind for kind in (job_kinds() if kinds is None else kinds)}
    if not isinstance(document, dict):
        raise InvalidTicket([FieldProblem(prefix.rstrip(".") or "body", "must be an object", ProblemCode.MALFORMED)])
    name = document.get("kind")
    kind = accepted.get(name) if isinstance(name, str) else None
    if kind is None:
        allowed = tuple(accepted)
        problem = Problem(f"must be one of {', '.join(allowed)}", ProblemCode.NOT_ALLOWED, allowed=allowed)
        raise InvalidTicket([FieldProblem.of(prefix + "kind", problem)])
    return validated(envelope(kind), document, prefix)


def wire_name(field: str) -> str:
    """The native path of the parameter ``field``."""
    return field if field == "kind" else f"params.{field}"
