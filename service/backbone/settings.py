"""The settings of all processes, read once from the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from models.catalog.backends import AUTO, BACKENDS
from models.jobs.cost import CPU_LIMITS, GPU_LIMITS, CostLimits
from models.jobs.urls import FetchPolicy, MalformedUrl, host_pattern
from models.language.presets import PRESETS
from service.backbone.keys import key_problem

DEFAULT_DATA = Path("~/.local/share/photogram")
DEFAULT_CACHE = Path("~/.cache/photogram")
DEFAULT_LLM_PRESET = "generic"
LLM_CHOICES = ("auto", "off")
_HOST = re.compile(r"(\*\.)?[a-z0-9_][a-z0-9._-]*(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?")
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_GPU_FILES = (Path("/dev/nvidia0"), Path("/dev/kfd"))
PRODIA_LIST_TYPES = ("text/plain;charset=UTF-8", "application/json")


class SettingsError(Exception):
    """The value of an environment variable is not valid; the message names the variable and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings; :meth:`from_environment` has the environment variable of each field."""

    redis_url: str | None = None
    """The URL of Redis or Valkey; ``None`` lets ``photogram up`` start its own Valkey."""
    data: Path = DEFAULT_DATA
    """The folder of the catalog, the images and the files of the embedded Valkey."""
    cache: Path = DEFAULT_CACHE
    """The folder of data that can be made again at any time."""
    public_url: str | None = None
    """The gateway's address in absolute links; ``None`` takes the address of each request."""
    hosts: tuple[str, ...] = ()
    """The host names under which the gateway answers, also ``*.example.org``; none is any name."""
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    """The addresses and networks of proxies whose ``X-Forwarded-`` headers are believed; ``*`` is everybody. Each may
    keep open as many connections as there may be in all."""
    cors_origins: tuple[str, ...] = ()
    """The origins whose pages may call the gateway; ``*`` is any."""
    bootstrap_key: str | None = None
    """The first API key; ``None`` lets ``photogram up`` make one."""
    wrong_keys_per_minute: int = 60
    """How many unknown API keys an address may send in a minute before it gets 429; 0 is any number."""
    max_body_bytes: int = 64 << 20
    """The largest request body; Base64 makes the images in it a third larger."""
    max_bodies_bytes: int = 256 << 20
    """How much memory all request bodies may take together; further large bodies are refused with 503."""
    request_timeout_s: float = 20.0
    """How long the header of a request may take, and how long its body may pause or be very slow."""
    response_timeout_s: float = 60.0
    """How long a client may read less than 64 KiB while the gateway holds a response for it in memory."""
    max_connections: int = 4096
    """How many connections the gateway keeps open; fewer if the limit of file descriptors is low."""
    max_connections_per_address: int = 512
    """The same for each client address."""
    max_input_bytes: int = 20 << 20
    """The largest file of an image that a job starts from."""
    max_source_px: int | None = None
    """The most pixels of all images that a job starts from together; ``None`` depends on the device, as below."""
    max_output_px: int | None = None
    """The most pixels of an image that a job makes."""
    max_step_px: int | None = None
    """The most pixels times steps of one request, all its images together."""
    max_peak_bytes: int | None = None
    """The most memory that the images of one job may need at the same time."""
    decoding_px: int = 1 << 27
    """How many pixels of input images and of results a worker may hold at the same time; a gateway half as many."""
    image_ttl_s: int | None = None
    """How long generated images and files are kept; ``None`` is for ever."""
    min_free_bytes: int | None = None
    """How much space must be free for new jobs and uploads to be accepted; ``None`` is 512 MiB or 2 % of the disk,
    whichever is less, and 0 is none."""
    group_reads_images: bool = False
    """Whether the group of the data folder may read generated images, so that another program can serve them."""
    fetch_private: bool = False
    """Whether jobs may fetch images from private addresses."""
    fetch_ports: frozenset[int] | None = None
    """The ports that images may be fetched from; ``None`` is 80 and 443, and any if ``fetch_private`` is set."""
    fetch_hosts: tuple[str, ...] = ()
    """The only hosts that images may be fetched from, as in ``FetchPolicy``; empty allows all."""
    max_queued: int = 10_000
    """How many jobs may wait in one queue; further jobs are refused with 503."""
    job_timeout_s: float = 600.0
    """How long one try of a job may take."""
    record_ttl_s: int = 7 * 24 * 3600
    """How long the record of a job is kept after its end."""
    rows: int | None = None
    """The largest batch of a worker; ``None`` lets the worker measure which batch size pays."""
    backend: str = AUTO
    """The backend of the denoisers, one of ``models.catalog.backends``."""
    model_bytes: int | None = None
    """How much memory cached models that no job uses may take; ``None`` is half of the device's memory, divided by
    ``device_workers``."""
    device: str = "auto"
    """``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes the first GPU, or the CPU without one."""
    workers: int | None = None
    """How many workers ``photogram up`` starts for drawing; ``None`` is one for each GPU, or one without a GPU."""
    device_workers: int = 1
    """How many workers share this worker's device, itself included, each with its part of the memory."""
    prodia_list_type: str = PRODIA_LIST_TYPES[0]
    """The content type of the lists of Prodia's v1 API; its clients differ in which one they need."""
    prodia_keyless: bool = False
    """Whether Prodia's ``GET /generate``, which takes no API key, may be used by everybody."""
    llm: str = LLM_CHOICES[0]
    """``off`` uses no language engine; ``auto`` lets ``photogram up`` start one unless ``llm_url`` is set."""
    llm_url: str | None = None
    """The base URL of an OpenAI-compatible language engine, with ``/v1``; ``None`` leaves prompts unchanged."""
    llm_model: str | None = None
    """The name of the model on the engine; ``None`` takes the first model that the engine lists."""
    llm_key: str | None = None
    """The API key of the language engine."""
    llm_preset: str = DEFAULT_LLM_PRESET
    """The prompting preset for the model, one of ``models.language.presets``."""
    llm_deadline_s: float = 2.5
    """How long rewriting a prompt may take; after that the prompt is used unchanged."""
    job_kinds: tuple[str, ...] = ()
    """Modules that register further job kinds when they are imported."""

    @property
    def catalog_path(self) -> Path:
        """The file of the catalog; it need not exist."""
        return self.data / "catalog.toml"

    @property
    def images_folder(self) -> Path:
        """The folder of generated images."""
        return self.data / "images"

    @property
    def files_folder(self) -> Path:
        """The folder of files that jobs made."""
        return self.data / "files"

    @property
    def backends_folder(self) -> Path:
        """The folder of models that were exported for another runtime than torch; it may be deleted at any time."""
        return self.cache / "backends"

    @property
    def llm_folder(self) -> Path:
        """The folder of the language model that ``photogram up`` serves; it may be deleted at any time."""
        return self.cache / "language"

    @property
    def cost_limits(self) -> CostLimits:
        """What a job may cost: as set, or as suits the device."""
        defaults = GPU_LIMITS if _has_gpu(self.device) else CPU_LIMITS
        return CostLimits(
            source_px=self.max_source_px or defaults.source_px,
            output_px=self.max_output_px or defaults.output_px,
            step_px=self.max_step_px or defaults.step_px,
            peak_bytes=self.max_peak_bytes or defaults.peak_bytes,
        )

    @property
    def inputs_folder(self) -> Path:
        """The folder of uploaded images."""
        return self.data / "inputs"

    @property
    def fetch_policy(self) -> FetchPolicy:
        """From where images may be fetched."""
        return FetchPolicy(allow_private=self.fetch_private, ports=self.fetch_ports, hosts=self.fetch_hosts)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the settings; an empty variable counts as unset.

        Raises:
            SettingsError: the value of a variable is not valid.
        """
        given = {name: value for name, value in environment.items() if value}
        return cls(
            redis_url=given.get("REDIS_URL"),
            data=Path(given.get("PHOTOGRAM_DATA", DEFAULT_DATA)).expanduser().absolute(),
            cache=Path(given.get("PHOTOGRAM_CACHE", DEFAULT_CACHE)).expanduser().absolute(),
            public_url=given.get("PHOTOGRAM_PUBLIC_URL", "").rstrip("/") or None,
            hosts=_list(given, "PHOTOGRAM_HOSTS", _HOST, "host names such as example.org, *.example.org or [::1]:8000"),
            trusted_proxies=_proxies(given, cls.trusted_proxies),
            cors_origins=_list(given, "PHOTOGRAM_CORS_ORIGINS", _ORIGIN, "* or origins such as https://example.org"),
            bootstrap_key=_key(given, "PHOTOGRAM_BOOTSTRAP_KEY"),
            wrong_keys_per_minute=_whole(given, "PHOTOGRAM_WRONG_KEYS_PER_MINUTE", cls.wrong_keys_per_minute, lowest=0),
            max_body_bytes=_whole(given, "PHOTOGRAM_MAX_BODY_BYTES", cls.max_body_bytes),
            max_bodies_bytes=_whole(given, "PHOTOGRAM_MAX_BODIES_BYTES", cls.max_bodies_bytes),
            request_timeout_s=_seconds(given, "PHOTOGRAM_REQUEST_TIMEOUT_S", cls.request_timeout_s),
            response_timeout_s=_seconds(given, "PHOTOGRAM_RESPONSE_TIMEOUT_S", cls.response_timeout_s),
            max_connections=_whole(given, "PHOTOGRAM_MAX_CONNECTIONS", cls.max_connections),
            max_connections_per_address=_whole(
                given, "PHOTOGRAM_MAX_CONNECTIONS_PER_ADDRESS", cls.max_connections_per_address
            ),
            max_input_bytes=_whole(given, "PHOTOGRAM_MAX_INPUT_BYTES", cls.max_input_bytes),
            max_source_px=_whole(given, "PHOTOGRAM_MAX_SOURCE_PX", 0, lowest=0) or None,
            max_output_px=_whole(given, "PHOTOGRAM_MAX_OUTPUT_PX", 0, lowest=0) or None,
            max_step_px=_whole(given, "PHOTOGRAM_MAX_STEP_PX", 0, lowest=0) or None,
            max_peak_bytes=_whole(given, "PHOTOGRAM_MAX_PEAK_BYTES", 0, lowest=0) or None,
            decoding_px=_whole(given, "PHOTOGRAM_DECODING_PX", cls.decoding_px),
            image_ttl_s=_whole(given, "PHOTOGRAM_IMAGE_TTL_S", 0, lowest=0) or None,
            min_free_bytes=_whole(given, "PHOTOGRAM_MIN_FREE_BYTES", 0, lowest=0)
            if "PHOTOGRAM_MIN_FREE_BYTES" in given
            else None,
            group_reads_images=_one_of(given, "PHOTOGRAM_GROUP_READS_IMAGES", ("0", "1")) == "1",
            fetch_private=_one_of(given, "PHOTOGRAM_FETCH_PRIVATE", ("0", "1")) == "1",
            fetch_ports=_ports(given, "PHOTOGRAM_FETCH_PORTS"),
            fetch_hosts=_hosts(given, "PHOTOGRAM_FETCH_HOSTS"),
            max_queued=_whole(given, "PHOTOGRAM_MAX_QUEUED", cls.max_queued),
            job_timeout_s=float(_whole(given, "PHOTOGRAM_JOB_TIMEOUT_S", int(cls.job_timeout_s))),
            record_ttl_s=_whole(given, "PHOTOGRAM_RECORD_TTL_S", cls.record_ttl_s),
            rows=_whole(given, "PHOTOGRAM_ROWS", 0, lowest=0) or None,
            backend=_one_of(given, "PHOTOGRAM_BACKEND", (AUTO, *BACKENDS)),
            model_bytes=_whole(given, "PHOTOGRAM_MODEL_BYTES", 0, lowest=0) or None,
            device=given.get("PHOTOGRAM_DEVICE", cls.device),
            workers=_workers(given, "PHOTOGRAM_WORKERS"),
            device_workers=_whole(given, "PHOTOGRAM_DEVICE_WORKERS", cls.device_workers),
            prodia_list_type=_one_of(given, "PHOTOGRAM_PRODIA_LIST_TYPE", PRODIA_LIST_TYPES),
            prodia_keyless=_one_of(given, "PHOTOGRAM_PRODIA_KEYLESS", ("0", "1")) == "1",
            llm=_one_of(given, "PHOTOGRAM_LLM", LLM_CHOICES),
            llm_url=_url(given, "PHOTOGRAM_LLM_URL"),
            llm_model=given.get("PHOTOGRAM_LLM_MODEL"),
            llm_key=given.get("PHOTOGRAM_LLM_KEY"),
            llm_preset=_one_of(given, "PHOTOGRAM_LLM_PRESET", (DEFAULT_LLM_PRESET, *PRESETS)),
            llm_deadline_s=_seconds(given, "PHOTOGRAM_LLM_DEADLINE_S", cls.llm_deadline_s),
            job_kinds=_modules(given, "PHOTOGRAM_JOB_KINDS"),
        )


def _has_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU; ``auto`` is one if the system has a device file for one, since torch is not here."""
    return any(path.exists() for path in _GPU_FILES) if device == "auto" else device != "cpu"


