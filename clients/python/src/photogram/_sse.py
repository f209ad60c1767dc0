"""Server-sent events out of a byte stream, however it is cut into chunks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Not str.splitlines(): it also cuts at U+2028 and others, which may stand in a prompt.
# A CR at the end of the buffer stays there until it is known whether an LF follows.
_LINE_END = re.compile(rb"\r\n|\n|\r(?=[^\n])")


@dataclass(frozen=True, slots=True)
class Frame:
    """One event as it stood on the wire."""

    name: str
    data: str
    id: str | None


class FrameDecoder:
    """Fed with bytes, gives whole frames; a frame that the stream broke off is never given."""

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
