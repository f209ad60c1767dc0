"""Names of parameters and options as the paths of fields in native bodies, which ``job_bodies`` translates."""

from __future__ import annotations

import re

from models.jobs.options import OPTION

_ENVELOPE = ("kind", "webhook")
"""The fields of a body beside the parameters and the options."""
_IN_BATCH = re.compile(r"(?P<item>jobs\[[0-9]+\]\.)?(?P<field>.*)", re.DOTALL)


def wire_name(field: str) -> str:
    """The path in a native body of a parameter, of an option, or of either in an item of a batch."""
    found = _IN_BATCH.fullmatch(field)
    assert found is not None
    item, name = found["item"] or "", found["field"]
    if name.startswith(OPTION):
        return item + name.removeprefix(OPTION)
    return item + (name if name.partition(".")[0] in _ENVELOPE else f"params.{name}")
