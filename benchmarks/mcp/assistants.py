"""Assistants: each asks for one image by MCP, and calls until it has it, with limits and accidents of its own."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from io import BytesIO
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import REQUEST_TIMEOUT, CallToolResult, ImageContent, TextContent
from photogram_mcp.running import DEFAULT_WAIT_S, WAIT_MAX_S
from PIL import Image as pillow

from benchmarks.mcp.engine import duration_s, has_colour
from benchmarks.mcp.rig import KEYS, Rig

LIMITS_S = (20.0, 60.0)
"""After so many seconds assistants give up a call."""
MARGIN_S = 5.0
"""An assistant that sets how long a tool waits leaves so much of its limit."""
ACCIDENTS_MAX, BROKEN_MAX = 2, 20
"""So often an assistant loses a call before it has an image, and connects again."""
LISTED = 20
PARAMS: dict[str, Any] = {"width": 512, "height": 512}
NO_SUCH_JOB = "no such job"
_TLS = ssl.create_default_context()  # for all clients, because reading the certificates takes long


class Habit(StrEnum):
    """What an assistant does. All but the first ask tools to wait for nearly as long as their limit."""

    WAITS = "lets tools wait as long as they do by themselves"
    ASKS = "makes no mistakes"
    STOPS = "ends calls at any time, and goes on with the id that it gave to the job"
    DIES = "loses its connection at any time, and calls again with the id that it gave to the job"
    FORGETS = "loses its connection while the image is drawn, and looks for the job in the list"
    OVERRUNS = "asks tools to wait for longer than its limit, and goes on with the id that it gave to the job"


@dataclass
class Outcome:
    """What came of one assistant."""

    has_image: bool = False
    """The one that it asked for."""
    calls: int = 0
    accidents: int = 0
    """Calls that it ended by itself, or that it asked to wait for longer than its limit."""
    beyond_limit: int = 0
    """Other calls that were not answered within its limit."""
    broken: int = 0
    """Connections that the server closed, or did not open."""
    problem: str | None = None
    """What a tool said that failed."""
    longest_share: float = 0.0
    """The longest call that was answered, as a share of its limit; not of calls that were to wait for longer."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is called."""
        return self.has_image or self.problem is not None


