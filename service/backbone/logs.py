"""The logging set-up of all processes: lines on standard error, as text or JSON, without what callers wrote.

``PHOTOGRAM_LOG_LEVEL`` is the lowest level. ``PHOTOGRAM_LOG_FORMAT=json`` writes one JSON object for each record.
``PHOTOGRAM_LOG_PROMPTS=1`` adds prompts, and the messages of exceptions that may quote a request.
"""

from __future__ import annotations

import json
import logging
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from models.errors import JobFailure, ModelUnavailable

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_TALKATIVE = ("httpx", "httpx2", "httpcore", "httpcore2", "mcp", "python_multipart", "PIL", "urllib3", "rq")
"""Libraries that log contents of requests, or a line for each request, at INFO or DEBUG."""
_OF_THE_SYSTEM = (OSError, RuntimeError, MemoryError, ImportError)
"""Errors with messages about the machine, like those of Redis; others, such as ``ValueError``, may quote a request."""
_WITHHELD = "(message withheld: it may quote a request; PHOTOGRAM_LOG_PROMPTS=1 shows it)"
_MESSAGE_MAX_CHARS = 2000
_UNSAFE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN = re.compile(r"[A-Za-z0-9_.:/+@*<>{}\[\]-]+")


def configure_logging(process: str, environment: Mapping[str, str] = os.environ) -> None:
    """Log under the name ``process``; an unknown level means INFO, an unknown format text."""
    level = environment.get("PHOTOGRAM_LOG_LEVEL", "").upper()
    level = level if level in _LEVELS else "INFO"
    handler = logging.StreamHandler()
    is_json = environment.get("PHOTOGRAM_LOG_FORMAT", "").lower() == "json"
    handler.setFormatter((JsonFormatter if is_json else TextFormatter)(process, shows_prompts(environment)))
    logging.basicConfig(level=level, handlers=[handler])
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel("WARNING")


def shows_prompts(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether the operator wants to see in the log what callers wrote."""
    return environment.get("PHOTOGRAM_LOG_PROMPTS") == "1"


def told(error: BaseException) -> str:
    """``error`` in a log line: its type, and its message unless that may quote a request."""
    return _told(error, shows_prompts())


def told_failure(failure: JobFailure) -> str:
    """A job's failure in a log line; what a library said is shown unless it may quote a request."""
    if failure.detail is None:
        return told(failure)
    is_shown = isinstance(failure, ModelUnavailable) or shows_prompts()
    return f"{told(failure)} ({_safe(failure.detail) if is_shown else failure.detail.partition(':')[0]})"


def with_fields(fields: Mapping[str, object]) -> dict[str, Any]:
    """The ``extra`` of a log call: names and values that follow the message, or become members of the JSON object."""
    return {"fields": dict(fields)}


class TextFormatter(logging.Formatter):
    """One line for each record, then its traceback, indented; nothing in a record can begin another line."""

    def __init__(self, process: str, shows_prompts: bool) -> None:
        super().__init__()
        self._process, self._shows_prompts = process, shows_prompts

    def format(self, record: logging.LogRecord) -> str:
        fields = getattr(record, "fields", {})
        parts = [_time(record), self._process, record.levelname, _safe(record.getMessage())]
        parts += [f"{name}={_shown(value)}" for name, value in fields.items() if value is not None]
        lines = [" ".join(parts), *(f"    {_safe(line)}" for line in _traceback(record, self._shows_prompts))]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object in one line for each record."""

    def __init__(self, process: str, shows_prompts: bool) -> None:
        super().__init__()
        self._process, self._shows_prompts = process, shows_prompts

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": _time(record),
            "process": self._process,
            "level": record.levelname,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in getattr(record, "fields", {}).items() if value is not None}
        lines = list(_traceback(record, self._shows_prompts))
        if lines:
            entry["traceback"] = "\n".join(lines)
        return json.dumps(entry, default=str)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _safe(text: str) -> str:
    """``text`` in one line, with control characters as escapes."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode(), text)


def _shown(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _traceback(record: logging.LogRecord, shows_prompts: bool) -> Iterator[str]:
    """The frames of the record's exception and of its causes, the first cause first."""
    error = record.exc_info[1] if record.exc_info else None
    chain: list[BaseException] = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for each in reversed(chain):
        for frame in traceback.format_tb(each.__traceback__):
            yield from frame.rstrip("\n").split("\n")
        yield _told(each, shows_prompts)


def _told(error: BaseException, shows_prompts: bool) -> str:
    is_shown = shows_prompts or isinstance(error, _OF_THE_SYSTEM) or type(error).__module__.startswith("redis.")
    message = str(error)[:_MESSAGE_MAX_CHARS] if is_shown else _WITHHELD
    return f"{type(error).__name__}: {_safe(message)}"
