"""The settings of every process, read once from the environment; a bad value is an error that names its variable."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from models.catalog.backends import AUTO, BACKENDS
from models.language.presets import PRESETS

DEFAULT_DATA = Path("~/.local/share/photogram")
DEFAULT_CACHE = Path("~/.cache/photogram")
DEFAULT_LLM_PRESET = "generic"
LLM_CHOICES = ("auto", "off")
PRODIA_LIST_TYPES = ("text/plain;charset=UTF-8", "application/json")


class SettingsError(Exception):
    """An environment variable holds something that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set from outside; each field's variable is named in :meth:`from_environment`."""

    redis_url: str | None = None
    """Where Redis or Valkey listens; ``None`` lets ``photogram up`` start its own."""
    data: Path = DEFAULT_DATA
    """The folder of the catalog, the images and the embedded Valkey's files."""
    cache: Path = DEFAULT_CACHE
    """The folder of what can be made anew at any time."""
    public_url: str | None = None
    """How clients reach the gateway, for absolute links; ``None`` takes it from each request."""
    bootstrap_key: str | None = None
    """The first API key; ``None`` lets ``photogram up`` make one."""
    max_body_bytes: int = 64 << 20
    """Requests may hold images, which Base64 makes a third larger."""
    max_input_bytes: int = 20 << 20
    """The largest image that a job may start from, as a file."""
    image_ttl_s: int | None = None
    """How long finished images are kept; ``None`` is for ever."""
    fetch_private: bool = False
    """Whether jobs may fetch images from addresses that are not public."""
    max_queued: int = 10_000
    """Jobs that may wait; further ones are refused with 503."""
    job_timeout_s: float = 600.0
    """How long a job may run, all tries of it apart."""
    record_ttl_s: int = 7 * 24 * 3600
    """How long a finished job can be read."""
    rows: int | None = None
    """Images that one worker draws at a time; ``None`` is as many as are measured to be worth it."""
    backend: str = AUTO
    """What runs the denoisers, one of ``models.catalog.backends``."""
    model_bytes: int | None = None
    """How much memory models that no job uses may keep; ``None`` is half of the device's."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes a GPU where there is one."""
    prodia_list_type: str = PRODIA_LIST_TYPES[0]
    """The content type of Prodia's lists; some of its clients need one, some the other."""
    prodia_keyless: bool = False
    """Whether everybody may queue jobs by Prodia's ``GET /generate``, which knows no keys."""
    llm: str = LLM_CHOICES[0]
    """``off`` has no language engine, wherever it may be; ``auto`` lets ``photogram up`` start one if no URL is set."""
    llm_url: str | None = None
    """Where a language engine speaks OpenAI's chat completions, ``/v1`` included; ``None`` has prompts left alone."""
    llm_model: str | None = None
    """The name that the engine serves the model under; ``None`` takes the first that it lists."""
    llm_key: str | None = None
    """The engine's API key."""
    llm_preset: str = DEFAULT_LLM_PRESET
    """What kind of model it is, one of ``models.language.presets``."""
    llm_deadline_s: float = 2.5
    """How long a prompt may take to be rewritten before it is drawn as it is."""

    @property
    def catalog_path(self) -> Path:
        """The catalog's file; it need not exist."""
        return self.data / "catalog.toml"

    @property
    def images_folder(self) -> Path:
        """Where finished images lie."""
        return self.data / "images"

    @property
    def backends_folder(self) -> Path:
        """Where models lie that were exported for another runtime than torch; it may be removed at any time."""
        return self.cache / "backends"

    @property
    def llm_folder(self) -> Path:
        """Where the language model lies that ``photogram up`` serves; it may be made anew at any time."""
        return self.cache / "language"

    @property
    def inputs_folder(self) -> Path:
        """Where uploaded images lie."""
        return self.data / "inputs"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an empty variable counts as unset.

        Raises:
            SettingsError: a variable holds no number, one out of range, or none of the words it may be.
        """
        given = {name: value for name, value in environment.items() if value}
        return cls(
            redis_url=given.get("REDIS_URL"),
            data=Path(given.get("PHOTOGRAM_DATA", DEFAULT_DATA)).expanduser().absolute(),
            cache=Path(given.get("PHOTOGRAM_CACHE", DEFAULT_CACHE)).expanduser().absolute(),
            public_url=given.get("PHOTOGRAM_PUBLIC_URL", "").rstrip("/") or None,
            bootstrap_key=given.get("PHOTOGRAM_BOOTSTRAP_KEY"),
            max_body_bytes=_whole(given, "PHOTOGRAM_MAX_BODY_BYTES", cls.max_body_bytes),
            max_input_bytes=_whole(given, "PHOTOGRAM_MAX_INPUT_BYTES", cls.max_input_bytes),
            image_ttl_s=_whole(given, "PHOTOGRAM_IMAGE_TTL_S", 0, lowest=0) or None,
            fetch_private=_one_of(given, "PHOTOGRAM_FETCH_PRIVATE", ("0", "1")) == "1",
            max_queued=_whole(given, "PHOTOGRAM_MAX_QUEUED", cls.max_queued),
            job_timeout_s=float(_whole(given, "PHOTOGRAM_JOB_TIMEOUT_S", int(cls.job_timeout_s))),
            record_ttl_s=_whole(given, "PHOTOGRAM_RECORD_TTL_S", cls.record_ttl_s),
            rows=_whole(given, "PHOTOGRAM_ROWS", 0, lowest=0) or None,
            backend=_one_of(given, "PHOTOGRAM_BACKEND", (AUTO, *BACKENDS)),
            model_bytes=_whole(given, "PHOTOGRAM_MODEL_BYTES", 0, lowest=0) or None,
            device=given.get("PHOTOGRAM_DEVICE", cls.device),
            prodia_list_type=_one_of(given, "PHOTOGRAM_PRODIA_LIST_TYPE", PRODIA_LIST_TYPES),
            prodia_keyless=_one_of(given, "PHOTOGRAM_PRODIA_KEYLESS", ("0", "1")) == "1",
            llm=_one_of(given, "PHOTOGRAM_LLM", LLM_CHOICES),
            llm_url=_url(given, "PHOTOGRAM_LLM_URL"),
            llm_model=given.get("PHOTOGRAM_LLM_MODEL"),
            llm_key=given.get("PHOTOGRAM_LLM_KEY"),
            llm_preset=_one_of(given, "PHOTOGRAM_LLM_PRESET", (DEFAULT_LLM_PRESET, *PRESETS)),
            llm_deadline_s=_seconds(given, "PHOTOGRAM_LLM_DEADLINE_S", cls.llm_deadline_s),
        )


def _whole(given: Mapping[str, str], name: str, default: int, lowest: int = 1) -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest:
        raise SettingsError(f"{name} must be a whole number of at least {lowest}, not {text!r}")
    return int(text)


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name, str(default))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise SettingsError(f"{name} must be a number of seconds above 0, not {text!r}")
    return seconds


def _url(given: Mapping[str, str], name: str) -> str | None:
    text = given.get(name)
    if text is None:
        return None
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{name} must be an http:// or https:// address, not {text!r}")
    return text.rstrip("/")


def _one_of(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = given.get(name, choices[0])
    if text not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {text!r}")
    return text
