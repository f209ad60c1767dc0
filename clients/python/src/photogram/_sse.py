"""Decodes server-sent events from a byte stream in chunks of any size."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Not str.splitlines(), which also splits at U+2028 and others that a prompt may contain.
# A CR at the end of the buffer stays there until the next byte shows whether an LF follows.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event with its raw data."""

    name: str
    data: str
    id: str | None


class FrameDecoder:
    """Collects bytes into frames; an incomplete frame at the end of the stream is dropped."""

    def __init__(self) -> None:
        self._buffer = b""
        self._name = ""
        self._data: list[str] = []
        self._id: str | None = None

    def feed(self, chunk: bytes) -> Iterator[Frame]:
        *lines, self._buffer = _LINE_END.split(self._buffer + chunk)
        for line in lines:
            if line:
                self._take(line.decode("utf-8", errors="replace"))
            else:
                yield from self._finish()

    def _take(self, line: str) -> None:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        elif field == "id":
            self._id = value

    def _finish(self) -> Iterator[Frame]:
        if self._data:
            yield Frame(self._name or "message", "\n".join(self._data), self._id)
        self._name, self._data = "", []
