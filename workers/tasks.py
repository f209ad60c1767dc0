"""The function that RQ's records of jobs name; Photogram's workers read the ledger and never call it."""

from __future__ import annotations


def draw() -> None:
    """Refuse to run: RQ's own workers cannot run these jobs.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError("jobs can only be run by `photogram worker`")
