"""Refuses query parameters that take one value and are given several: all but one would be dropped in silence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import get_origin

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel

from models.errors import FieldProblem, InvalidTicket, ProblemCode
from service.api.auth import CurrentCaller


async def require_single_values(request: Request, caller: CurrentCaller) -> None:
    """The dependency of all native routes, which looks at the query once the API key is known.

    Raises:
        InvalidTicket: a parameter that is no list is given more than once.
    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    if counts.total() == len(counts):
        return
    problems = [
        FieldProblem(name, f"takes one value, and is given {counts[name]} times", ProblemCode.MALFORMED)
        for name in _names_of_one_value(request.scope["route"])
        if counts[name] > 1
    ]
    if problems:
        raise InvalidTicket(problems)


def _names_of_one_value(route: APIRoute) -> Iterator[str]:
    """The parameters of the route's query, which is one model, that are no lists."""
    for query in route.dependant.query_params:
        model = query.field_info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from (name for name, field in model.model_fields.items() if get_origin(field.annotation) is not list)
