"""The objects of the API as frozen dataclasses; unknown keys of newer servers are ignored."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Payload = Mapping[str, Any]

FINAL_STATUSES = frozenset({"succeeded", "failed", "canceled"})


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of finished denoising steps, and of all."""

    step: int
    steps: int
    note: Mapping[str, Any] | None = None
    """What a running job of some kinds told last, such as its stage."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Progress":
        return cls(int(payload["step"]), int(payload["steps"]), payload.get("note"))


@dataclass(frozen=True, slots=True)
class Image:
    """A finished image on the server; sizes in pixels."""

    url: str
    width: int
    height: int
    seed: int | None = None
    """What it was drawn with; of a job with `best_of`, alone it gives this image again."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Image":
        return cls(str(payload["url"]), int(payload["width"]), int(payload["height"]), payload.get("seed"))

    @property
    def source(self) -> str:
        """The name by which jobs start from the image."""
        folder, _, name = urlsplit(self.url).path.rpartition("/")
        image_id = name.partition(".")[0]
        return f"image:{image_id}" if folder.endswith("/images") and image_id else self.url


@dataclass(frozen=True, slots=True)
class Timings:
    """The seconds of each stage in the worker; None if unknown."""

    prepare_s: float | None = None
    denoise_s: float | None = None
    finish_s: float | None = None

    @classmethod
    def from_payload(cls, payload: Payload) -> "Timings":
        return cls(*(_seconds(payload.get(name)) for name in ("prepare_s", "denoise_s", "finish_s")))


@dataclass(frozen=True, slots=True)
class File:
    """A file that a job made; the download at `url` needs the API key."""

    url: str
    name: str
    media_type: str
    size_bytes: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "File":
        return cls(payload["url"], payload["name"], payload["media_type"], payload["size_bytes"])


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a succeeded job."""

    images: tuple[Image, ...]
    timings: Timings
    document: Any = None
    """The JSON result of kinds of jobs that have one."""
    files: tuple[File, ...] = ()
    backends: tuple[str, ...] = ()
    """What ran the model, such as ``openvino-int8``; ``eager`` is torch."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Result":
        return cls(
            images=tuple(Image.from_payload(image) for image in payload["images"]),
            timings=Timings.from_payload(payload.get("timings") or {}),
            document=payload.get("document"),
            files=tuple(File.from_payload(file) for file in payload.get("files") or ()),
            backends=tuple(payload.get("backends") or ()),
        )


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """Where a job is in its queue: how many jobs are taken before it, and in how many seconds it probably ends."""

    ahead: int
    eta_s: float | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "QueuePlace":
        return cls(int(payload["ahead"]), _seconds(payload.get("eta_s")))


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent job asks a person: an answer may be one of `choices` or any other text; `images` are URLs."""

    id: str
    question: str
    choices: tuple[str, ...]
    images: tuple[str, ...]

    @classmethod
    def from_payload(cls, payload: Payload) -> "Question":
        choices, images = map(str, payload.get("choices") or ()), map(str, payload.get("images") or ())
        return cls(str(payload["id"]), str(payload["question"]), tuple(choices), tuple(images))


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: a stable code for programs, a message for people."""

    code: str
    message: str

    @classmethod
    def from_payload(cls, payload: Payload) -> "Failure":
        return cls(code=str(payload["code"]), message=str(payload["message"]))


@dataclass(frozen=True, slots=True)
class Rewrite:
    """The outcome of rewriting a prompt.

    `status` is `applied`, or why the prompt is used unchanged: `skipped` (nothing to add), `timeout`, `unavailable` (no
    language model), `refused` (its text was unusable); `reason` says more.
    """

    status: str
    revised_prompt: str | None = None
    revised_negative_prompt: str | None = None
    engine: str | None = None
    template: str | None = None
    elapsed_s: float | None = None
    reason: str | None = None

    @classmethod
    def from_payload(cls, payload: Payload) -> "Rewrite":
        return cls(
            status=str(payload["status"]),
            revised_prompt=_text(payload.get("revised_prompt")),
            revised_negative_prompt=_text(payload.get("revised_negative_prompt")),
            engine=_text(payload.get("engine")),
            template=_text(payload.get("template")),
            elapsed_s=_seconds(payload.get("elapsed_s")),
            reason=_text(payload.get("reason")),
        )

    @property
    def is_applied(self) -> bool:
        """Whether the revised prompt is used instead of the original."""
        return self.status == "applied"


