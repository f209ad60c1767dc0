"""Registers the toy kinds when it is imported; PHOTOGRAM_JOB_KINDS of the tests' workers names it."""

from __future__ import annotations

from models.jobs.kinds import register
from tests.workers.toys import KINDS

for kind in KINDS:
    register(kind)