def _whole(given: Mapping[str, str], name: str, default: int, lowest: int = 1, otherwise: str = "") -> int:
    text = given.get(name, str(default))
    if not text.isdecimal() or int(text) < lowest:
        raise SettingsError(f"{name} must be {otherwise}a whole number of at least {lowest}, not {text!r}")
    return int(text)


def _workers(given: Mapping[str, str], name: str) -> int | None:
    """A number of workers, or ``None`` for ``auto``."""
    return None if given.get(name, AUTO) == AUTO else _whole(given, name, 1, otherwise=f"{AUTO} or ")


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


def _list(given: Mapping[str, str], name: str, pattern: re.Pattern[str], allowed: str) -> tuple[str, ...]:
    parts = tuple(part.rstrip("/").lower() for part in _words(given, name))
    for part in parts:
        if not pattern.fullmatch(part):
            raise SettingsError(f"{name} must be {allowed}, separated by commas, not {part!r}")
    return parts


def _proxies(given: Mapping[str, str], default: tuple[str, ...]) -> tuple[str, ...]:
    """The trusted proxies; ``FORWARDED_ALLOW_IPS`` is uvicorn's name for the same."""
    name = "PHOTOGRAM_TRUSTED_PROXIES" if "PHOTOGRAM_TRUSTED_PROXIES" in given else "FORWARDED_ALLOW_IPS"
    if name not in given:
        return default
    parts = _words(given, name)
    for part in parts:
        try:
            _ = None if part == "*" else ip_network(part, strict=False)
        except ValueError as error:
            allowed = "*, addresses or networks such as 10.0.0.0/8"
            raise SettingsError(f"{name} must be {allowed}, separated by commas, not {part!r}") from error
    return parts


