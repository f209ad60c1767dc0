"""The filters of lists."""

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict


class JobFilters(TypedDict, total=False):
    """Which jobs are listed: those that pass every filter that is given."""

    status: str | Sequence[str]
    """Any of these; so are `kind` and `model`."""
    kind: str | Sequence[str]
    model: str | Sequence[str]
    tag: str | Sequence[str]
    """All of these."""
    metadata: dict[str, str]
    """All of these."""
    search: str
    """Words that must all occur in the prompt, in whatever case."""
    created_after: datetime
    """Accepted at or after this time, which must have a time zone; so must `created_before`."""
    created_before: datetime
    """Accepted before this time."""
