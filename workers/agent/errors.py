"""What ends an agent job, or a part of it, early.

PhotogramError
├── BudgetSpent      the budget has no room for a further step
├── StepsDiverged    the record has another step than the one that is to be taken
├── ExecutionLost    the job has ended, or another worker runs it
└── NoUsefulAnswer   a language model failed, or gave no answer that can be used; never leaves a planner
"""

from __future__ import annotations

from models.errors import PhotogramError


class BudgetSpent(PhotogramError):
    """The budget has no room for a further step; the message says of what nothing is left."""


class StepsDiverged(PhotogramError):
    """The record has another step than the one that is to be taken: it was made by another version of the code."""


class ExecutionLost(PhotogramError):
    """The job has ended, or another worker runs it."""


class NoUsefulAnswer(PhotogramError):
    """The language model failed, or none of its answers could be used; the message is for people."""