@dataclass(frozen=True, slots=True)
class Safety:
    """What the server's safety policy found in the images of a job."""

    policy: str
    """`tag`, `blur` or `refuse`."""
    classifier: str
    scores: tuple[float, ...] = ()
    """For each image how probably it is unsafe, 0 to 1; empty if they could not be scored."""
    flagged: tuple[bool, ...] = ()
    """For each image whether it is unsafe; `blur` has blurred those."""
    problem: str | None = None
    """Why the images could not be scored."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Safety":
        return cls(
            policy=str(payload["policy"]),
            classifier=str(payload["classifier"]),
            scores=tuple(float(score) for score in payload.get("scores") or ()),
            flagged=tuple(bool(flag) for flag in payload.get("flagged") or ()),
            problem=_text(payload.get("problem")),
        )


@dataclass(frozen=True, slots=True)
class Job:
    """The last known state of a job; `params` has the effective values, including the random seed.

    `revised_prompt` is used instead of the prompt if the server's language model rewrote it; `rewrite` is the outcome,
    or None before the attempt.
    """

    id: str
    kind: str
    status: str
    params: Payload = field(default_factory=dict, hash=False)
    progress: Progress | None = None
    result: Result | None = None
    error: Failure | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    revised_prompt: str | None = None
    rewrite: Rewrite | None = None
    tags: tuple[str, ...] = ()
    metadata: Payload = field(default_factory=dict, hash=False)
    queue: QueuePlace | None = None
    """Its place in the queue, where one unfinished job is read; else None."""
    warnings: tuple[str, ...] = ()
    """Why its image may disappoint, for people."""
    safety: Safety | None = None
    """What the safety policy found; None without one."""
    waiting_for_input: Question | None = None
    """What an agent job asks a person now; `client.jobs.tell` answers."""

    @property
    def source(self) -> str:
        """The name by which other jobs start from the first image; raises ValueError if this job has none."""
        if self.result is None or not self.result.images:
            raise ValueError(f"job {self.id} has no image, and is {self.status}")
        return self.result.images[0].source

    @classmethod
    def from_payload(cls, payload: Payload) -> "Job":
        """Read a job's JSON, such as the body of a webhook; raises KeyError, TypeError or ValueError."""
        progress, result, error = payload.get("progress"), payload.get("result"), payload.get("error")
        rewrite, queue, safety = payload.get("rewrite"), payload.get("queue"), payload.get("safety")
        question = payload.get("waiting_for_input")
        return cls(
            id=str(payload["id"]),
            kind=str(payload["kind"]),
            status=str(payload["status"]),
            params=dict(payload.get("params") or {}),
            progress=Progress.from_payload(progress) if progress else None,
            result=Result.from_payload(result) if result else None,
            error=Failure.from_payload(error) if error else None,
            created_at=_moment(payload.get("created_at")),
            started_at=_moment(payload.get("started_at")),
            finished_at=_moment(payload.get("finished_at")),
            revised_prompt=_text(payload.get("revised_prompt")),
            rewrite=Rewrite.from_payload(rewrite) if rewrite else None,
            tags=tuple(payload.get("tags") or ()),
            metadata=dict(payload.get("metadata") or {}),
            queue=QueuePlace.from_payload(queue) if queue else None,
            warnings=tuple(payload.get("warnings") or ()),
            safety=Safety.from_payload(safety) if safety else None,
            waiting_for_input=Question.from_payload(question) if question else None,
        )

    @property
    def is_finished(self) -> bool:
        """Whether the job has succeeded, failed or been canceled, which are final."""
        return self.status in FINAL_STATUSES

    @property
    def queued_s(self) -> float | None:
        """Seconds between the job's creation and its start, None before it started."""
        if self.created_at is None or self.started_at is None:
            return None
        return (self.started_at - self.created_at).total_seconds()


