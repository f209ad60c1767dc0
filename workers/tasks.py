"""The function that RQ's records name; our worker never calls it, it reads the ledger and feeds the engine."""

from __future__ import annotations


def draw(job_id: str) -> None:
    """Refuse: a plain RQ worker holds no model and cannot draw.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(f"job {job_id} can only be drawn by `photogram worker`")
