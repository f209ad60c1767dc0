"""Stop strings, found wherever the tokens' borders are, of which no part ever gets out."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Lets a text pass up to the first stop string; what may yet become one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """What of the text up to here may go out now, and whether a stop string ended it.

        The stop string that is complete first counts, the longest if there are several: how the text is cut into pieces
        makes no difference.
        """
        text = self._held + text
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            return text[: min(found)[1]], True
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept], False

    def rest(self) -> str:
        """What was held back for nothing, once the text is over."""
        rest, self._held = self._held, ""
        return rest


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` are the start of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((length for length in range(longest, 0, -1) if text.endswith(stop[:length])), 0)