@dataclass(frozen=True, slots=True)
class OwnImage:
    """An image of a job of the API key; other jobs start from it by its `.source`."""

    id: str
    job_id: str
    url: str
    width: int
    height: int
    created_at: datetime

    @classmethod
    def from_payload(cls, payload: Payload) -> "OwnImage":
        return cls(
            id=str(payload["id"]),
            job_id=str(payload["job_id"]),
            url=str(payload["url"]),
            width=int(payload["width"]),
            height=int(payload["height"]),
            created_at=datetime.fromisoformat(payload["created_at"]),
        )

    @property
    def source(self) -> str:
        """The name by which jobs start from the image."""
        return f"image:{self.id}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the server refuses a job."""

    code: str
    detail: str

    @classmethod
    def from_payload(cls, payload: Payload) -> "Refusal":
        return cls(str(payload["code"]), str(payload["detail"]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a request would become: its effective parameters, its cost, and why it would be refused now."""

    kind: str
    params: Payload = field(hash=False)
    units: float
    refusal: Refusal | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "Estimate":
        refusal = payload.get("refusal")
        return cls(
            kind=str(payload["kind"]),
            params=dict(payload["params"]),
            units=float(payload["cost"]["units"]),
            refusal=Refusal.from_payload(refusal) if refusal else None,
        )


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one job of a batch: either the job, or the reason why there is none."""

    job: Job | None
    refusal: Refusal | None

    @classmethod
    def from_payload(cls, payload: Payload) -> "BatchItem":
        job, error = payload.get("job"), payload.get("error")
        return cls(Job.from_payload(job) if job else None, Refusal.from_payload(error) if error else None)


@dataclass(frozen=True, slots=True)
class Deletion:
    """How many jobs were deleted, and how many more disappear when their workers stop them."""

    deleted: int
    running: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "Deletion":
        return cls(int(payload["deleted"]), int(payload["running"]))


@dataclass(frozen=True, slots=True)
class PeriodUsage:
    """What the API key used in a day (2026-11-27) or a month (2026-11), in UTC; units are megapixel-steps."""

    period: str
    jobs: int
    units: float
    succeeded: int
    failed: int
    canceled: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "PeriodUsage":
        counts = (int(payload[name]) for name in ("succeeded", "failed", "canceled"))
        return cls(str(payload["period"]), int(payload["jobs"]), float(payload["units"]), *counts)


@dataclass(frozen=True, slots=True)
class Usage:
    """What the API key uses now, what it used in the last days (the newest first), and its limits by name."""

    queued: int
    running: int
    days: tuple[PeriodUsage, ...]
    month: PeriodUsage
    limits: Payload = field(hash=False)

    @classmethod
    def from_payload(cls, payload: Payload) -> "Usage":
        return cls(
            queued=int(payload["queued"]),
            running=int(payload["running"]),
            days=tuple(PeriodUsage.from_payload(day) for day in payload["days"]),
            month=PeriodUsage.from_payload(payload["month"]),
            limits=dict(payload["limits"]),
        )


@dataclass(frozen=True, slots=True)
class DownloadedImage:
    """A downloaded image: the bytes of its file and their format, pixel size, seed, and its place in its job."""

    data: bytes = field(repr=False)
    width: int
    height: int
    seed: int | None
    job: Job
    file_format: str = "png"
    index: int = 0

    @property
    def source(self) -> str:
        """The name by which jobs start from the image."""
        if self.job.result is None:
            return self.job.source
        return self.job.result.images[self.index].source

    def pil(self) -> "PillowImage":
        """The image as Pillow has it, which must be installed; raises ImportError."""
        from PIL import Image as pillow

        with pillow.open(io.BytesIO(self.data)) as image:
            image.load()
            return image

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        """WebP for notebooks, which have no other method for it."""
        return {"image/webp": base64.b64encode(self.data).decode()} if self.file_format == "webp" else {}

    def _repr_png_(self) -> bytes | None:
        return self.data if self.file_format == "png" else None

    def _repr_jpeg_(self) -> bytes | None:
        return self.data if self.file_format == "jpg" else None


@dataclass(frozen=True, slots=True)
class Model:
    """A model in the server's catalog; `problem` says why it is unusable if `is_available` is false."""

    name: str
    family: str = ""
    is_default: bool = False
    is_available: bool = True
    problem: str | None = None
    defaults: Payload = field(default_factory=dict, hash=False)
    limits: Payload = field(default_factory=dict, hash=False)
    aliases: tuple[str, ...] = ()
    licence: str | None = None

    @classmethod
    def from_payload(cls, payload: Payload) -> "Model":
        return cls(
            name=str(payload["name"]),
            family=str(payload.get("family") or ""),
            is_default=bool(payload.get("is_default", False)),
            is_available=bool(payload.get("is_available", True)),
            problem=payload.get("problem"),
            defaults=dict(payload.get("defaults") or {}),
            limits=dict(payload.get("limits") or {}),
            aliases=tuple(str(alias) for alias in payload.get("aliases") or ()),
            licence=payload.get("licence"),
        )


@dataclass(frozen=True, slots=True)
class Check:
    """What the server found of one of its parts; `status` is `ok`, `degraded`, `failed` or `off`."""

    name: str
    status: str
    detail: str | None = None
    queues: Payload | None = field(default=None, hash=False)
    """Of `workers`: how many are alive, by queue."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Check":
        queues = payload.get("queues")
        return cls(str(payload["name"]), str(payload["status"]), _text(payload.get("detail")), queues)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the server can process jobs; without a reason why not, it can."""

    problem: str | None
    checks: tuple[Check, ...]
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_payload(cls, payload: Payload) -> "Readiness":
        is_ready = payload["status"] == "ready"
        return cls(
            problem=None if is_ready else str(payload.get("detail") or payload.get("title")),
            checks=tuple(Check.from_payload(check) for check in payload["checks"]),
            warnings=tuple(payload.get("warnings") or ()),
        )


@dataclass(frozen=True, slots=True)
class QueueCount:
    """How full a queue of the server is, with the jobs of all API keys."""

    queue: str
    waiting: int
    """Jobs that no worker has taken yet."""
    running: int
    workers: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "QueueCount":
        counts = (int(payload[name]) for name in ("waiting", "running", "workers"))
        return cls(str(payload["queue"]), *counts)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What a server tells of itself."""

    version: str | None
    """None if the server is older than this field."""
    queues: tuple[QueueCount, ...]

    @classmethod
    def from_payload(cls, payload: Payload) -> "ServerInfo":
        return cls(
            _text(payload.get("version")), tuple(QueueCount.from_payload(each) for each in payload.get("queues") or ())
        )


@dataclass(frozen=True, slots=True)
class Capability:
    """A kind of job."""

    kind: str
    problem: str | None = None
    """Why the server can do no job of this kind; None if it can."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Capability":
        return cls(str(payload["kind"]), _text(payload.get("problem")))


@dataclass(frozen=True, slots=True)
class Sampler:
    name: str
    problem: str | None = None
    """Why it cannot be used; None if it can."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Sampler":
        return cls(name=str(payload["name"]), problem=_text(payload.get("problem")))


@dataclass(frozen=True, slots=True)
class Upscaler:
    name: str
    problem: str | None = None
    """Why it cannot be used; None if it can."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Upscaler":
        return cls(name=str(payload["name"]), problem=_text(payload.get("problem")))


@dataclass(frozen=True, slots=True)
class Lora:
    """A LoRA in the server's catalog; `family` is None if it is only known once the LoRA is loaded."""

    name: str
    family: str | None = None
    aliases: tuple[str, ...] = ()
    problem: str | None = None
    """Why it cannot be used; None if it can."""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Lora":
        return cls(
            name=str(payload["name"]),
            family=_text(payload.get("family")),
            aliases=tuple(str(alias) for alias in payload.get("aliases") or ()),
            problem=_text(payload.get("problem")),
        )


@dataclass(frozen=True, slots=True)
class Style:
    """A style preset: the texts before and after the prompt, and after the negative prompt."""

    name: str
    prefix: str = ""
    suffix: str = ""
    negative: str = ""

    @classmethod
    def from_payload(cls, payload: Payload) -> "Style":
        return cls(str(payload["name"]), *(str(payload.get(key) or "") for key in ("prefix", "suffix", "negative")))


@dataclass(frozen=True, slots=True)
class UploadedImage:
    """An image that was uploaded to the server: jobs start from it by its `source`; sizes in pixels."""

    source: str
    width: int
    height: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "UploadedImage":
        return cls(source=str(payload["source"]), width=int(payload["width"]), height=int(payload["height"]))


@dataclass(frozen=True, slots=True)
class UploadedArchive:
    """A zip archive that was uploaded to the server: jobs name it by its `source`."""

    source: str
    files: int

    @classmethod
    def from_payload(cls, payload: Payload) -> "UploadedArchive":
        return cls(source=str(payload["source"]), files=int(payload["files"]))


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)


def _text(value: object) -> str | None:
    return None if value is None else str(value)
