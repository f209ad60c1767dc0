"""A small server that speaks Photogram's native wire on a real port, and misbehaves by name when it is told to."""

import asyncio
import base64
import hashlib
import json
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response, StreamingResponse

KEY = "a-good-key"
PNG = b"\x89PNG\r\n\x1a\nnot much of an image"
PREVIEW = b"\x89PNG a preview"
DEFAULTS = {"model": "house", "sampler": "euler", "num_inference_steps": 4, "seed": 77, "width": 64, "height": 48}
FINAL = {"succeeded", "failed", "canceled"}
APPLIED = {"status": "applied", "revised_prompt": "a cat, sleeping", "revised_negative_prompt": None, "engine": "tiny"}
APPLIED |= {"template": "tags-1", "elapsed_s": 0.5, "reason": None, "of_a_later_version": 1}
LATE = {**APPLIED, "status": "timeout", "revised_prompt": None, "elapsed_s": 2.5, "reason": "no answer in 2.5 s"}
TOKENS = {"count": 6, "limit": 75, "counted": "tokenizer", "of_a_later_version": 1}
PROPOSED = {"kind": "txt2img", "params": {"prompt": "a cat", "aspect_ratio": "3:2", "seed": 5, "style_preset": None}}
CALLS = [
    {"name": "find_models", "arguments": {"about": "cats"}, "outcome": "answered", "of_a_later_version": 1},
    {"name": "create_image", "arguments": {"prompt": "a cat"}, "outcome": "proposed"},
]

LISTED = {
    "loras": {"family": "sd15", "aliases": ["one"]},
    "styles": {"prefix": "a photo of ", "suffix": ", film", "negative": "blur"},
}


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: object) -> Response:
    body = {"type": f"/errors/{code}", "title": code, "status": status, "detail": detail, "code": code, **extra}
    return JSONResponse(body, status, headers, media_type="application/problem+json")


