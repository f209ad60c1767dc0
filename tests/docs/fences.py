"""The fenced snippets of a Markdown page, each with what a comment before it says of its execution."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>not executed|refused): (?P<reason>[^\n]+) -->\n\n?)?"
    r"^(?P<indent> *)```(?P<language>[^\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Fence:
    """One snippet.

    Args:
        mark: ``not executed``, ``refused`` (it is executed and must be refused), or empty.
        reason: of the mark.
    """

    language: str
    text: str
    mark: str
    reason: str
    line: int


def fences(page: Path) -> list[Fence]:
    """All snippets of ``page`` in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Fence(
            language=found["language"].strip(),
            text=textwrap.dedent(found["text"]),
            mark=found["mark"] or "",
            reason=found["reason"] or "",
            line=text.count("\n", 0, found.start("language")) + 1,
        )
        for found in _FENCE.finditer(text)
    ]
