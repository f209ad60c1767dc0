"""The settings of a client: address, key, time limits, from arguments or the environment."""

import os
from dataclasses import dataclass, field

import httpx2

DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
DEFAULT_MAX_RETRIES = 5


@dataclass(frozen=True, slots=True)
class Config:
    """Validated settings of one client; the repr omits the key."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    max_retries: int

    def __post_init__(self) -> None:
        _check_url(self.base_url)
        _check_key(self.api_key)
        if self.timeout_s <= 0:
            raise ValueError(f"timeout_s must be above 0, got {self.timeout_s}")
        if self.max_retries < 0:
            raise ValueError(f"max_retries must be 0 or more, got {self.max_retries}")

    @classmethod
    def resolve(cls, base_url: str | None, api_key: str | None, timeout_s: float, max_retries: int) -> "Config":
        """Take missing settings from `PHOTOGRAM_URL` and `PHOTOGRAM_API_KEY`."""
        url = base_url if base_url is not None else os.environ.get("PHOTOGRAM_URL") or DEFAULT_URL
        key = api_key if api_key is not None else os.environ.get("PHOTOGRAM_API_KEY")
        return cls(url.rstrip("/"), key or None, timeout_s, max_retries)

    def replaced(self, api_key: str | None, timeout_s: float | None, max_retries: int | None) -> "Config":
        """These settings with those that are given."""
        return Config(
            self.base_url,
            self.api_key if api_key is None else api_key,
            self.timeout_s if timeout_s is None else timeout_s,
            self.max_retries if max_retries is None else max_retries,
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
