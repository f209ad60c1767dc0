"""The settings of a client: address, key, time limits, from arguments or the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_RETRIES = 5
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OWN_HEADERS = frozenset({
    "accept", "authorization", "cache-control", "connection", "content-length", "content-type", "host",
    "idempotency-key", "last-event-id", "transfer-encoding", "x-request-id",
})  # fmt: skip
"""The headers that the client sets itself, in lower case."""


@dataclass(frozen=True, slots=True)
class Config:
    """Validated settings of one client; the repr omits the key and the headers."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    max_retries: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every request to the server, such as those that a proxy in front of it needs; in lower case."""

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        _check_key(self.api_key)
        _check_headers(self.headers)
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")
        if self.max_retries < 0:
            raise ValueError(f"max_retries must be 0 or more, got {self.max_retries}")

    @classmethod
    def resolve(
        cls,
        base_url: str | None,
        api_key: str | None,
        timeout_s: float,
        max_retries: int,
        headers: Mapping[str, str] | None = None,
    ) -> "Config":
        """Take missing settings from `PHOTOGRAM_URL` and `PHOTOGRAM_API_KEY`."""
        url = base_url if base_url is not None else os.environ.get("PHOTOGRAM_URL") or DEFAULT_URL
        key = api_key if api_key is not None else os.environ.get("PHOTOGRAM_API_KEY")
        return cls(url.rstrip("/"), key or None, timeout_s, max_retries, _lower(headers))

    def replaced(
        self,
        api_key: str | None,
        timeout_s: float | None,
        max_retries: int | None,
        headers: Mapping[str, str] | None,
    ) -> "Config":
        """These settings with those that are given; `headers` are added to those of before."""
        return replace(
            self,
            api_key=self.api_key if api_key is None else api_key,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            max_retries=self.max_retries if max_retries is None else max_retries,
            headers={**self.headers, **_lower(headers)},
        )


def _check_url(text: str) -> None:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise ValueError(f"the server's URL {text!r} is invalid: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"the server's URL must look like {DEFAULT_URL}, got {text!r}")


def _check_key(key: str | None) -> None:
    # The message never contains the key, because messages are logged.
    if key is not None and not all("!" <= character <= "~" for character in key):
        raise ValueError(
            "the API key contains a space, a line end or another character that is not allowed in a header"
        )


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {str(name).lower(): value for name, value in (headers or {}).items()}


def _check_headers(headers: Mapping[str, str]) -> None:
    # The messages contain no values, because those may be secret and messages are logged.
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if name in _OWN_HEADERS:
            raise ValueError(f"the client sets the header {name} itself")
        if not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise ValueError(f"the header {name} must be a text of ASCII without line ends")