def _key(given: Mapping[str, str], name: str) -> str | None:
    key = given.get(name)
    problem = None if key is None else key_problem(key)
    if problem is not None:
        raise SettingsError(f"{name} {problem}")
    return key


def _ports(given: Mapping[str, str], name: str) -> frozenset[int] | None:
    words = _words(given, name)
    if not all(word.isascii() and word.isdecimal() and 1 <= int(word) <= 65535 for word in words):
        raise SettingsError(f"{name} must be port numbers, separated by commas, not {given[name]!r}")
    return frozenset(map(int, words)) or None


def _hosts(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    try:
        return tuple(map(host_pattern, _words(given, name)))
    except MalformedUrl as error:
        message = f"{name} must be hosts like example.org or *.example.org, separated by commas, not {given[name]!r}"
        raise SettingsError(message) from error


def _words(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.get(name, "").split(",") if part.strip())


def _modules(given: Mapping[str, str], name: str) -> tuple[str, ...]:
    modules = _words(given, name)
    for module in modules:
        if not all(part.isidentifier() for part in module.split(".")):
            raise SettingsError(f"{name} must be names of Python modules, separated by commas, not {module!r}")
    return modules


def _one_of(given: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    text = given.get(name, choices[0])
    if text not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {text!r}")
    return text