@dataclass
class Assistant:
    """One assistant.

    Args:
        number: also the seed of its image.
        within_s: it begins early enough for its job to end within so many real seconds.
    """

    rig: Rig
    number: int
    within_s: float
    outcome: Outcome = field(default_factory=Outcome)

    def __post_init__(self) -> None:
        """Begin with the call that asks for the image."""
        self._chance = random.Random(-1 - self.number)
        self._habit = list(Habit)[self.number % len(Habit)]
        self._prompt = f"apple {self.number}"
        self._own_id = None if self._habit in (Habit.WAITS, Habit.ASKS, Habit.FORGETS) else f"own-{self.number}"
        self._next = self._creation()
        self._is_drawn = asyncio.Event()

    async def run(self) -> Outcome:
        """Call until there is an image, or a tool fails."""
        runs_s = duration_s(self.number, self.rig.engine.longest_s) / self.rig.scale
        await asyncio.sleep(self._chance.uniform(0.0, max(0.0, self.within_s - runs_s)))
        while not self.outcome.is_over:
            try:
                async with self._connected() as client:
                    while not self.outcome.is_over and await self._call(client):
                        pass
            except* (httpx2.TransportError, MCPError) as broken:
                self._note_broken(broken)
        return self.outcome

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Client]:
        """A connection; every third assistant speaks the older protocol, with a handshake."""
        headers = {"Authorization": f"Bearer {KEYS[self.number % len(KEYS)]}"}
        mode = "legacy" if self.number // len(Habit) % 3 == 0 else "auto"
        async with httpx2.AsyncClient(headers=headers, timeout=120, verify=_TLS) as http:
            transport = streamable_http_client(f"{self.rig.url}/mcp", http_client=http)
            async with Client(transport, mode=mode) as client:
                yield client

    def _note_broken(self, broken: BaseException) -> None:
        """Go on after a connection that the server closed, or that could not be opened."""
        self.outcome.broken += 1
        self._look_for_job()
        if self.outcome.broken > BROKEN_MAX:
            self.outcome.problem = repr(broken)

    async def _call(self, client: Client) -> bool:
        """One call, with a limit of its own; returns whether the connection is still there."""
        self.outcome.calls += 1
        calling, accident = asyncio.create_task(self._answer(client)), asyncio.create_task(self._accident())
        await asyncio.wait({calling, accident}, return_when=asyncio.FIRST_COMPLETED)
        accident.cancel()
        if calling.done():
            self._take(calling.result())
            return True
        calling.cancel()
        await asyncio.wait({calling})
        self.outcome.accidents += 1
        self._look_for_job()
        return self._habit is Habit.STOPS

    async def _accident(self) -> None:
        """Return when the call ends before its answer."""
        if self.outcome.accidents < ACCIDENTS_MAX and self._habit in (Habit.STOPS, Habit.DIES):
            await asyncio.sleep(self._chance.uniform(0.0, DEFAULT_WAIT_S) / self.rig.scale)
        elif self.outcome.accidents < ACCIDENTS_MAX and self._habit is Habit.FORGETS:
            await self._is_drawn.wait()
        else:
            await asyncio.Event().wait()

    async def _answer(self, client: Client) -> CallToolResult | None:
        """What the tool answers; ``None`` if it does not within the limit."""
        tool, arguments = self._next
        limit_s = self._chance.uniform(*LIMITS_S)
        if tool != "list_jobs":
            arguments = {**arguments, "wait_s": self._wait_s(limit_s) / self.rig.scale}
        began_at, real_limit_s = time.monotonic(), limit_s / self.rig.scale
        try:
            result = await client.call_tool(tool, arguments, real_limit_s, self._progress)
        except MCPError as error:
            if error.code != REQUEST_TIMEOUT:
                raise
            return None
        if not self._overruns:
            share = (time.monotonic() - began_at) / real_limit_s
            self.outcome.longest_share = max(self.outcome.longest_share, share)
        return result

    def _wait_s(self, limit_s: float) -> float:
        """How long the tool shall wait."""
        if self._overruns:
            return WAIT_MAX_S
        return DEFAULT_WAIT_S if self._habit is Habit.WAITS else min(WAIT_MAX_S, limit_s - MARGIN_S)

    @property
    def _overruns(self) -> bool:
        return self._habit is Habit.OVERRUNS and self.outcome.accidents < ACCIDENTS_MAX

    @property
    def _progress(self) -> ProgressFnT | None:
        """Some assistants ask for the progress of their call."""
        return self._note_progress if self._habit in (Habit.WAITS, Habit.FORGETS) else None

    async def _note_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self._is_drawn.set()

    def _take(self, result: CallToolResult | None) -> None:
        """Learn from an answer what to call next."""
        if result is None:
            if self._overruns:
                self.outcome.accidents += 1
            else:
                self.outcome.beyond_limit += 1
            self._look_for_job()
        elif result.is_error and NO_SUCH_JOB in _text(result) and self._own_id is not None:
            self._next = self._creation()  # the call was lost before the job was made
        elif result.is_error or result.structured_content is None:
            self.outcome.problem = _text(result)
        elif "jobs" in result.structured_content:
            found = [job["job_id"] for job in result.structured_content["jobs"] if job["prompt"] == self._prompt]
            self._next = _waiting(found[0]) if found else self._creation()
        else:
            self._look_at(result)
            self._next = _waiting(result.structured_content["job_id"])

    def _look_at(self, result: CallToolResult) -> None:
        """Note whether the image is there, whole and the one that was asked for."""
        for part in result.content:
            if isinstance(part, ImageContent):
                with pillow.open(BytesIO(base64.b64decode(part.data))) as image:
                    self.outcome.has_image = has_colour(image, self.number)
                if not self.outcome.has_image:
                    self.outcome.problem = "the image is that of another job"

    def _look_for_job(self) -> None:
        """Go on after a call whose answer is lost."""
        if self._own_id is None:
            self._next = "list_jobs", {"limit": LISTED, "search": self._prompt}
        elif self._habit is Habit.DIES:
            self._next = self._creation()
        else:
            self._next = _waiting(self._own_id)

    def _creation(self) -> tuple[str, dict[str, Any]]:
        own = {} if self._own_id is None else {"job_id": self._own_id}
        return "create_image", {"prompt": self._prompt, "seed": self.number, **PARAMS, **own}


def _waiting(job_id: str) -> tuple[str, dict[str, Any]]:
    return "wait_for_job", {"job_id": job_id}


def _text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))
