"""The job service: what every dialect does with jobs, and what a caller inside the server does without HTTP."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from anyio import to_thread

from models.errors import FieldProblem, InvalidTicket, PhotogramError, ProblemCode, StorageUnavailable
from models.jobs.agents import AGENT, AgentRequest
from models.jobs.cost import NO_LIMITS, Cost, CostLimits
from models.jobs.kinds import find_kind
from models.jobs.options import NO_OPTIONS, JobOptions
from models.jobs.params import (
    C2PA,
    DrawParams,
    DrawRequest,
    FaceRestoreRequest,
    JobParams,
    JobRequest,
    UpscaleRequest,
)
from models.jobs.payload import build, plain
from models.jobs.records import JOB_ID_PATTERN, JobRecord
from models.jobs.results import StoredFile
from models.jobs.seeds import later_seed
from models.jobs.sources import sources_of
from models.jobs.tickets import Ticket, open_ticket
from models.jobs.urls import without_credentials
from service.backbone.admission import Accepted, Entry
from service.backbone.agent_jobs import INPUTS_MAX
from service.backbone.allowances import Demand
from service.backbone.catalog_file import CatalogFile
from service.backbone.ledger import Ledger
from service.backbone.listing import Cursor, JobListing, JobQuery, Page
from service.backbone.objects.protocol import StoredObject
from service.backbone.owned_jobs import Deletion, OwnedJobs
from service.backbone.pieces import made_in_pieces
from service.backbone.preferences import Preferences
from service.backbone.queue import Intake
from service.backbone.records import is_hidden
from service.backbone.storage import StorageMonitor
from service.backbone.store import FileStore, ImageStore
from service.backbone.watch import JobEvent, JobWatcher
from service.backbone.webhooks.endpoints import WebhookStore
from service.backbone.webhooks.events import WebhookLinks
from service.jobs.batches import BatchItem, Estimate
from service.jobs.caller import Caller
from service.jobs.earlier import require_replayable
from service.jobs.errors import FileGone, ImageGone, JobNotFound, NotAsked
from service.jobs.images import ImageIntake, StoredArchive, StoredInput
from service.jobs.rules import allowed_provenance, require_allowed, require_kept, with_allowed_priority
from service.jobs.webhooks import JobWebhook, require_webhook_allowed

_T = TypeVar("_T")
Reserve = Callable[[JobParams, Cost], Awaitable[None]]
"""Takes what a job will use from a budget."""


class JobService:
    """Submits, finds, watches and cancels jobs, for one process with one event loop.

    Args:
        public_url: what links to our own images start with, if the server has one fixed address.
        storage: says whether there is room for the results of further jobs.
        provenance: how images are marked unless a key prefers something else, one of ``models.jobs.params.PROVENANCE``.
        webhooks: says to where webhooks of jobs may go.
        ledger: has the earlier jobs that replays name.
        limits: what one request of any caller may cost.
        retention_s: how long results are kept, unless the caller has a rule of its own; ``None`` is for ever.
    """

    def __init__(
        self,
        *,
        catalog: CatalogFile,
        intake: Intake,
        watcher: JobWatcher,
        preferences: Preferences,
        images: ImageStore,
        files: FileStore,
        image_intake: ImageIntake,
        webhooks: WebhookStore,
        ledger: Ledger,
        listing: JobListing,
        owned_jobs: OwnedJobs,
        public_url: str | None,
        limits: CostLimits = NO_LIMITS,
        storage: StorageMonitor | None = None,
        provenance: str = C2PA,
        retention_s: int | None = None,
    ) -> None:
        self._catalog, self._intake, self._watcher, self._preferences = catalog, intake, watcher, preferences
        self._images, self._files, self._image_intake = images, files, image_intake
        self._public_url, self._limits, self._storage = public_url, limits, storage
        self._provenance = provenance
        self._webhooks, self._ledger = webhooks, ledger
        self._retention_s = retention_s
        self._listing, self._owned_jobs = listing, owned_jobs

    # Submitting

    async def submit(
        self,
        caller: Caller,
        request: JobRequest,
        *,
        our_url: str | None = None,
        job_id: str | None = None,
        idempotency_key: str | None = None,
        echo: Mapping[str, Any] | None = None,
        is_leased: bool = False,
        webhook: JobWebhook | None = None,
        options: JobOptions = NO_OPTIONS,
        reserve: Reserve | None = None,
    ) -> Accepted:
        """Queue ``request``.

        Args:
            our_url: what links to our own images start with; ``None`` is the server's public URL.
            job_id: an id that the caller chose; the same id with the same request is the same job.
            idempotency_key: likewise, for a job whose id the server chooses.
            echo: what the record keeps as the request, in a dialect's own words; ``None`` keeps ``request``.
            is_leased: whether the job ends with its caller, who must renew its lease.
            webhook: a URL that gets events of this job.
            options: what the request says beside its parameters.
            reserve: called before the job is accepted; what it raises refuses the job.

        Raises:
            InvalidTicket: the request cannot be done, or the caller may not make it.
            AlreadyUsed: the job id or the idempotency key belongs to another request.
            QueueFull: too many jobs wait.
            LimitReached: the caller has reached one of its limits.
            StorageUnavailable: the disk is full or nearly full, or cannot be written.
        """
        await self._require_room()
        (preferred,) = await self._preferred(caller, [request])

        def opened() -> Entry:
            return self._open(caller, preferred, request, our_url, options, job_id=job_id, echo=echo, webhook=webhook)

        entry = await _called(opened, is_quick=webhook is None and not _reads(preferred))
        entry = replace(entry, idempotency_key=idempotency_key, is_leased=is_leased)
        if reserve is not None:
            await reserve(entry.ticket.params, self._cost(entry.ticket.params))
        accepted = await self._intake.accept(entry, caller.allowance)
        _note_remainders(caller, [accepted])
        return accepted

    async def estimate(
        self,
        caller: Caller,
        request: JobRequest,
        *,
        our_url: str | None = None,
        webhook: JobWebhook | None = None,
        options: JobOptions = NO_OPTIONS,
    ) -> Estimate:
        """What ``request`` would become now; no job is made, but the request is counted.

        Raises:
            InvalidTicket: as :meth:`submit`.
            LimitReached: the caller has sent too many requests.
        """
        (preferred,) = await self._preferred(caller, [request])

        def opened() -> tuple[Entry, Cost]:
            entry = self._open(caller, preferred, request, our_url, options, webhook=webhook)
            return entry, self._cost(entry.ticket.params)

        entry, cost = await to_thread.run_sync(opened)
        refusal = await self._intake.try_out(entry, caller.allowance)
        return Estimate(entry.ticket.params, cost, refusal or await self._no_room())

    async def submit_batch(
        self,
        caller: Caller,
        items: Sequence[BatchItem],
        *,
        our_url: str | None = None,
        idempotency_key: str | None = None,
        is_partial: bool = False,
    ) -> list[Accepted | PhotogramError]:
        """Queue all of ``items`` or none; if ``is_partial``, those that can be, with the error of each other one.

        The batch counts as one request. The limits on cost hold for each job alone.

        Args:
            idempotency_key: the same key with the same items gives the same jobs.

        Raises:
            InvalidTicket, AlreadyUsed, QueueFull, LimitReached: as :meth:`submit`, for a batch that is not partial; the
                fields are those of ``jobs[<index>]``.
            LimitReached: the caller has sent too many requests.
            StorageUnavailable: as :meth:`submit`.
        """
        await self._require_room()
        preferred = await self._preferred(caller, [each.request for each in items])

        def opened(index: int) -> Entry:
            item = items[index]
            entry = self._open(caller, preferred[index], item.request, our_url, item.options, webhook=item.webhook)
            key = None if idempotency_key is None else f"{idempotency_key}\n{index}"
            return replace(entry, requested={**entry.requested, "batch_of": len(items)}, idempotency_key=key)

        found = await to_thread.run_sync(lambda: [_or_invalid(opened, index) for index in range(len(items))])
        return await (self._accept_each(caller, found) if is_partial else self._accept_batch(caller, found))

    async def _accept_batch(
        self, caller: Caller, found: Sequence[Entry | InvalidTicket]
    ) -> list[Accepted | PhotogramError]:
        entries = [each for each in found if isinstance(each, Entry)]
        problems = [
            problem.renamed(f"jobs[{index}].{problem.field}")
            for index, each in enumerate(found)
            if isinstance(each, InvalidTicket)
            for problem in each.problems
        ]
        if problems or (problems := list(_other_queues(entries))):
            raise InvalidTicket(problems)
        return [*await self._accept_all(caller, entries)]

    async def _accept_all(self, caller: Caller, entries: Sequence[Entry]) -> list[Accepted]:
        """Queue all of ``entries`` or none: one request, whose first job needs room for all."""
        step_px = [each.demand.step_px for each in entries]
        first = Demand(step_px[0], room_jobs=len(entries), room_step_px=sum(step_px))
        all_of_them = [replace(entries[0], demand=first), *map(_uncounted, entries[1:])]
        accepted = await self._intake.accept_all(all_of_them, caller.allowance)
        _note_remainders(caller, accepted)
        return accepted

    async def _accept_each(
        self, caller: Caller, found: Sequence[Entry | InvalidTicket]
    ) -> list[Accepted | PhotogramError]:
        entries = [_uncounted(each) for each in found if isinstance(each, Entry)]
        if entries:
            counted = replace(entries[0], demand=Demand(room_jobs=0))
            await self._intake.try_out(counted, caller.allowance)
        answers = await self._intake.accept_each(entries, caller.allowance)
        _note_remainders(caller, [each for each in answers if isinstance(each, Accepted)])
        accepted = iter(answers)
        return [next(accepted) if isinstance(each, Entry) else each for each in found]

    def _open(
        self,
        caller: Caller,
        preferred: JobRequest,
        request: JobRequest,
        our_url: str | None,
        options: JobOptions,
        *,
        job_id: str | None = None,
        echo: Mapping[str, Any] | None = None,
        equal_jobs: int = 1,
        webhook: JobWebhook | None = None,
    ) -> Entry:
        """The job of ``request``, which has all images, is valid and allowed; ``preferred`` has the preferences too.

        Args:
            equal_jobs: of how many jobs of this cost the request is the first; their cost is checked together.
        """
        if webhook is not None:
            require_webhook_allowed(caller, webhook, self._webhooks)
        taken = self.take_in(preferred, our_url)
        ticket = open_ticket(taken, self._catalog.current(), owner=caller.key_id, job_id=job_id, options=options)
        ticket = replace(ticket, safety=caller.safety)
        require_allowed(caller, ticket)
        require_kept(options, self._intake.record_ttl_s)
        require_replayable(self._ledger, self._files, caller, request)
        cost = self._cost(ticket.params)
        self._check_cost(caller, cost.times(equal_jobs))
        said = _without_credentials({**(_explicit(taken, request) if echo is None else echo), **options.given})
        links = WebhookLinks(our_url or self._public_url or "")
        if webhook is not None:
            said |= {"webhook": webhook.to_payload()}
            links = replace(links, url=webhook.url, events=webhook.events)
        return Entry(
            ticket,
            said,
            Demand(cost.step_px),
            links=links,
            retention_s=self._retention_s if caller.retention_s is None else caller.retention_s,
            weight=caller.weight,
        )

    async def _require_room(self) -> None:
        """Raise :class:`StorageUnavailable` if there is no room for results; only a new check needs a thread."""
        storage = self._storage
        if storage is not None:
            await _called(storage.require_room, is_quick=storage.is_checked)

    async def _no_room(self) -> StorageUnavailable | None:
        try:
            await self._require_room()
        except StorageUnavailable as error:
            return error
        return None

    def limits_of(self, caller: Caller) -> CostLimits:
        """What one request of ``caller`` may cost."""
        return self._limits.and_also(caller.limits)

    def _cost(self, params: JobParams) -> Cost:
        return params.cost(self._image_intake.sizes(params))

    def _check_cost(self, caller: Caller, cost: Cost) -> None:
        """Raise :class:`InvalidTicket` if ``cost`` is above a limit."""
        problems = list(self.limits_of(caller).problems(cost))
        if problems:
            raise InvalidTicket(problems)

    async def submit_all(
        self, caller: Caller, requests: Sequence[JobRequest], *, our_url: str | None = None
    ) -> list[JobRecord]:
        """Queue all of ``requests`` for a caller who waits (their leases must be renewed), or none.

        Their cost is checked together. Raises as :meth:`submit`.
        """
        await self._require_room()
        preferred = await self._preferred(caller, requests)

        def opened() -> list[Entry]:
            entries = [self._open(caller, *each, our_url, NO_OPTIONS) for each in zip(preferred, requests, strict=True)]
            total = Cost()
            for entry in entries:
                total = total.plus(self._cost(entry.ticket.params))
            self._check_cost(caller, total)
            return entries

        return await self._accept_leased(caller, await to_thread.run_sync(opened))

    async def submit_series(
        self, caller: Caller, request: DrawRequest, count: int, *, our_url: str | None = None
    ) -> list[JobRecord]:
        """Queue ``count`` images of ``request`` with consecutive seeds, for a caller who waits, or none.

        The largest seed is followed by 0.
        Variations have one seed, and consecutive seeds of their variation, as in A1111. The jobs' leases must be
        renewed. Raises as :meth:`submit`.
        """
        await self._require_room()
        (preferred,) = await self._preferred(caller, [request])

        def opened() -> list[Entry]:
            first = self._open(caller, preferred, request, our_url, NO_OPTIONS, equal_jobs=count)
            later = (_with_later_seed(first.ticket, index) for index in range(1, count))
            return [first, *(self._open(caller, each, each, our_url, NO_OPTIONS) for each in later)]

        return await self._accept_leased(caller, await to_thread.run_sync(opened))

    async def _accept_leased(self, caller: Caller, entries: Sequence[Entry]) -> list[JobRecord]:
        """Queue all of ``entries``, whose caller waits, or none."""
        leased = [replace(entry, is_leased=True) for entry in entries]
        return [accepted.record for accepted in await self._accept_all(caller, leased)]

    async def _preferred(self, caller: Caller, requests: Sequence[JobRequest]) -> list[JobRequest]:
        """``requests`` with what the API key prefers where they leave something open."""
        found = await self._preferences.get(caller.key_id)
        provenance = allowed_provenance(caller, found.provenance or self._provenance)
        values = {**vars(found), "provenance": provenance}

        def preferred(request: JobRequest) -> JobRequest:
            return with_allowed_priority(caller, _with_preferences(values, request))

        return await made_in_pieces(preferred, requests)

    # Images that jobs start from, and what came of jobs; these methods block

    def store_image(self, data: bytes) -> StoredInput:
        """Store an uploaded image; raises :class:`~service.jobs.errors.ImageRefused`."""
        return self._image_intake.store(data)

    def store_archive(self, data: bytes) -> StoredArchive:
        """Store an uploaded zip archive; raises :class:`~service.jobs.errors.ImageRefused`."""
        return self._image_intake.store_archive(data)

    def take_in(self, request: JobRequest, our_url: str | None = None) -> Any:
        """``request`` with its images and archives stored and checked; raises as :meth:`ImageIntake.take_in`."""
        return self._image_intake.take_in(request, our_url or self._public_url)

    def read_images(self, record: JobRecord) -> list[bytes]:
        """The images of a finished job as PNG files; raises :class:`~service.jobs.errors.ImageGone`."""
        return [_read(self._images.find(image.image_id)) for image in record.images]

    def find_file(self, file: StoredFile) -> StoredObject:
        """A file of a finished job; raises :class:`~service.jobs.errors.FileGone`."""
        found = self._files.find(file.file_id)
        if found is None:
            raise FileGone("the file is not there any more")
        return found

    # Jobs that were submitted

    async def find(self, caller: Caller, job_id: str) -> JobRecord:
        """The job of that id; raises :class:`JobNotFound` if ``caller`` has no such job."""
        return self.read(job_id, await self.find_fields(caller, job_id))

    async def find_fields(self, caller: Caller, job_id: str) -> Mapping[bytes, bytes]:
        """The hash of the job of that id, for :meth:`read`; raises :class:`JobNotFound` as :meth:`find`."""
        fields = await self._watcher.fields(job_id) if JOB_ID_PATTERN.fullmatch(job_id) else {}
        if fields.get(b"owner") != caller.key_id.encode() or is_hidden(fields):
            raise JobNotFound("there is no such job")
        return fields

    def read(self, job_id: str, fields: Mapping[bytes, bytes]) -> JobRecord:
        """The record in the hash ``fields``; raises :class:`JobNotFound` if it cannot be read."""
        record = self._watcher.known(job_id, fields)
        if record is None:
            raise JobNotFound("there is no such job")
        return record

    async def list(self, caller: Caller, query: JobQuery, *, limit: int, cursor: Cursor | None = None) -> Page:
        """The newest jobs of ``caller`` that fit ``query``, behind ``cursor``, at most ``limit``."""
        return await self._listing.page(caller.key_id, query, limit, cursor)

    async def wait(self, caller: Caller, job_id: str, timeout_s: float) -> JobRecord:
        """The job once it is over, or as it is after ``timeout_s``; raises :class:`JobNotFound`."""
        record = await self.find(caller, job_id)
        if timeout_s <= 0 or record.status.is_terminal:
            return record
        return await self._watcher.wait(job_id, timeout_s) or record

    async def cancel(self, caller: Caller, job_id: str) -> JobRecord:
        """Cancel the job, at once if it is queued, else within one step; raises :class:`JobNotFound`."""
        await self.find(caller, job_id)
        await self._watcher.cancel(job_id)
        return await self.find(caller, job_id)

    async def tell(self, caller: Caller, job_id: str, text: str, question_id: str | None = None) -> JobRecord:
        """Tell an agent job what a person says: the answer to its question if it has one, or else for its further work.

        Args:
            question_id: the question that is answered, if only that one may be.

        Raises:
            JobNotFound: ``caller`` has no such job.
            NotAsked: the job takes nothing from people, or not this.
        """
        if (await self.find(caller, job_id)).kind != AGENT:
            raise NotAsked("only jobs of the kind agent take something from people")
        told = await self._watcher.tell_agent(job_id, text, question_id)
        if told != "told":
            raise NotAsked(_NOT_TOLD[told])
        return await self.find(caller, job_id)

    async def delete(self, caller: Caller, job_id: str) -> None:
        """Delete the job with its events, images and files; one that has not ended is cancelled first.

        Nobody sees any part of the job from now on. What a worker still runs is removed when it ends.

        Raises:
            JobNotFound: ``caller`` has no such job.
        """
        await self.find(caller, job_id)
        if not await to_thread.run_sync(self._owned_jobs.delete, caller.key_id, job_id):
            raise JobNotFound("there is no such job")

    async def delete_all(self, caller: Caller) -> Deletion:
        """Delete all jobs of ``caller``, each as :meth:`delete` does."""
        return await to_thread.run_sync(self._owned_jobs.delete_all, caller.key_id)

    async def delete_image(self, caller: Caller, job_id: str, image_id: str) -> None:
        """Delete one image of a job, which keeps its record.

        Raises:
            JobNotFound: ``caller`` has no such job.
            ImageGone: the job has no such image.
        """
        await self.find(caller, job_id)
        if not await to_thread.run_sync(self._owned_jobs.delete_image, caller.key_id, job_id, image_id):
            raise ImageGone("the job has no such image")

    async def abandon(self, job_ids: Sequence[str]) -> None:
        """Cancel jobs that this server submitted itself and nobody waits for any more."""
        for job_id in job_ids:
            await self._watcher.cancel(job_id)

    async def watch(
        self, caller: Caller, job_id: str, *, after: str, keep_alive_s: float
    ) -> AsyncGenerator[JobEvent | None, None]:
        """The events of the job after the event id ``after``, until it is over.

        Gives ``None`` after each ``keep_alive_s`` without an event.

        Raises:
            JobNotFound: ``caller`` has no such job.
        """
        await self.find(caller, job_id)
        return self._watcher.events(job_id, after, keep_alive_s)


_NOT_TOLD: Mapping[str, str] = {
    "over": "the job has ended",
    "other": "the job does not ask this question, or not any more",
    "full": f"the job has been told {INPUTS_MAX} things, which is all that it takes",
}


def _with_preferences(values: Mapping[str, Any], request: JobRequest) -> JobRequest:
    """``request`` with ``values``, the preferences of the API key by name, where it leaves open what they decide."""
    if not isinstance(request, DrawRequest | UpscaleRequest | FaceRestoreRequest):
        return request
    names = ("metadata", "provenance", "enhance_prompt", "enhance_negative_prompt")
    missing = [name for name in names if getattr(request, name, "") is None]
    return replace(request, **{name: values[name] for name in missing}) if missing else request


def _note_remainders(caller: Caller, accepted: Sequence[Accepted]) -> None:
    """Note what is left of each limit after the last of the jobs that it counts."""
    caller.remainders[:] = {each.limit: each for job in accepted for each in job.remainders}.values()


def _uncounted(entry: Entry) -> Entry:
    """``entry`` as a part of a request that another job counts."""
    return replace(entry, demand=replace(entry.demand, requests=0))


async def _called(call: Callable[[], _T], *, is_quick: bool) -> _T:
    """The result of ``call``; in a thread unless ``is_quick``, because threads and the event loop take turns."""
    return call() if is_quick else await to_thread.run_sync(call)


def _reads(request: JobRequest) -> bool:
    """Whether the job starts from something that must be read before it is accepted: images, or an earlier job."""
    return any(sources_of(request)) or (isinstance(request, AgentRequest) and request.replay is not None)


def _or_invalid(opened: Callable[[int], Entry], index: int) -> Entry | InvalidTicket:
    try:
        return opened(index)
    except InvalidTicket as error:
        return error


def _other_queues(entries: Sequence[Entry]) -> Iterator[FieldProblem]:
    """The jobs that wait in another queue than the first: one transaction checks the room in one queue."""
    queues = [find_kind(entry.ticket.kind).queue for entry in entries]
    for index, queue in enumerate(queues):
        if queue != queues[0]:
            message = "waits in another queue than the first job: send a batch of its own, or a partial one"
            yield FieldProblem(f"jobs[{index}].kind", message, ProblemCode.CONFLICT)


def _explicit(taken: JobRequest, request: JobRequest) -> dict[str, Any]:
    """What ``request`` itself says, without what it leaves open; its images as they were ``taken`` in."""
    given = {name: value for name, value in plain(taken).items() if getattr(request, name) not in (None, ())}
    kind = given.pop("kind")
    return {"kind": kind, "params": given}


def _without_credentials(value: Any) -> Any:
    """``value``, JSON-ready, without the user names and passwords that URLs in it contain."""
    if isinstance(value, Mapping):
        return {name: _without_credentials(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_credentials(each) for each in value]
    return without_credentials(value) if isinstance(value, str) else value


def _with_later_seed(first: Ticket, index: int) -> DrawRequest:
    """The request for the image of ``first`` with a seed that is ``index`` above."""
    assert isinstance(first.params, DrawParams)
    params, variation = first.params, first.params.variation
    if variation is None:
        later = replace(params, seed=later_seed(params.seed, index))
    else:
        later = replace(params, variation=replace(variation, seed=later_seed(variation.seed or 0, index)))
    return build(
        DrawRequest,
        {**later.to_payload(), "metadata": params.metadata, "provenance": params.provenance, "kind": first.kind},
    )


def _read(image: StoredObject | None) -> bytes:
    try:
        if image is not None:
            return image.read()
    except FileNotFoundError:
        pass
    raise ImageGone("the image is not there any more")