@dataclass
class Record:
    """One job: its JSON, the body it was made of, its events so far."""

    job: dict[str, object]
    body: dict[str, object]
    events: list[tuple[str, str]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def is_final(self) -> bool:
        return self.job["status"] in FINAL

    async def tell(self, name: str, data: object) -> None:
        async with self.changed:
            self.events.append((name, json.dumps(data, ensure_ascii=False)))
            self.changed.notify_all()

    async def turn(self, status: str, **changes: object) -> None:
        if not self.is_final:
            self.job = {**self.job, "status": status, **changes}
            await self.tell("status", self.job)


class WireServer:
    """Started once for all tests; `reset` between them."""

    def __init__(self) -> None:
        config = uvicorn.Config(self._app(), port=0, log_level="critical", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self.reset()

    def start(self) -> None:
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)

    def reset(self) -> None:
        self.records: dict[str, Record] = {}
        self.by_key: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.queries: list[str] = []
        self.answers: list[Callable[[], Response]] = []
        self.step_s = 0.0
        self.faults: Counter[str] = Counter()
        self.outcome = "succeeded"
        self.question: dict[str, object] | None = None
        """What agents ask."""
        self.document: dict[str, object] | None = None
        """The document of results."""
        self.agent_images = 1
        self.told: list[dict[str, object]] = []
        self.rewrite = APPLIED
        self.warnings: list[str] = []
        self.asked: list[dict[str, object]] = []
        self.needs_key = False
        self.delay_s = 0.0
        self.image_url = "{base}/images/{id}.png"
        self.images_answer: Callable[[], Response] = lambda: Response(PNG, media_type="image/png")

    def misbehave(self, name: str, times: int = 1) -> None:
        """Have a fault happen so often.

        Faults: loses_the_answer, drops_the_events, ends_the_events, holds_the_events_open, never_waits,
        drops_the_pieces.
        """
        self.faults[name] = times

    def answer_next(self, *answers: Callable[[], Response]) -> None:
        """Answers given, one for each of the next requests, in place of the real ones."""
        self.answers.extend(answers)

    def calls(self, method: str, path: str = "/v1/jobs") -> list[dict[str, str]]:
        """The headers of each request that came."""
        return [headers for verb, target, headers in self.requests if verb == method and target.startswith(path)]

    def _takes(self, fault: str) -> bool:
        if self.faults[fault] <= 0:
            return False
        self.faults[fault] -= 1
        return True

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.middleware("http")(self._guard)
        app.post("/v1/jobs")(self._post)
        app.put("/v1/jobs/{job_id}")(self._put)
        app.get("/v1/jobs/{job_id}")(self._get)
        app.post("/v1/jobs/{job_id}/cancel")(self._cancel)
        app.post("/v1/jobs/{job_id}/input")(self._tell)
        app.get("/v1/jobs/{job_id}/events")(self._events)
        app.post("/v1/prompts/rewrite")(self._rewrite)
        app.post("/v1/assist")(self._assist)
        app.get("/v1/models")(self._models)
        app.get("/v1/samplers")(self._samplers)
        app.get("/v1/{listing}")(self._listing)
        app.post("/v1/inputs")(self._upload)
        app.get("/images/{name}")(self._image)
        app.get("/elsewhere/{name}")(self._elsewhere)
        return app

    async def _guard(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        self.requests.append((request.method, request.url.path, dict(request.headers)))
        self.queries.append(request.url.query)
        await asyncio.sleep(self.delay_s)
        if self.answers:
            return self.answers.pop(0)()
        is_open = not request.url.path.startswith("/v1/")
        if self.needs_key and not is_open and request.headers.get("authorization") != f"Bearer {KEY}":
            return problem(401, "unauthorized", "the API key is missing or unknown")
        return await call_next(request)

    async def _post(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key", uuid.uuid4().hex)
        return await self._accept(self.by_key.setdefault(key, uuid.uuid4().hex), await request.json())

    async def _put(self, job_id: str, request: Request) -> Response:
        return await self._accept(job_id, await request.json())

    async def _accept(self, job_id: str, body: dict[str, object]) -> Response:
        record = self.records.get(job_id)
        if record is not None and record.body != body:
            return problem(409, "conflict", "another body was sent under this id")
        width = body["params"].get("width", 64)
        if width % 8:
            errors = [{"field": "params.width", "message": "must be a multiple of 8"}]
            return problem(422, "invalid_params", "the parameters are out of bounds", errors=errors)
        status = 200 if record else 202
        if record is None:
            record = self.records[job_id] = self._new_record(job_id, body)
            record.task = asyncio.create_task(self._draw(record))
        if self._takes("loses_the_answer"):
            return broken_answer()
        return JSONResponse(record.job, status, {"Location": f"/v1/jobs/{job_id}"})

    def _new_record(self, job_id: str, body: dict[str, object]) -> Record:
        job = {"id": job_id, "kind": body["kind"], "status": "queued", "params": {**DEFAULTS, **body["params"]}}
        rest = ("progress", "result", "error", "started_at", "finished_at")
        job |= dict.fromkeys(rest) | {"created_at": now(), "warnings": self.warnings, "of_a_later_version": [1, 2]}
        return Record(job, body, [("status", json.dumps(job))])

    async def _draw(self, record: Record) -> None:
        steps = record.job["params"]["num_inference_steps"]
        await record.turn("running", started_at=now(), progress={"step": 0, "steps": steps})
        if record.job["params"].get("enhance_prompt"):
            record.job |= {"rewrite": self.rewrite, "revised_prompt": self.rewrite["revised_prompt"]}
            await record.tell("rewrite", self.rewrite)
        for step in range(1, steps + 1):
            await asyncio.sleep(self.step_s)
            record.job["progress"] = {"step": step, "steps": steps}
            await record.tell("progress", record.job["progress"])
        image = "data:image/png;base64," + base64.b64encode(PREVIEW).decode()
        await record.tell("preview", {"step": steps, "image": image})
        await record.tell("weather", {"of": "a later version"})
        if self.question is not None and record.job["kind"] == "agent":
            await self._ask(record, self.question)
        await self._finish(record)

    async def _ask(self, record: Record, question: dict[str, object]) -> None:
        """Ask, and wait for the answer."""
        record.job["waiting_for_input"] = {**question, "images": [f"{self.url}/images/drawn.png"]}
        await record.tell("note", {"event": "question", **question, "images": ["drawn"]})
        await self._until(record, lambda: record.job["waiting_for_input"] is None, 30)

    async def _tell(self, job_id: str, request: Request) -> Response:
        record, body = self.records[job_id], await request.json()
        if record.job.get("waiting_for_input") is None:
            return problem(409, "not_asked", "the job does not ask this question, or not any more")
        self.told.append(body)
        record.job["waiting_for_input"] = None
        await record.tell("note", {"event": "input", "question": None, "text": body["text"]})
        return JSONResponse(record.job)

    async def _finish(self, record: Record) -> None:
        if self.outcome == "never":
            return
        changes: dict[str, object] = {"finished_at": now()}
        if self.outcome == "succeeded":
            url = self.image_url.format(base=self.url, id=record.job["id"])
            timings = {"prepare_s": 0.25, "denoise_s": 1.5, "finish_s": 0.125}
            is_agent, kept = record.job["kind"] == "agent", record.job["params"].get("keep", 1)
            made = self.agent_images if is_agent else kept if isinstance(kept, int) else 1
            images = [{"url": url, "width": 64, "height": 48}] * made
            changes["result"] = {"images": images, "timings": timings, "document": self.document}
        if self.outcome == "failed":
            changes["error"] = {"code": "out_of_memory", "message": "the image is too large for this device"}
        await record.turn(self.outcome, **changes)

    async def _get(self, job_id: str, wait: int = 0) -> Response:
        record = self.records.get(job_id)
        if record is None:
            return problem(404, "not_found", f"there is no job {job_id}")
        if not self._takes("never_waits"):
            await self._until(record, lambda: record.is_final, wait)
        return JSONResponse(record.job)

    async def _cancel(self, job_id: str) -> Response:
        record = self.records.get(job_id)
        if record is None:
            return problem(404, "not_found", f"there is no job {job_id}")
        await record.turn("canceled", finished_at=now())
        return JSONResponse(record.job)

    async def _events(self, job_id: str, request: Request) -> Response:
        if job_id not in self.records:
            return problem(404, "not_found", f"there is no job {job_id}")
        seen = int(request.headers.get("last-event-id", 0))
        return StreamingResponse(self._frames(self.records[job_id], seen), media_type="text/event-stream")

    async def _frames(self, record: Record, seen: int) -> AsyncIterator[str]:
        yield ": keep-alive\n\n"
        while True:
            for number, (name, data) in enumerate(record.events[seen:], seen + 1):
                seen = number
                yield f"id: {number}\r\nevent: {name}\r\ndata: {data}\r\n\r\n"
                if name == "progress" and self._takes("drops_the_events"):
                    yield 'event: progress\ndata: {"step": 99'
                    raise ConnectionAbortedError
                if name == "progress" and self._takes("ends_the_events"):
                    return
            if record.is_final and seen == len(record.events) and not self._takes("holds_the_events_open"):
                return
            known = seen
            await self._until(record, lambda: len(record.events) > known, 30)  # noqa: B023 - awaited here

    async def _until(self, record: Record, is_so: Callable[[], bool], wait_s: float) -> None:
        async def watch() -> None:
            async with record.changed:
                await record.changed.wait_for(is_so)

        try:
            await asyncio.wait_for(watch(), wait_s)
        except TimeoutError:
            return

    async def _rewrite(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        revised = self.rewrite["revised_prompt"] or body["prompt"]
        answer = {"prompt": body["prompt"], "revised_prompt": revised, "revised_negative_prompt": None}
        answer |= {"profile": "tags", "rewrite": self.rewrite, "tokens": TOKENS, "of_a_later_version": 1}
        if not body.get("stream"):
            return Response(json.dumps(answer), media_type="application/json")
        return StreamingResponse(self._pieces(answer), media_type="text/event-stream")

    async def _pieces(self, answer: dict[str, object]) -> AsyncIterator[str]:
        yield ": keep-alive\n\n"
        for text in ("a cat, ", "\u2028sleeping"):
            yield f"event: delta\ndata: {json.dumps({'text': text}, ensure_ascii=False)}\n\n"
            if self._takes("drops_the_pieces"):
                raise ConnectionAbortedError
        yield 'event: weather\ndata: {"of": "a later version"}\n\n'
        yield f"event: rewrite\ndata: {json.dumps(answer)}\n\n"

    async def _assist(self, request: Request) -> Response:
        self.asked.append(await request.json())
        answer = {"status": "proposed", "job": PROPOSED, "message": "Here is a cat.", "calls": CALLS}
        return JSONResponse({**answer, "rounds": 2, "engine": "tiny", "of_a_later_version": 1})

    async def _models(self) -> Response:
        limits = {"width": [64, 512]}
        house = {"name": "house", "family": "sd15", "is_default": True, "is_available": True, "problem": None}
        house |= {"defaults": DEFAULTS, "limits": limits, "aliases": ["default"], "licence": "Apache-2.0", "new": 1}
        return JSONResponse({"models": [house, {"name": "bare"}], "new": True})

    async def _samplers(self) -> Response:
        return JSONResponse(
            {"samplers": [{"name": "euler"}, {"name": "ddim", "new": 1}, {"name": "odd", "problem": "too odd"}]}
        )

    async def _listing(self, listing: str) -> Response:
        problem_of_second = {"name": "second", "problem": "its file is missing", "new": 1}
        return JSONResponse({listing: [{"name": "first", **LISTED.get(listing, {})}, problem_of_second]})

    async def _upload(self, request: Request) -> Response:
        source = "input:" + hashlib.sha256(await request.body()).hexdigest()
        return JSONResponse({"source": source, "width": 64, "height": 48, "of_a_later_version": 1}, 201)

    async def _image(self, name: str) -> Response:
        return self.images_answer()

    async def _elsewhere(self, name: str) -> Response:
        return RedirectResponse(f"/images/{name}")


def broken_answer() -> Response:
    """An answer whose body breaks off."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"id": '
        raise ConnectionAbortedError

    return StreamingResponse(body(), 202, {"content-length": "1000"}, "application/json")


def silent_answer() -> Response:
    """An answer that begins, and then says nothing for a while."""

    async def body() -> AsyncIterator[bytes]:
        await asyncio.sleep(0.5)
        yield b"{}"

    return StreamingResponse(body(), media_type="application/json")
