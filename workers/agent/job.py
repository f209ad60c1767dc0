"""The function of the job kind ``agent``: opens what the job needs, runs its loop, and gives back what was made."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from io import BytesIO
from typing import Any

from anyio import to_thread
from PIL import Image

from models.agent.refusals import PlanRefused
from models.errors import AgentFailed, InputUnavailable
from models.jobs.agents import AGENT, AgentParams
from models.jobs.records import JobStatus
from models.jobs.results import FileOutput, JobOutput, Json
from service.backbone.agent_jobs import AgentRecord, Most
from service.backbone.catalog_file import CatalogFile
from service.backbone.connections import connect, connect_async
from service.backbone.key_store import KeyNotFound, KeyStore
from service.backbone.language import open_engine
from service.backbone.ledger import Ledger
from service.backbone.objects.opening import KINDS, Stores, open_monitor, open_stores
from service.backbone.watch import JobWatcher
from service.jobs.caller import Caller, caller_of
from service.jobs.opening import open_jobs
from service.jobs.service import JobService
from workers.agent.errors import ExecutionLost, StepsDiverged
from workers.agent.job_tools import job_tools
from workers.agent.jobs import AgentJobs
from workers.agent.loop import AgentLoop, Course
from workers.agent.people import People
from workers.agent.planners import open_planner
from workers.agent.report import markdown, page
from workers.agent.steps import RecordedSteps
from workers.agent.tool_server.settings import ToolSettings
from workers.agent.toolbox import AgentTools, Places
from workers.agent.workspace import Workspace
from workers.functions import FunctionCall, JobCanceled
from workers.scratch import disk_problems_as, scratch_folder

log = logging.getLogger(__name__)

FOLDER = "agents"
"""In the data folder: where the workspaces of running agent jobs lie."""
RECORD = "record.json"
"""The file of a job that a replay reads."""
_RECORD_VERSION = 1
_IMAGES_MAX = 16
"""How many images the result has; the archive has them all."""
_CANCELED_EVERY_S = 0.2
_SHOWN_TYPES = {".gif": "image/gif", ".pdf": "application/pdf"}
"""Files of the workspace that are files of the result, too."""


def run_agent(call: FunctionCall) -> JobOutput:
    """Run an agent job, or go on with it where an earlier worker was.

    Raises:
        JobCanceled: the job was canceled, and so are its own jobs; or it goes on in another worker.
        AgentFailed: nothing was made.
        JobFailure: it cannot be run.
    """
    return asyncio.run(_canceled_with(call, _run(call)))


async def _canceled_with(call: FunctionCall, running: Any) -> JobOutput:
    """The result of ``running``, which is canceled once the result of ``call`` is no longer needed."""
    task = asyncio.ensure_future(running)
    while not task.done():
        await asyncio.wait([task], timeout=_CANCELED_EVERY_S)
        if call.is_canceled() and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
            raise JobCanceled
    result: JobOutput = task.result()
    return result


async def _run(call: FunctionCall) -> JobOutput:
    params = call.params
    assert isinstance(params, AgentParams) and call.settings.redis_url is not None
    async with AsyncExitStack() as opened:
        connection = opened.enter_context(connect(call.settings.redis_url, "photogram-agent"))
        stores = open_stores(call.settings)
        earlier = None
        if params.replay is not None:
            ledger = Ledger(connection, call.settings.record_ttl_s)
            earlier = await to_thread.run_sync(_earlier, ledger, stores, call.owner, params.replay)
            params = AgentParams.from_payload({**earlier["params"], "budget": params.budget.to_payload()})
        record = AgentRecord(connection, call.job_id, call.execution_id)
        budget = params.budget
        most = Most.of(budget.steps, budget.images, budget.cost_units)
        steps = RecordedSteps(
            record, most, budget.seconds, earlier and earlier["steps"], lambda taken: call.report(taken, budget.steps)
        )
        await steps.open()
        people = People(record, steps, call.tell)
        # it begins empty, also where the job goes on: its files come from the recorded steps
        opened.enter_context(disk_problems_as(AgentFailed, "the workspace"))
        folder = opened.enter_context(scratch_folder(call.settings.data.absolute() / FOLDER)) / "workspace"
        settings = ToolSettings(workspace=str(folder), allow_python=call.settings.agent_python)
        workspace = await opened.enter_async_context(Workspace(settings))
        jobs = await opened.enter_async_context(_jobs(call, connection, stores))
        keys = KeyStore(connection)

        def caller() -> Caller:
            return _caller(keys, call)

        agent_jobs = AgentJobs(
            jobs, caller, steps, workspace.get,
            job_id=call.job_id, seed=params.seed, model=params.model, priority=params.priority,
        )  # fmt: skip
        tools = AgentTools(
            workspace, await workspace.tools(), job_tools(call.catalog), agent_jobs, people, steps,
            stores.inputs, stores.images, mode=params.mode, tell=call.tell,
        )  # fmt: skip
        files = await _add_files(call, params, earlier, tools, stores)
        started_with = dict(tools.places)
        engine = open_engine(call.settings)
        if engine is not None:
            opened.push_async_callback(engine.aclose)
        try:
            planner = await open_planner(call.settings, call.catalog, engine, params, steps, files, call.tell)
            loop = AgentLoop(planner, tools, people, params.brief, files, call.tell)
            course = await loop.run()
        except (PlanRefused, StepsDiverged) as error:
            raise AgentFailed(str(error)) from error
        except ExecutionLost as error:
            raise JobCanceled from error
        except asyncio.CancelledError:
            if await asyncio.shield(to_thread.run_sync(record.is_cancel_requested)):
                await asyncio.shield(agent_jobs.cancel_running())
            raise
        return await _Result(params, started_with, steps, course, tools, workspace, record).output()


@asynccontextmanager
async def _jobs(call: FunctionCall, blocking: Any, stores: Stores) -> AsyncIterator[JobService]:
    """The job service on this event loop, with what tells it of changes."""
    settings = call.settings
    assert settings.redis_url is not None
    connection = connect_async(settings.redis_url, "photogram-agent")
    watcher = JobWatcher(connection, settings.record_ttl_s)
    listening = asyncio.create_task(watcher.listen())
    try:
        yield open_jobs(
            settings, connection, blocking,
            catalog=CatalogFile(settings.catalog_path), watcher=watcher, stores=stores,
            storage=open_monitor(settings, KINDS, settings.min_free_bytes),
        )  # fmt: skip
    finally:
        while not listening.done():  # the Redis client may swallow a cancellation while it connects
            listening.cancel()
            await asyncio.wait([listening], timeout=_CANCELED_EVERY_S)
        await connection.aclose(close_connection_pool=True)


def _caller(keys: KeyStore, call: FunctionCall) -> Caller:
    """The key that the job works for, with its rules of now; raises :class:`AgentFailed` once it is refused."""
    try:
        record = keys.get(call.owner)
    except KeyNotFound as error:
        raise AgentFailed("the API key of the job does not exist any more") from error
    if problem := record.problem(time.time()):
        raise AgentFailed(f"the API key of the job {problem}")
    return caller_of(record, call.settings)


def _earlier(ledger: Ledger, stores: Stores, owner: str, job_id: str) -> dict[str, Any]:
    """The record of the agent job that is replayed; raises :class:`AgentFailed`."""
    record = ledger.read(job_id)
    if record is None or record.owner != owner or record.kind != AGENT or record.status is not JobStatus.SUCCEEDED:
        raise AgentFailed("replay: there is no such agent job of this API key that succeeded", field="replay")
    file = next((each for each in record.files if each.name == RECORD), None)
    found = None if file is None else stores.files.find(file.file_id)
    try:
        if found is not None:
            earlier: dict[str, Any] = json.loads(found.read())
            if earlier.get("version") == _RECORD_VERSION:
                return earlier
    except (FileNotFoundError, ValueError):
        pass
    raise AgentFailed("replay: the record of that job is gone, or was written by another version", field="replay")


async def _add_files(
    call: FunctionCall, params: AgentParams, earlier: Mapping[str, Any] | None, tools: AgentTools, stores: Stores
) -> dict[str, str]:
    """Put the files of the request into the workspace, as PNG files without what they said of themselves."""
    described = {}
    if earlier is not None:
        for name, place in earlier["files"].items():
            await tools.add(name, await tools.read_stored(place), place)
            described[name] = "an image of the brief"
        return described
    for number, source in enumerate(params.files, 1):
        if source not in call.images:
            raise InputUnavailable(f"the image {number} of the brief was not loaded")
        buffer = BytesIO()
        call.images[source].save(buffer, "PNG")
        place = "input:" + await to_thread.run_sync(stores.inputs.add, buffer.getvalue())
        name = f"input-{number}.png"
        await tools.add(name, buffer.getvalue(), place)
        described[name] = f"an image of the brief, {call.images[source].width}x{call.images[source].height}"
    return described


class _Result:
    """What an agent job gives back."""

    def __init__(
        self,
        params: AgentParams,
        started_with: Places,
        steps: RecordedSteps,
        course: Course,
        tools: AgentTools,
        workspace: Workspace,
        record: AgentRecord,
    ) -> None:
        self._params, self._started_with, self._steps, self._course = params, started_with, steps, course
        self._tools, self._workspace, self._record = tools, workspace, record

    async def output(self) -> JobOutput:
        """The images, the report and the record; raises :class:`AgentFailed` if nothing was made."""
        made = self._made()
        data = {name: await self._workspace.get(name) for name in made}
        names = [name for name in made if name.endswith(".png")][:_IMAGES_MAX]
        document = await self._document(made, names)
        if not made:
            raise AgentFailed(f"nothing was made: {_why(self._course)}", document=document)
        return JobOutput(
            images=tuple(_opened(data[name]) for name in names),
            document=document,
            files=(*await self._reports(document, made, {name: data[name] for name in names}), *_shown_files(data)),
        )

    def _made(self) -> list[str]:
        """The files that the job has made: those of later subtasks first, and then by name."""
        plan = self._course.plan
        order = {subtask.id: number for number, subtask in enumerate(plan.leaves() if plan else ())}

        def place(name: str) -> tuple[int, list[str | int]]:
            return -order.get(self._tools.made_by.get(name, ""), -1), _natural(name)

        return sorted((name for name in self._tools.places if name not in self._started_with), key=place)

    async def _reports(
        self, document: Mapping[str, Any], made: Sequence[str], images: Mapping[str, bytes]
    ) -> list[FileOutput]:
        brief, course, used = self._params.brief, self._course, document["used"]
        texts = (
            ("report.md", "text/markdown; charset=utf-8", markdown(brief, course, used, made)),
            ("report.html", "text/html; charset=utf-8", page(brief, course, used, images)),
            (RECORD, "application/json", json.dumps(self._replayed())),
        )
        return [
            *(FileOutput(name, kind, text.encode()) for name, kind, text in texts),
            FileOutput("workspace.zip", "application/zip", await self._workspace.archive()),
        ]

    async def _document(self, made: Sequence[str], images: Sequence[str]) -> dict[str, Json]:
        used = await to_thread.run_sync(self._record.spent)
        course = self._course
        return {
            "complete": course.is_complete,
            "ended_early": course.ended_early,
            "failed": [subtask.name for subtask in (course.plan.failures if course.plan else ())],
            "images": [*images],
            "files": [*made],
            "plan": [
                {"id": each.id, "name": each.name, "status": each.status}
                for each in (course.plan.all() if course.plan else ())
            ],
            "checks": [
                {"subtask": each.subtask, "try": each.number, "passed": each.passed, "error": each.performed.error,
                 "sentences": [verdict.sentence for verdict in each.verdicts]}
                for each in course.tries
            ],
            "used": {"steps": used.steps, "images": used.images, "cost_units": used.step_px / 1e6},
        }  # fmt: skip

    def _replayed(self) -> dict[str, Json]:
        return {
            "version": _RECORD_VERSION,
            "params": self._params.to_payload(),
            "files": {**self._started_with},
            "steps": self._steps.all,
        }


def _why(course: Course) -> str:
    if course.ended_early:
        return course.ended_early
    errors = [each.performed.error for each in course.tries if each.performed.error]
    return errors[-1] if errors else "the plan made no files"


def _shown_files(data: Mapping[str, bytes]) -> list[FileOutput]:
    """The files of the workspace that clients can show, but that are no images of jobs."""
    ends = {name: kind for name in data for end, kind in _SHOWN_TYPES.items() if name.endswith(end)}
    return [FileOutput(name, kind, data[name]) for name, kind in ends.items()]


def _natural(name: str) -> list[str | int]:
    """Sorts names with numbers by these: ``2.png`` before ``10.png``."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]


def _opened(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")
