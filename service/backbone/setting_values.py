"""The values of settings as text: each function here reads one sort of value.

Each raises :class:`ValueError` for a text that is not valid; its message completes a sentence that begins with the name
of the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

from models.catalog.backends import AUTO
from models.catalog.names import did_you_mean
from models.errors import quoted
from models.jobs.urls import MalformedUrl, host_pattern, parse_url, without_credentials
from service.backbone.keys import key_problem

DURATION_MAX_S = 100 * 366 * 24 * 3600
"""The longest time that anything may be kept or waited for: 100 years, which clocks and timers can count."""
_WHOLE_MAX = 10**15
"""Scripts of Redis count in floating point."""
_DIGITS_MAX = 18
_WORKERS_MAX = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HOST = re.compile(r"(\*\.)?[a-z0-9_][a-z0-9._-]*(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_DEVICE = re.compile(rf"{AUTO}|cpu|cuda(:(0|[1-9][0-9]{{0,2}}))?")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?P<prefix>/[A-Za-z0-9!_.*'()/-]{1,200}?)?/?")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")


def text(value: str) -> str:
    """A line of text; the error does not contain it, because it may be a secret."""
    if not value.isprintable():
        raise ValueError("must not contain line breaks or other characters that cannot be printed")
    return value


def secret(value: str) -> str:
    """A key as HTTP headers carry it; the error does not contain it."""
    if not (value.isascii() and value.isprintable()) or " " in value:
        raise ValueError("must have only visible characters of ASCII, and no spaces or line breaks")
    return value


def device(value: str) -> str:
    """Where models run."""
    if not _DEVICE.fullmatch(value):
        raise ValueError(f"must be {AUTO}, cpu, cuda, or one GPU such as cuda:1, not {value!r}")
    return value


def flag(value: str) -> bool:
    """``1`` or ``0``."""
    if value not in ("0", "1"):
        raise ValueError(f"must be one of 0, 1, not {value!r}")
    return value == "1"


def folder(value: str) -> Path:
    """An absolute path; ``~`` is the home folder."""
    if _CONTROL.search(value):
        raise ValueError(f"must be a path without line breaks and other control characters, not {quoted(value)}")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise ValueError(f"must be a path, and nobody knows the home folder of {quoted(value)}") from error


def whole(lowest: int = 1, highest: int = _WHOLE_MAX) -> Callable[[str], int]:
    """Whole numbers from ``lowest`` to ``highest``."""

    def read(value: str) -> int:
        is_whole = value.isascii() and value.isdecimal()
        number = int(value[:_DIGITS_MAX]) if is_whole else lowest - 1
        if number < lowest:
            raise ValueError(f"must be a whole number of at least {lowest}, not {quoted(value)}")
        if len(value) > _DIGITS_MAX or number > highest:
            raise ValueError(f"must be at most {highest}, not {quoted(value)}")
        return number

    return read


def whole_or_none(value: str) -> int | None:
    """A whole number above 0; ``0`` is ``None``."""
    return whole(0)(value) or None


def whole_or_auto(value: str) -> int | None:
    """How many workers, at least one; ``auto`` is ``None``."""
    if value == AUTO:
        return None
    try:
        return whole(1, _WORKERS_MAX)(value)
    except ValueError:
        message = f"must be {AUTO} or a whole number of at least 1 and at most {_WORKERS_MAX}, not {quoted(value)}"
        raise ValueError(message) from None


def whole_seconds(value: str) -> float:
    """A whole number of seconds above 0."""
    return float(whole(1, DURATION_MAX_S)(value))


def seconds(value: str) -> float:
    """A number of seconds above 0."""
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= DURATION_MAX_S:
        raise ValueError(f"must be a number of seconds above 0, and at most 100 years, not {quoted(value)}")
    return number


def share(value: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError(f"must be a number from 0 to 1, not {value!r}")
    return number


def names(value: str) -> tuple[str, ...]:
    """One or more names that are separated by commas."""
    if not _words(value):
        raise ValueError(f"must be names, separated by commas, not {value!r}")
    return _words(value)


def function(value: str) -> str:
    """A function as ``module:name``."""
    module, _, name = value.partition(":")
    if not _is_module(module) or not name.isidentifier():
        raise ValueError(f"must be a function as module:name, not {quoted(value)}")
    return value


def bucket(value: str) -> str:
    """A place in a bucket: ``s3://bucket`` or ``s3://bucket/prefix``, without a slash at its end."""
    found = _BUCKET.fullmatch(value)
    if found is None or {"", ".", ".."} & set((found["prefix"] or "/-")[1:].split("/")):
        raise ValueError(f"must be s3://bucket or s3://bucket/prefix, not {value!r}")
    return value.rstrip("/")


