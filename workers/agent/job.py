"""The function of the job kind ``agent``: opens what the job needs, runs its loop, and gives back what was made."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Self

from anyio import to_thread
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from models.agent.refusals import PlanRefused
from models.errors import AgentFailed, InputUnavailable
from models.jobs.agents import AgentParams, Budget
from models.jobs.results import JobOutput
from models.language.client import LanguageEngine
from service.backbone.agent_jobs import AgentRecord, Most
from service.backbone.catalog_file import CatalogFile
from service.backbone.connections import connect, connect_async
from service.backbone.key_store import KeyNotFound, KeyStore
from service.backbone.language import open_engine
from service.backbone.ledger import Ledger
from service.backbone.objects.opening import KINDS, Stores, open_monitor, open_stores
from service.backbone.watch import JobWatcher
from service.jobs.caller import Caller, caller_of
from service.jobs.earlier import NotReplayable, find_record
from service.jobs.opening import open_jobs
from service.jobs.service import JobService
from workers.agent.errors import ExecutionLost, StepsDiverged
from workers.agent.finding import ImageFinder
from workers.agent.job_tools import job_tools
from workers.agent.jobs import AgentJobs
from workers.agent.loop import AgentLoop
from workers.agent.people import People
from workers.agent.planners import open_planner
from workers.agent.result import RECORD_VERSION, Result
from workers.agent.steps import RecordedSteps
from workers.agent.tool_server.settings import ToolSettings
from workers.agent.toolbox import AgentTools
from workers.agent.workspace import Workspace
from workers.functions import FunctionCall, JobCanceled
from workers.scratch import disk_problems_as, scratch_folder

FOLDER = "agents"
"""In the data folder: where the workspaces of running agent jobs lie."""
_CANCELED_EVERY_S = 0.2


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
    async with AsyncExitStack() as opened:
        job = await _Job.open(call, opened)
        try:
            return await job.run()
        except (PlanRefused, StepsDiverged) as error:
            raise AgentFailed(str(error)) from error
        except ExecutionLost as error:
            raise JobCanceled from error
        except asyncio.CancelledError:
            if await asyncio.shield(to_thread.run_sync(job.record.is_cancel_requested)):
                await asyncio.shield(job.jobs.cancel_running())
            raise


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One execution of an agent job, with all that it needs open."""

    call: FunctionCall
    params: AgentParams
    """Those of the job that is replayed, if one is."""
    earlier: Mapping[str, Any] | None
    """The record of that job."""
    record: AgentRecord
    steps: RecordedSteps
    people: People
    workspace: Workspace
    stores: Stores
    jobs: AgentJobs
    tools: AgentTools
    engine: LanguageEngine | None

    @classmethod
    async def open(cls, call: FunctionCall, opened: AsyncExitStack) -> Self:
        """Open it; what is open is closed with ``opened``."""
        assert isinstance(call.params, AgentParams) and call.settings.redis_url is not None
        connection = opened.enter_context(connect(call.settings.redis_url, "photogram-agent"))
        stores = open_stores(call.settings)
        params, earlier = await to_thread.run_sync(_with_earlier, call, call.params, connection, stores)
        record = AgentRecord(connection, call.job_id, call.execution_id)
        steps = _steps(call, params.budget, record, earlier)
        await steps.open()
        people = People(record, steps)
        workspace = await opened.enter_async_context(_workspace(call, opened))
        service = await opened.enter_async_context(_service(call, connection, stores))

        def caller() -> Caller:
            return _caller(KeyStore(connection), call)

        jobs = AgentJobs(
            service.jobs, caller, steps, workspace.get,
            job_id=call.job_id, seed=params.seed, model=params.model, priority=params.priority,
        )  # fmt: skip
        tools = AgentTools(
            workspace, await workspace.tools(), job_tools(call.catalog), jobs,
            ImageFinder(service.connection, service.watcher, caller), people, steps, stores.inputs, stores.images,
            mode=params.mode, tell=call.tell,
        )  # fmt: skip
        if (engine := open_engine(call.settings)) is not None:
            opened.push_async_callback(engine.aclose)
        return cls(
            call=call, params=params, earlier=earlier, record=record, steps=steps, people=people, workspace=workspace,
            stores=stores, jobs=jobs, tools=tools, engine=engine,
        )  # fmt: skip

    async def run(self) -> JobOutput:
        """Plan, work, and give back what was made."""
        call, params, tools = self.call, self.params, self.tools
        files = await _add_files(call, params, self.earlier, tools, self.stores)
        started_with = dict(tools.places)
        planner = await open_planner(call.settings, call.catalog, self.engine, params, self.steps, files, call.tell)
        course = await AgentLoop(planner, tools, self.people, params.brief, files, call.tell).run()
        return await Result(params, started_with, self.steps, course, tools, self.workspace, self.record).output()


def _with_earlier(
    call: FunctionCall, params: AgentParams, connection: Redis, stores: Stores
) -> tuple[AgentParams, Mapping[str, Any] | None]:
    """The parameters, which are mostly those of the earlier job where one is replayed, and the record of that job."""
    if params.replay is None:
        return params, None
    earlier = _earlier(Ledger(connection, call.settings.record_ttl_s), stores, call.owner, params.replay)
    return AgentParams.from_payload({**earlier["params"], "budget": params.budget.to_payload()}), earlier


def _steps(call: FunctionCall, budget: Budget, record: AgentRecord, earlier: Mapping[str, Any] | None) -> RecordedSteps:
    most = Most.of(budget.steps, budget.images, budget.cost_units)
    kept = None if earlier is None else earlier["steps"]
    return RecordedSteps(record, most, budget.seconds, kept, lambda taken: call.report(taken, budget.steps))


def _workspace(call: FunctionCall, opened: AsyncExitStack) -> Workspace:
    """A workspace that begins empty, also where the job goes on: its files come from the recorded steps."""
    opened.enter_context(disk_problems_as(AgentFailed, "the workspace"))
    folder = opened.enter_context(scratch_folder(call.settings.data.absolute() / FOLDER)) / "workspace"
    return Workspace(ToolSettings(workspace=str(folder), allow_python=call.settings.agent_python))


@dataclass(frozen=True)
class _Service:
    """The job service on the event loop of one agent job, and what it stands on."""

    jobs: JobService
    connection: AsyncRedis
    watcher: JobWatcher


@asynccontextmanager
async def _service(call: FunctionCall, blocking: Redis, stores: Stores) -> AsyncIterator[_Service]:
    """The job service, with what tells it of changes."""
    settings = call.settings
    assert settings.redis_url is not None
    connection = connect_async(settings.redis_url, "photogram-agent")
    watcher = JobWatcher(connection, settings.record_ttl_s)
    listening = asyncio.create_task(watcher.listen())
    try:
        jobs = open_jobs(
            settings, connection, blocking,
            catalog=CatalogFile(settings.catalog_path), watcher=watcher, stores=stores,
            storage=open_monitor(settings, KINDS, settings.min_free_bytes),
        )  # fmt: skip
        yield _Service(jobs, connection, watcher)
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
    try:
        earlier: dict[str, Any] = json.loads(find_record(ledger, stores.files, owner, job_id).read())
        if earlier.get("version") == RECORD_VERSION:
            return earlier
    except NotReplayable as error:
        raise AgentFailed(str(error), field="replay") from error
    except (FileNotFoundError, ValueError):
        pass
    raise AgentFailed("the record of that job is gone, or was written by another version", field="replay")


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
