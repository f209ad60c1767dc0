"""Names of parameters as the paths of fields in native bodies; ``service.api.job_bodies`` translates the bodies."""

from __future__ import annotations

_ENVELOPE = ("kind", "webhook")
"""The fields of a body beside the parameters."""


def wire_name(field: str) -> str:
    """The path of the parameter ``field`` in a native body."""
    return field if field.partition(".")[0] in _ENVELOPE else f"params.{field}"
