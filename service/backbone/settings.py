"""The settings of all processes, each declared once: its default, its variable and how its text is read.

``service.backbone.configuration`` joins what files, variables and flags say.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, TypeVar

from models.catalog.backends import AUTO, BACKENDS
from models.jobs.cost import CPU_LIMITS, GPU_LIMITS, CostLimits
from models.jobs.params import C2PA, PROVENANCE
from models.jobs.safety import FAILS, SAFETY
from models.jobs.urls import FetchPolicy
from models.language.presets import PRESETS
from service.backbone import setting_values as values
from service.backbone.allowances import Allowance, limit_max
from service.backbone.redis_urls import redis_url

DEFAULT_DATA = Path("~/.local/share/photogram")
DEFAULT_CACHE = Path("~/.cache/photogram")
DEFAULT_LLM_PRESET = "generic"
LLM_CHOICES = ("auto", "off")
_GPU_FILES = (Path("/dev/nvidia0"), Path("/dev/kfd"))
DOWNLOADS = ("proxied", "redirect")
TRAINING_DEVICES = ("cpu", "cuda")
S3_ENCRYPTIONS = ("AES256", "aws:kms", "aws:kms:dsse")
PRODIA_LIST_TYPES = ("text/plain;charset=UTF-8", "application/json")

_T = TypeVar("_T")


class SettingsError(Exception):
    """The value of a setting is not valid; the message names the variable, or the file and the key, and the reason."""


@dataclass(frozen=True)
class Setting:
    """How a field of :class:`Settings` is given."""

    name: str
    """The name of the field, and its key in ``photogram.toml``."""
    variables: tuple[str, ...]
    """Its environment variables; the first that is set counts."""
    read: Callable[[str], Any]
    """The value of a text; raises :class:`ValueError`, as the functions of ``service.backbone.setting_values``."""
    is_secret: bool


@dataclass(frozen=True)
class Given:
    """The text that a setting was given, and where."""

    text: str
    place: str
    """A variable, a flag, or a file with the number of the line."""
    name: str
    """The name of the setting in that place."""

    def error(self, reason: object) -> SettingsError:
        """The error that the text is not valid."""
        return SettingsError(
            f"{self.name} {reason}" if self.name == self.place else f"{self.place}: {self.name} {reason}"
        )


def setting(default: _T, read: Callable[[str], _T], *, variables: tuple[str, ...] = (), is_secret: bool = False) -> _T:
    """A field of :class:`Settings`; its variable is ``PHOTOGRAM_`` and its name unless ``variables`` names others."""
    declared: Any = field(default=default, metadata={"read": read, "variables": variables, "is_secret": is_secret})
    return declared  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings."""

    redis_url: str | None = setting(None, redis_url, variables=("REDIS_URL",))
    """The URL of Redis or Valkey, or of its Sentinels; ``None`` lets ``photogram up`` start its own Valkey."""
    redis_wait_replicas: int = setting(0, values.whole(0))
    """How many replicas of Redis must have a job before it is accepted."""
    data: Path = setting(DEFAULT_DATA, values.folder)
    """The folder of the catalog, the images and the files of the embedded Valkey."""
    cache: Path = setting(DEFAULT_CACHE, values.folder)
    """The folder of data that can be made again at any time."""
    public_url: str | None = setting(None, values.http_url)
    """The gateway's address in absolute links; ``None`` takes the address of each request."""
    hosts: tuple[str, ...] = setting((), values.hosts)
    """The host names under which the gateway answers, also ``*.example.org``; none is any name."""
    trusted_proxies: tuple[str, ...] = setting(
        ("127.0.0.1", "::1"), values.proxies, variables=("PHOTOGRAM_TRUSTED_PROXIES", "FORWARDED_ALLOW_IPS")
    )
    """The addresses and networks of proxies whose ``X-Forwarded-`` headers are believed; ``*`` is everybody. Each may
    keep open as many connections as there may be in all."""
    cors_origins: tuple[str, ...] = setting((), values.origins)
    """The origins whose pages may call the gateway; ``*`` is any."""
    bootstrap_key: str | None = setting(None, values.api_key, is_secret=True)
    """The first API key; ``None`` lets ``photogram up`` make one."""
    wrong_keys_per_minute: int = setting(60, values.whole(0))
    """How many unknown API keys an address may send in a minute before it gets 429; 0 is any number."""
    key_requests_per_minute: int = setting(0, values.whole(0, limit_max("requests_per_minute")))
    """How many requests an API key may submit jobs with in a minute, unless the key has a limit of its own; for this
    limit and the next five, 0 is no limit (``service.backbone.allowances``)."""
    key_max_in_flight: int = setting(0, values.whole(0, limit_max("max_in_flight")))
    """How many jobs of a key may wait or run."""
    key_max_queued: int = setting(0, values.whole(0, limit_max("max_queued")))
    """How many jobs of a key may wait."""
    key_units_per_day: int = setting(0, values.whole(0, limit_max("units_per_day")))
    """How many cost units, each a million pixels times steps, the jobs of a key may cost in a day (UTC)."""
    key_units_per_month: int = setting(0, values.whole(0, limit_max("units_per_month")))
    """The same for a month."""
    key_stored_bytes: int = setting(0, values.whole(0, limit_max("stored_bytes")))
    """How many bytes of images and files of a key may be stored before its jobs are refused."""
    metrics_open_to: tuple[str, ...] = setting(("127.0.0.0/8", "::1"), values.readers)
    """The addresses and networks that may read metrics without an API key; ``*`` is everybody, ``none`` nobody."""
    metrics_by_key: bool = setting(False, values.flag)
    """Whether metrics show what each API key has used, by its id."""
    max_body_bytes: int = setting(64 << 20, values.whole())
    """The largest request body; Base64 makes the images in it a third larger."""
    max_bodies_bytes: int = setting(256 << 20, values.whole())
    """How much memory all request bodies may take together; further large bodies are refused with 503."""
    request_timeout_s: float = setting(20.0, values.seconds)
    """How long the header of a request may take, and how long its body may pause or be very slow."""
    response_timeout_s: float = setting(60.0, values.seconds)
    """How long a client may read less than 64 KiB while the gateway holds a response for it in memory."""
    max_connections: int = setting(4096, values.whole())
    """How many connections the gateway keeps open; fewer if the limit of file descriptors is low."""
    max_connections_per_address: int = setting(512, values.whole())
    """The same for each client address."""
    max_input_bytes: int = setting(20 << 20, values.whole())
    """The largest file of an image that a job starts from."""
    max_source_px: int | None = setting(None, values.whole_or_none)
    """The most pixels of all images that a job starts from together; ``None`` depends on the device, as below."""
    max_output_px: int | None = setting(None, values.whole_or_none)
    """The most pixels of an image that a job makes."""
    max_step_px: int | None = setting(None, values.whole_or_none)
    """The most pixels times steps of one request, all its images together."""
    max_peak_bytes: int | None = setting(None, values.whole_or_none)
    """The most memory that the images of one job may need at the same time."""
    decoding_px: int = setting(1 << 27, values.whole())
    """How many pixels of input images and of results a worker may hold at the same time; a gateway half as many."""
    image_ttl_s: int | None = setting(None, values.whole_or_none)
    """How long generated images and files are kept; ``None`` is for ever."""
    min_free_bytes: int | None = setting(None, values.whole(0))
    """How much space must be free for new jobs and uploads to be accepted; ``None`` is 512 MiB or 2 % of the disk,
    whichever is less, and 0 is none."""
    storage: str | None = setting(None, values.bucket)
    """Where images, files and uploads lie: ``s3://bucket/prefix``; ``None`` is the data folder."""
    storage_downloads: str = setting(DOWNLOADS[0], values.one_of(*DOWNLOADS))
    """Whether the gateway sends images from S3 itself, or redirects to presigned links."""
    s3_endpoint: str | None = setting(
        None, values.http_url, variables=("PHOTOGRAM_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    )
    """The address of the S3 service; ``None`` is AWS."""
    s3_region: str | None = setting(
        None, values.text, variables=("PHOTOGRAM_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION")
    )
    """The region of the bucket; ``None`` is ``us-east-1``."""
    s3_path_style: bool = setting(True, values.flag)
    """Whether the bucket is part of the path of S3's addresses, and not of the host name."""
    s3_access_key_id: str | None = setting(None, values.secret, variables=("AWS_ACCESS_KEY_ID",), is_secret=True)
    """The id of the S3 key; ``None`` lets obstore look for the roles of the machine."""
    s3_secret_access_key: str | None = setting(
        None, values.secret, variables=("AWS_SECRET_ACCESS_KEY",), is_secret=True
    )
    """The S3 key."""
    s3_session_token: str | None = setting(None, values.secret, variables=("AWS_SESSION_TOKEN",), is_secret=True)
    """What belongs to a temporary S3 key."""
    s3_encryption: str | None = setting(None, values.one_of(*S3_ENCRYPTIONS))
    """The encryption that S3 is asked for; ``None`` is the default of the bucket."""
    s3_kms_key: str | None = setting(None, values.text)
    """The id of the key that KMS encrypts with."""
    s3_timeout_s: float = setting(20.0, values.seconds)
    """How long one request to S3 may take, of at most 8 MiB."""
    group_reads_images: bool = setting(False, values.flag)
    """Whether the group of the data folder may read generated images, so that another program can serve them."""
    provenance: str = setting(C2PA, values.one_of(*PROVENANCE))
    """How images are marked as made by a machine, and the least that jobs may ask for unless their key allows less."""
    provenance_certificate: Path | None = setting(None, values.folder)
    """The file of the certificates that sign C2PA manifests, as PEM text, the signing one first; ``None`` uses a pair
    that the server makes itself. Several hosts share a pair by these two settings."""
    provenance_key: Path | None = setting(None, values.folder)
    """The file of the key of that certificate, as PEM text, for ECDSA on P-256."""
    safety: str = setting(SAFETY[0], values.one_of(*SAFETY))
    """What happens to images that a classifier scores as unsafe, unless their key has a policy of its own."""
    safety_threshold: float = setting(0.8, values.share)
    """The score from which on an image is unsafe."""
    safety_fails: str = setting(FAILS[0], values.one_of(*FAILS))
    """Whether a job fails if its images cannot be scored (``closed``), or goes on without scores (``open``)."""
    safety_model: str | None = setting(None, values.text)
    """A vision model of the catalog that scores images; ``None`` is open_nsfw."""
    safety_labels: tuple[str, ...] = setting(("nsfw", "porn", "hentai"), values.names)
    """The labels of that model that mean an unsafe image; their probabilities are added."""
    safety_hook: str | None = setting(None, values.function)
    """A function ``module:name`` of your own that gets each image and returns why it is refused, or ``None``."""
    search: bool = setting(True, values.flag)
    """Whether a fingerprint of each finished image is kept in its record, so that its key can search for it."""
    fetch_private: bool = setting(False, values.flag)
    """Whether jobs may fetch images from private addresses."""
    fetch_ports: frozenset[int] | None = setting(None, values.ports)
    """The ports that images may be fetched from; ``None`` is 80 and 443, and any if ``fetch_private`` is set."""
    fetch_hosts: tuple[str, ...] = setting((), values.fetch_hosts)
    """The only hosts that images may be fetched from, as in ``FetchPolicy``; empty allows all."""
    webhook_private: bool = setting(False, values.flag)
    """Whether webhooks may go to private addresses."""
    webhook_ports: frozenset[int] | None = setting(None, values.ports)
    """The ports that webhooks may go to; ``None`` is 80 and 443, and any if ``webhook_private`` is set."""
    webhook_hosts: tuple[str, ...] = setting((), values.fetch_hosts)
    """The only hosts that webhooks may go to, as in ``FetchPolicy``; empty allows all."""
    max_queued: int = setting(10_000, values.whole())
    """How many jobs may wait in one queue; further jobs are refused with 503."""
    job_timeout_s: float = setting(600.0, values.whole_seconds)
    """How long one try of a job may take."""
    training_timeout_s: float = setting(6 * 3600.0, values.whole_seconds)
    """How long one try of a job that trains may take, in place of ``job_timeout_s``."""
    agents: int = setting(16, values.whole(1, 1000))
    """How many agent jobs one worker runs at the same time; each of them has a process of its own."""
    agent_timeout_s: float = setting(24 * 3600.0, values.whole_seconds)
    """How long one try of an agent job may take, in place of ``job_timeout_s``; people may take their time."""
    agent_answer_timeout_s: float = setting(180.0, values.whole_seconds)
    """How long a language model that plans may take for one answer."""
    agent_python: bool = setting(False, values.flag)
    """Whether agents may run Python code in their sandboxes."""
    training_device: str = setting(TRAINING_DEVICES[0], values.one_of(*TRAINING_DEVICES))
    """Where jobs train: on the CPU, or also on the GPU that their worker sees, in turns with what draws there."""
    register_finetuned: bool = setting(True, values.flag)
    """Whether models that jobs have trained are added to the catalog; otherwise only their files are given back."""
    snapshot_every: int | None = setting(None, values.whole_or_none)
    """After how many steps a worker keeps what is drawn of a job in Redis, in case it dies; ``None`` only does so when
    it is stopped."""
    record_ttl_s: int = setting(7 * 24 * 3600, values.whole(1, values.DURATION_MAX_S))
    """How long the record of a job is kept after its end."""
    rows: int | None = setting(None, values.whole_or_none)
    """The largest batch of a worker; ``None`` lets the worker measure which batch size pays."""
    backend: str = setting(AUTO, values.one_of(AUTO, *BACKENDS))
    """The backend of the denoisers, one of ``models.catalog.backends``."""
    model_bytes: int | None = setting(None, values.whole_or_none)
    """How much memory cached models that no job uses may take; ``None`` is half of the device's memory, divided by
    ``device_workers``."""
    device: str = setting("auto", values.device)
    """``cpu``, ``cuda``, ``cuda:1``, ...; ``auto`` takes the first GPU, or the CPU without one."""
    workers: int | None = setting(None, values.whole_or_auto)
    """How many workers ``photogram up`` starts for drawing; ``None`` is one for each GPU, or one without a GPU."""
    device_workers: int = setting(1, values.whole())
    """How many workers share this worker's device, itself included, each with its part of the memory."""
    prodia_list_type: str = setting(PRODIA_LIST_TYPES[0], values.one_of(*PRODIA_LIST_TYPES))
    """The content type of the lists of Prodia's v1 API; its clients differ in which one they need."""
    prodia_keyless: bool = setting(False, values.flag)
    """Whether Prodia's ``GET /generate``, which takes no API key, may be used by everybody."""
    llm: str = setting(LLM_CHOICES[0], values.one_of(*LLM_CHOICES))
    """``off`` uses no language engine; ``auto`` lets ``photogram up`` start one unless ``llm_url`` is set."""
    llm_url: str | None = setting(None, values.http_url)
    """The base URL of an OpenAI-compatible language engine, with ``/v1``; ``None`` leaves prompts unchanged."""
    llm_model: str | None = setting(None, values.text)
    """The name of the model on the engine; ``None`` takes the first model that the engine lists."""
    llm_key: str | None = setting(None, values.secret, is_secret=True)
    """The API key of the language engine."""
    llm_preset: str = setting(DEFAULT_LLM_PRESET, values.one_of(DEFAULT_LLM_PRESET, *PRESETS))
    """The prompting preset for the model, one of ``models.language.presets``."""
    llm_deadline_s: float = setting(2.5, values.seconds)
    """How long rewriting a prompt may take; after that the prompt is used unchanged."""
    job_kinds: tuple[str, ...] = setting((), values.modules)
    """Modules that register further job kinds when they are imported."""
    log_level: str = setting("INFO", values.log_level)
    """The lowest level of the lines in the log."""
    log_format: str = setting("text", values.log_format)
    """``text``, or ``json`` for one JSON object per line."""
    log_prompts: bool = setting(False, values.flag)
    """Whether the log may have prompts, and messages of exceptions that may quote a request."""

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
    def provenance_folder(self) -> Path:
        """The folder of the certificate and the key that the server made for itself."""
        return self.data / "provenance"

    @property
    def packages_folder(self) -> Path:
        """Models that were deployed to inference backends."""
        return self.data / "deployed"

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
    def key_allowance(self) -> Allowance:
        """The limits of API keys that have none of their own."""
        names = (each.name for each in fields(Allowance))
        return Allowance(**{name: getattr(self, f"key_{name}") for name in names})

    @property
    def inputs_folder(self) -> Path:
        """The folder of uploaded images."""
        return self.data / "inputs"

    @property
    def fetch_policy(self) -> FetchPolicy:
        """From where images may be fetched."""
        return FetchPolicy(allow_private=self.fetch_private, ports=self.fetch_ports, hosts=self.fetch_hosts)

    @property
    def webhook_policy(self) -> FetchPolicy:
        """To where webhooks may go."""
        return FetchPolicy(allow_private=self.webhook_private, ports=self.webhook_ports, hosts=self.webhook_hosts)

    @classmethod
    def declared(cls) -> Iterator[Setting]:
        """How each setting is given."""
        for each in fields(cls):
            variables = each.metadata["variables"] or (f"PHOTOGRAM_{each.name.upper()}",)
            yield Setting(each.name, variables, each.metadata["read"], each.metadata["is_secret"])

    @classmethod
    def read(cls, given: Mapping[str, Given]) -> Self:
        """The settings that ``given`` has by their names, and the defaults of the others.

        Raises:
            SettingsError: a value is not valid.
        """
        folders = {"data": DEFAULT_DATA, "cache": DEFAULT_CACHE}  # a user without a home folder must name both
        read: dict[str, Any] = {name: values.folder(str(folders[name])) for name in folders.keys() - given.keys()}
        for each in cls.declared():
            if each.name in given:
                try:
                    read[each.name] = each.read(given[each.name].text)
                except ValueError as error:
                    raise given[each.name].error(error) from error
        settings = cls(**read)
        settings._require_pairs(given)
        return settings

    def _require_pairs(self, given: Mapping[str, Given]) -> None:
        """Raise :class:`SettingsError` for a setting that is of no use without another one."""
        pairs = [("provenance_certificate", "provenance_key")]
        if self.storage is not None:
            pairs.append(("s3_access_key_id", "s3_secret_access_key"))
        for pair in pairs:
            for name, other in (pair, pair[::-1]):
                if getattr(self, name) is not None and getattr(self, other) is None:
                    variables = {each.name: each.variables[0] for each in self.declared()}
                    raise given[name].error(f"is of no use alone: set {other} ({variables[other]}) too")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """The settings that variables alone give; raises as :meth:`read`."""
        return cls.read(from_variables(environment))


def from_variables(environment: Mapping[str, str]) -> dict[str, Given]:
    """What environment variables say, by the names of the settings; an empty variable counts as unset."""
    found = {}
    for each in Settings.declared():
        variable = next((name for name in each.variables if environment.get(name)), None)
        if variable is not None:
            found[each.name] = Given(environment[variable], variable, variable)
    return found


def _has_gpu(device: str) -> bool:
    """Whether ``device`` is a GPU; ``auto`` is one if the system has a device file for one, since torch is not here."""
    return any(path.exists() for path in _GPU_FILES) if device == "auto" else device != "cpu"
