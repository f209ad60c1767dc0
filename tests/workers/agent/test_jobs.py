"""Jobs of an agent whose time is over, and answers that are too long for its record."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from models.agent.calls import Call
from models.catalog.catalog import Catalog
from models.jobs.params import DrawRequest
from models.jobs.records import JobRecord, JobStatus
from models.jobs.tickets import open_ticket
from service.jobs.caller import Caller
from workers.agent.errors import BudgetSpent
from workers.agent.job_tools import job_tools
from workers.agent.jobs import AgentJobs, Done
from workers.agent.toolbox import FACTS_MAX_BYTES, AgentTools
from workers.agent.workspace import ToolFailed

CATALOG = Catalog({})


def record(status: JobStatus) -> JobRecord:
    ticket = open_ticket(DrawRequest(prompt="a cat"), CATALOG, owner="me", job_id="child")
    return JobRecord(
        job_id="child", kind="txt2img", owner="me", status=status, params=ticket.params, requested={},
        image_id=ticket.image_id, step=0, steps=1, images=(), document=None, files=(), timings={}, error_code=None,
        error_message=None, created_at=0.0, started_at=None, finished_at=None,
    )  # fmt: skip


@dataclass
class StuckService:
    """Stands in for a service whose workers never end a job."""

    canceled: list[str] = field(default_factory=list)

    async def submit(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(record=record(JobStatus.RUNNING))

    async def wait(self, caller: Caller, job_id: str, timeout_s: float) -> JobRecord:
        return record(JobStatus.RUNNING)

    async def abandon(self, job_ids: list[str]) -> None:
        self.canceled += job_ids


class ShortOfTime:
    """Steps whose budget has time for two looks."""

    def __init__(self) -> None:
        self._looks = 4

    @property
    def seconds_left(self) -> float:
        self._looks -= 1
        return float(self._looks)

    def require_time(self) -> None:
        raise BudgetSpent("the seconds of its budget have passed")


async def test_a_job_that_never_ends_is_canceled_when_the_time_is_over() -> None:
    service: Any = StuckService()
    steps: Any = ShortOfTime()
    jobs = AgentJobs(service, lambda: Caller("me"), steps, None, job_id="a", seed=1, model=None, priority=0)  # type: ignore[arg-type]
    with pytest.raises(BudgetSpent, match="seconds"):
        await jobs.run("1", DrawRequest(prompt="a cat"), draws=True)
    assert service.canceled == ["child"]


async def test_an_answer_that_is_too_long_is_an_error_of_the_call() -> None:
    ended = replace(record(JobStatus.SUCCEEDED), document={"labels": "x" * FACTS_MAX_BYTES})

    class Jobs:
        async def run(self, *_: Any, **__: Any) -> Done:
            return Done(ended, ())

    anything: Any = SimpleNamespace()
    jobs: Any = Jobs()
    tools = AgentTools(
        anything, [], job_tools(CATALOG), jobs, anything, anything, anything, anything, anything,
        mode="auto", tell=lambda _: None,
    )  # fmt: skip
    result, files = await tools._job("1", Call(tool="describe_model", arguments={"model": "photogram-eyes"}))
    assert "longer than" in (result.error or "") and not result.facts and not files


class DyingWorkspace:
    """Stands in for a workspace whose tool deletes one file, writes another, and dies."""

    def __init__(self) -> None:
        self.files = {"a.txt": b"a"}

    async def tree(self) -> list[Any]:
        return [SimpleNamespace(name=name, changed=data) for name, data in self.files.items()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        self.files = {"b.txt": b"b"}
        raise ToolFailed(tool, "ended unexpectedly")

    async def get(self, name: str) -> bytes:
        return self.files[name]


async def test_what_a_tool_wrote_before_it_died_is_known() -> None:
    anything: Any = SimpleNamespace()
    workspace: Any = DyingWorkspace()
    inputs: Any = SimpleNamespace(add=lambda data: data.decode() * 64)
    tools = AgentTools(
        workspace, [], {}, anything, anything, anything, anything, inputs, anything, mode="auto", tell=lambda _: None
    )
    tools.places["a.txt"] = "input:a"
    result, files, removed = await tools._in_sandbox(Call(tool="python", arguments={}))
    assert "python ended unexpectedly" in (result.error or "")
    assert (files, removed) == ({"b.txt": "input:" + "b" * 64}, ["a.txt"]) and tools.places == files