def http_url(value: str) -> str:
    """An HTTP address without the slash at its end, to which paths are added."""
    try:
        parse_url(value)
        is_right = value.isprintable() and not set(" ?#") & set(value)
    except MalformedUrl:
        is_right = False
    if not is_right:
        shown = quoted(without_credentials(value))
        raise ValueError(f"must be an http:// or https:// address without ?, # and spaces, not {shown}")
    return value.rstrip("/")


def one_of(*choices: str) -> Callable[[str], str]:
    """One of ``choices``."""

    def read(value: str) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r}{did_you_mean(value, choices)}")
        return value

    return read


def log_level(value: str) -> str:
    """A level of the log, in any case."""
    return one_of("DEBUG", "INFO", "WARNING", "ERROR")(value.upper())


def log_format(value: str) -> str:
    """A format of the log, in any case."""
    return one_of("text", "json")(value.lower())


def api_key(value: str) -> str:
    """An API key that is hard to guess; the error does not contain it."""
    problem = key_problem(value)
    if problem is not None:
        raise ValueError(problem)
    return value


def hosts(value: str) -> tuple[str, ...]:
    """Host names of the gateway, separated by commas."""
    return _matching(value, _HOST, "host names such as example.org, *.example.org or [::1]:8000")


def origins(value: str) -> tuple[str, ...]:
    """Origins of web pages, separated by commas."""
    return _matching(value, _ORIGIN, "* or origins such as https://example.org")


def proxies(value: str) -> tuple[str, ...]:
    """Addresses and networks, separated by commas, or ``*``."""
    for part in _words(value):
        try:
            _ = None if part == "*" else ip_network(part, strict=False)
        except ValueError as error:
            allowed = "*, addresses or networks such as 10.0.0.0/8"
            raise ValueError(f"must be {allowed}, separated by commas, not {part!r}") from error
    return _words(value)


def readers(value: str) -> tuple[str, ...]:
    """As :func:`proxies`, or ``none``."""
    return () if value.strip() == "none" else proxies(value)


def ports(value: str) -> frozenset[int] | None:
    """Port numbers, separated by commas."""
    words = _words(value)
    if not all(word.isascii() and word.isdecimal() and 1 <= int(word) <= 65535 for word in words):
        raise ValueError(f"must be port numbers, separated by commas, not {value!r}")
    return frozenset(map(int, words)) or None


def fetch_hosts(value: str) -> tuple[str, ...]:
    """Hosts that images may be fetched from, or that webhooks may go to, separated by commas."""
    try:
        return tuple(map(host_pattern, _words(value)))
    except MalformedUrl as error:
        message = f"must be hosts like example.org or *.example.org, separated by commas, not {value!r}"
        raise ValueError(message) from error


def modules(value: str) -> tuple[str, ...]:
    """Names of Python modules, separated by commas."""
    for module in _words(value):
        if not _is_module(module):
            raise ValueError(f"must be names of Python modules, separated by commas, not {module!r}")
    return _words(value)


def _is_module(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _matching(value: str, pattern: re.Pattern[str], allowed: str) -> tuple[str, ...]:
    parts = tuple(part.rstrip("/").lower() for part in _words(value))
    for part in parts:
        if not pattern.fullmatch(part):
            raise ValueError(f"must be {allowed}, separated by commas, not {part!r}")
    return parts


def _words(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())
