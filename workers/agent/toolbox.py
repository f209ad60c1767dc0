"""The tools of an agent job in one place: kinds of jobs, the tools of its sandbox, and the question to a person."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from anyio import to_thread

from models.agent.calls import Call, ToolResult, ToolSpec
from models.agent.feedback import ASK
from models.errors import InputUnavailable, PhotogramError
from models.jobs.agents import APPROVE, AUTO
from models.jobs.candidates import seed_of
from models.jobs.results import Json
from models.language.schemas import violations, without_optional_nulls
from service.backbone.inputs import InputStore
from service.backbone.store import ImageStore
from workers.agent.errors import BudgetSpent, ExecutionLost, StepsDiverged
from workers.agent.finding import SEARCH, SEARCH_SPEC, ImageFinder
from workers.agent.job_tools import SAVE_AS, JobTool
from workers.agent.jobs import AgentJobs, facts_of
from workers.agent.people import CHOICE_MAX_CHARS, CHOICES_MAX, IMAGES_MAX, QUESTION_MAX_CHARS, People
from workers.agent.steps import SEARCH as SEARCHING
from workers.agent.steps import TOOL, RecordedSteps
from workers.agent.tool_server.names import check_name
from workers.agent.workspace import Tool, ToolFailed, Workspace

_ASK = ToolSpec(
    name=ASK,
    description="Ask the person who wrote the brief, and wait for the answer.",
    parameters={
        "type": "object",
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": QUESTION_MAX_CHARS},
            "choices": {
                "type": "array", "maxItems": CHOICES_MAX,
                "items": {"type": "string", "minLength": 1, "maxLength": CHOICE_MAX_CHARS},
                "description": "Answers to choose from; the person may also say something else.",
            },
            "images": {
                "type": "array", "maxItems": IMAGES_MAX, "items": {"type": "string", "maxLength": 100},
                "description": "Image files of the workspace to show.",
            },
        },
        "required": ["question"],
        "additionalProperties": False,
    },
)  # fmt: skip
Places = dict[str, str]
"""Where files of the workspace are stored, by their names: ``image:<id>`` or ``input:<sha256>``."""
FOUND_FOLDER, FOUND_USUAL = "found", 4
"""Where images that were found go, and how many, if a call does not say it."""
FACTS_MAX_BYTES = 1 << 16
"""The longest answer of a job as JSON; what tools of the sandbox answer is shorter."""
_YES, _NO = "yes", "no"
_NOBODY = "nobody is asked in the mode auto: decide by yourself"


class AgentTools:
    """All tools of one agent job; the protocol is ``workers.agent.seams.Toolbox``.

    What a call writes is stored beside its step, so that another worker has the same files when it goes on.

    Args:
        tell: adds an event to those of the job.
    """

    def __init__(
        self,
        workspace: Workspace,
        workspace_tools: Sequence[Tool],
        job_tools: Mapping[str, JobTool],
        jobs: AgentJobs,
        finder: ImageFinder,
        people: People,
        steps: RecordedSteps,
        inputs: InputStore,
        images: ImageStore,
        *,
        mode: str,
        tell: Callable[[Mapping[str, Json]], None],
    ) -> None:
        self._workspace, self._job_tools, self._jobs = workspace, job_tools, jobs
        self._finder = finder
        self._people, self._steps, self._mode, self._tell = people, steps, mode, tell
        self._inputs, self._images = inputs, images
        self._writing = asyncio.Lock()
        self.places: Places = {}
        """Of all files of the workspace now."""
        self.made_by: dict[str, str] = {}
        """The subtasks whose calls wrote files last, by the names of the files."""
        self.warnings: dict[str, None] = {}
        """Why images may disappoint, as the jobs that drew them say, each once."""
        self.specs: Sequence[ToolSpec] = [
            *(tool.spec for tool in job_tools.values()),
            SEARCH_SPEC,
            *map(_spec, workspace_tools),
            _ASK,
        ]

    async def call(self, key: str, call: Call) -> ToolResult:
        """As ``Toolbox.call``."""
        spec = next((each for each in self.specs if each.name == call.tool), None)
        if spec is None:
            return ToolResult(
                error=f"there is no tool {call.tool!r}; there are: {', '.join(e.name for e in self.specs)}"
            )
        arguments = without_optional_nulls(spec.parameters, call.arguments)
        if found := violations(spec.parameters, arguments):
            return ToolResult(error="; ".join(found))
        if call.tool == ASK:
            return await self._ask(key, arguments)
        if self._mode == APPROVE and spec.spends and (refusal := await self._refusal(key, call)):
            return ToolResult(error=refusal)
        return await self._recorded(key, Call(tool=call.tool, arguments=arguments))

    async def _recorded(self, key: str, call: Call) -> ToolResult:
        is_new = not self._steps.has(key)
        if is_new:
            self._tell({"event": "call", "step": key, "tool": call.tool, "arguments": call.arguments})

        async def do() -> Json:
            return await self._done(key, call)

        kind = SEARCHING if call.tool == SEARCH else TOOL
        found: Any = await self._steps.step(key, kind, call.to_payload(), do)
        result = ToolResult.from_payload(found["result"])
        await self._restore(found["files"], found["removed"])
        self.made_by |= dict.fromkeys(found["files"], key.partition("/")[0])
        if call.tool in self._job_tools:
            found_warnings = result.facts.get("warnings")
            self.warnings |= dict.fromkeys(map(str, found_warnings if isinstance(found_warnings, list) else ()))
        if is_new:
            images: dict[str, Json] = {
                name: f"image:{image_id}" for name in result.files if (image_id := self.image_id(name))
            }
            self._tell({
                "event": "result", "step": key, "tool": call.tool, "error": result.error, "files": [*result.files],
                "images": images,
            })  # fmt: skip
        return result

    async def _done(self, key: str, call: Call) -> Json:
        """What came of a call: the result, and where the files that it wrote are stored."""
        files: dict[str, str] = {}
        removed: list[str] = []
        try:
            if call.tool in self._job_tools:
                result, files = await self._job(key, call)
            elif call.tool == SEARCH:
                result, files = await self._found(call.arguments)
            else:
                result, files, removed = await self._in_sandbox(call)
        except (BudgetSpent, StepsDiverged, ExecutionLost):
            raise
        except PhotogramError as error:
            result = ToolResult(error=str(error))
        return {"result": result.to_payload(), "files": files, "removed": removed}  # type: ignore[dict-item]

    async def _job(self, key: str, call: Call) -> tuple[ToolResult, dict[str, str]]:
        tool = self._job_tools[call.tool]
        save_as = str(call.arguments.get(SAVE_AS, ""))
        if tool.makes_images:
            check_name(save_as)  # before the images are drawn and paid for
        done = await self._jobs.run(key, tool.request(call.arguments), draws=tool.makes_images)
        names = list(_numbered(save_as, len(done.images)))
        stored = {name: f"image:{each.image_id}" for name, each in zip(names, done.record.images, strict=True)}
        async with self._writing:
            for name, data in zip(names, done.images, strict=True):
                await self.add(name, data, stored[name])
        seeds = {
            name: seed_of(done.record, each.image_id) for name, each in zip(names, done.record.images, strict=True)
        }
        facts = facts_of(done, seeds)
        if len(json.dumps(facts)) > FACTS_MAX_BYTES:
            return ToolResult(error=f"the answer is longer than {FACTS_MAX_BYTES} bytes: ask for less"), stored
        return ToolResult(facts=facts, files=tuple(names)), stored

    async def _found(self, arguments: Mapping[str, Any]) -> tuple[ToolResult, Places]:
        """Images of the key; their copies come into the workspace as those of any recorded step."""
        found = await self._finder.find(arguments["text"], arguments.get("limit", FOUND_USUAL))
        folder = arguments.get("folder", FOUND_FOLDER)
        places = {f"{folder}/{number}.png": f"image:{each.image.image_id}" for number, each in enumerate(found, 1)}
        images: Json = [
            {
                "file": name,
                "similarity": round(each.similarity, 3),
                "width": each.image.width,
                "height": each.image.height,
            }
            for name, each in zip(places, found, strict=True)
        ]
        return ToolResult(facts={"images": images}, files=tuple(places)), places

    async def _in_sandbox(self, call: Call) -> tuple[ToolResult, dict[str, str], list[str]]:
        async with self._writing:
            before = await self._versions()
            answer = await self._answer(call)
            after = await self._versions()
            written = [name for name, version in after.items() if before.get(name) != version]
            stored = {name: await self._stored(name) for name in written}
            self.places |= stored
        removed = [name for name in before if name not in after]
        for name in removed:
            self.places.pop(name, None)
        return replace(answer, files=tuple(written)), stored, removed

    async def _answer(self, call: Call) -> ToolResult:
        """What a tool of the sandbox answers; one that hangs or dies may have written before."""
        try:
            answer = await self._workspace.call(call.tool, call.arguments)
        except ToolFailed as error:
            return ToolResult(error=str(error))
        if answer.is_error:
            return ToolResult(error=answer.text)
        return ToolResult(facts={"text": answer.text} if answer.structured is None else dict(answer.structured))

    async def _versions(self) -> dict[str, object]:
        """All files of the workspace, each with what differs after it was written."""
        return {entry.name: entry.changed for entry in await self._workspace.tree()}

    async def _stored(self, name: str) -> str:
        return "input:" + await to_thread.run_sync(self._inputs.add, await self._workspace.get(name))

    async def add(self, name: str, data: bytes, place: str) -> None:
        """Add a file that is stored at ``place`` to the workspace."""
        await self._workspace.put(name, data)
        self.places[name] = place

    async def restore(self, places: Places) -> None:
        """Give the workspace these files, and no other ones."""
        await self._restore(places, [name for name in self.places if name not in places])

    async def _restore(self, files: Places, removed: Iterable[str]) -> None:
        """Bring the workspace to what it was after a step; it has that already if the step was taken just now."""
        for name, place in files.items():
            if self.places.get(name) != place:
                await self.add(name, await self.read_stored(place), place)
        for name in removed:
            if self.places.pop(name, None) is not None:
                await self._workspace.remove(name)

    async def read_stored(self, place: str) -> bytes:
        """The bytes of a stored file; raises :class:`InputUnavailable` if it was deleted meanwhile."""
        scheme, _, name = place.partition(":")
        store: ImageStore | InputStore = self._images if scheme == "image" else self._inputs
        try:
            if (found := await to_thread.run_sync(store.find, name)) is not None:
                return await to_thread.run_sync(found.read)
        except FileNotFoundError:  # removed this moment
            pass
        raise InputUnavailable("a file of the job was deleted while the job ran")

    def image_id(self, name: str) -> str | None:
        """The id of the stored image that a file of the workspace is; ``None`` if it is none."""
        scheme, _, found = self.places.get(name, "").partition(":")
        return found if scheme == "image" else None

    async def _ask(self, key: str, arguments: Mapping[str, Any]) -> ToolResult:
        if self._mode == AUTO:
            return ToolResult(error=_NOBODY)
        images = [found for name in arguments.get("images", ()) if (found := self.image_id(name)) is not None]
        answer = await self._people.ask(key, arguments["question"], arguments.get("choices", ()), images)
        return ToolResult(facts={"answer": answer})

    async def _refusal(self, key: str, call: Call) -> str | None:
        """Why a person does not want the call; ``None`` if it is approved."""
        said = ", ".join(f"{name}: {value}" for name, value in call.arguments.items())
        question = f"May the agent call {call.tool} ({said})?"[:QUESTION_MAX_CHARS]
        answer = await self._people.ask(f"{key}/approval", question, (_YES, _NO), ())
        if answer.strip().lower() in (_YES, "y", "ok"):
            return None
        return f"the person does not want this: {answer}"


def _spec(tool: Tool) -> ToolSpec:
    return ToolSpec(name=tool.name, description=tool.description, parameters=tool.input_schema)


def _numbered(save_as: str, count: int) -> Iterable[str]:
    """``count`` names of files: ``a.png``, ``a-2.png``, ``a-3.png``."""
    path = PurePosixPath(save_as)
    for number in range(1, count + 1):
        yield save_as if number == 1 else str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
