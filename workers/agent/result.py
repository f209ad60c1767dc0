"""What an agent job gives back: the images that it made, its report, and the record from which it can run again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from anyio import to_thread
from PIL import Image

from models.errors import AgentFailed
from models.jobs.agents import RECORD, AgentParams
from models.jobs.results import FileOutput, JobOutput, Json
from service.backbone.agent_jobs import AgentRecord
from service.backbone.allowances import STEP_PX_PER_UNIT
from workers.agent.loop import Course
from workers.agent.report import markdown, page
from workers.agent.steps import RecordedSteps
from workers.agent.toolbox import AgentTools, Places
from workers.agent.workspace import Workspace

RECORD_VERSION = 1
_IMAGES_MAX = 16
"""How many images the result has; the archive has them all."""
_WARNINGS_MAX = 20
_SHOWN_TYPES = {".gif": "image/gif", ".pdf": "application/pdf"}
"""Files of the workspace that are files of the result, too."""


class Result:
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
        brief, course, used, warnings = self._params.brief, self._course, document["used"], document["warnings"]
        texts = (
            ("report.md", "text/markdown; charset=utf-8", markdown(brief, course, used, made, warnings)),
            ("report.html", "text/html; charset=utf-8", page(brief, course, used, images, warnings)),
            (RECORD, "application/json", json.dumps(self._replayed())),
        )
        return [
            *(FileOutput(name, kind, text.encode()) for name, kind, text in texts),
            FileOutput("workspace.zip", "application/zip", await self._workspace.archive()),
        ]

    def _warnings(self) -> list[Json]:
        found: list[Json] = [*self._tools.warnings, *self._course.warnings]
        return found[:_WARNINGS_MAX]

    async def _document(self, made: Sequence[str], images: Sequence[str]) -> dict[str, Json]:
        used = await to_thread.run_sync(self._record.spent)
        course = self._course
        return {
            "complete": course.is_complete,
            "ended_early": course.ended_early,
            "warnings": self._warnings(),
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
            "used": {"steps": used.steps, "images": used.images, "cost_units": used.step_px / STEP_PX_PER_UNIT},
        }  # fmt: skip

    def _replayed(self) -> dict[str, Json]:
        return {
            "version": RECORD_VERSION,
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
