"""Names of parameters as the paths of fields in native bodies; ``service.api.job_bodies`` translates the bodies."""

from __future__ import annotations


def wire_name(field: str) -> str:
    """The path of the parameter ``field`` in a native body."""
    return field if field == "kind" else f"params.{field}"
