"""`/mcp` with the official client, over HTTP, on a real gateway."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import httpx
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ImageContent, ResourceLink, TextContent
from PIL import Image
from redis import Redis

from service.backbone.agent_jobs import AgentRecord
from service.backbone.ledger import Ledger
from tests.service.api.conftest import Hand

TOOLS = {
    "create_image", "edit_image", "inpaint", "upscale", "classify", "search_images", "wait_for_job", "get_job",
    "list_jobs", "cancel_job", "list_models", "list_styles", "rewrite_prompt", "dry_run", "run_agent", "answer_agent",
}  # fmt: skip


@asynccontextmanager
async def assistant(url: str, headers: dict[str, str]) -> AsyncIterator[Client]:
    """An assistant that is connected to the server."""
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http)) as client,
    ):
        yield client


@pytest.fixture
def connect(server_url: str, key: str) -> Callable[[], Any]:
    """Connects an assistant with the test's key."""
    return lambda: assistant(server_url, {"Authorization": f"Bearer {key}"})


def text(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


async def test_all_tools_are_listed_with_what_they_may_do(connect):
    async with connect() as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(tools) == TOOLS
    assert all(tool.description and tool.annotations is not None for tool in tools.values())
    assert tools["list_models"].annotations.read_only_hint and tools["cancel_job"].annotations.destructive_hint
    assert tools["create_image"].input_schema["required"] == ["prompt"]


async def test_an_image_is_drawn_shown_and_linked(connect, worker: Hand, queued, client, key):
    async def draw() -> None:
        while not queued():
            await asyncio.sleep(0.01)
        job_id = (await asyncio.to_thread(client.get, "/v1/jobs")).json()["jobs"][0]["id"]
        worker.start(job_id)
        for step in (5, 10, 15):
            worker.progress(job_id, step)
            await asyncio.sleep(0.05)
        worker.succeed(job_id, "red")

    told: list[tuple[float, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))

    async with connect() as assistant_:
        drawing = asyncio.create_task(draw())
        result = await assistant_.call_tool(
            "create_image", {"prompt": "a red apple", "seed": 7}, progress_callback=note
        )
        await drawing
    assert not result.is_error
    facts = result.structured_content
    assert facts["status"] == "succeeded" and facts["images"][0]["seed"] == 7
    shown = next(part for part in result.content if isinstance(part, ImageContent))
    with Image.open(BytesIO(base64.b64decode(shown.data))) as image:
        assert image.size == (128, 128) and image.getpixel((5, 5))[0] > 200
    link = next(part for part in result.content if isinstance(part, ResourceLink))
    assert httpx.get(str(link.uri)).content.startswith(b"\x89PNG")
    assert [share for share, _ in told] == sorted({share for share, _ in told}), "progress grows"
    assert any("step" in (message or "") for _, message in told)


async def test_a_slow_job_is_answered_in_time_and_waited_for_later(connect, worker: Hand, queued):
    async with connect() as client:
        first = await client.call_tool("create_image", {"prompt": "a red apple", "wait_s": 0.2})
        job_id = first.structured_content["job_id"]
        assert first.structured_content["status"] == "queued" and job_id in text(first)
        again = await client.call_tool("wait_for_job", {"job_id": job_id, "wait_s": 0.2})
        assert not again.is_error and again.structured_content["status"] == "queued"
        assert (await client.call_tool("list_jobs", {})).structured_content["jobs"][0]["job_id"] == job_id
        for words, found in (("Red apple", [job_id]), ("a pear", [])):
            listed = await client.call_tool("list_jobs", {"search": words, "limit": 1})
            assert [job["job_id"] for job in listed.structured_content["jobs"]] == found
        worker.draw(job_id)
        done = await client.call_tool("wait_for_job", {"job_id": job_id})
        assert done.structured_content["status"] == "succeeded"
        assert any(isinstance(part, ImageContent) for part in done.content)


@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("edit_image", {"image": "{image}", "prompt": "a pear", "strength": 0.5}, "img2img"),
        ("inpaint", {"image": "{image}", "mask": "{image}", "prompt": "a pear"}, "inpaint"),
        ("upscale", {"image": "{image}", "scale": 2}, "upscale"),
        ("classify", {"image": "{image}"}, "classify"),
    ],
)
async def test_tools_take_an_image_that_another_tool_has_answered(connect, worker: Hand, tool, arguments, kind):
    async with connect() as client:
        drawn = await client.call_tool("create_image", {"prompt": "an apple", "wait_s": 0})
        job_id = drawn.structured_content["job_id"]
        worker.draw(job_id)
        done = await client.call_tool("get_job", {"job_id": job_id})
        source = done.structured_content["images"][0]["source"]
        given = {name: source if value == "{image}" else value for name, value in arguments.items()}
        result = await client.call_tool(tool, {**given, "wait_s": 0})
    assert not result.is_error, text(result)
    assert (result.structured_content["kind"], result.structured_content["status"]) == (kind, "queued")


async def test_a_job_that_fails_or_is_canceled_says_so(connect, worker: Hand):
    async with connect() as client:
        jobs = [
            (await client.call_tool("create_image", {"prompt": "x", "wait_s": 0})).structured_content["job_id"]
            for _ in range(2)
        ]
        worker.start(jobs[0])
        worker.fail(jobs[0])
        failed = await client.call_tool("get_job", {"job_id": jobs[0]})
        assert failed.is_error and "all\nNaN" in text(failed)
        canceled = await client.call_tool("cancel_job", {"job_id": jobs[1]})
        assert canceled.structured_content["status"] == "canceled"


@pytest.mark.parametrize(
    ("tool", "arguments", "told"),
    [
        ("create_image", {"prompt": "a cat", "width": 13}, "width"),
        ("create_image", {"prompt": "a cat", "model": "nothing"}, "model"),
        ("create_image", {}, "prompt"),
        ("create_image", {"prompt": "a cat", "wait_s": 1000}, "wait_s"),
        ("edit_image", {"prompt": "a cat", "image": "/etc/passwd"}, "an image is named by"),
        ("edit_image", {"prompt": "a cat", "image": "file:///etc/passwd"}, "an image is named by"),
        ("edit_image", {"prompt": "a cat", "image": "image:../../etc/passwd"}, "image"),
        ("edit_image", {"prompt": "a cat", "image": "data:image/png;base64,AAAA"}, "image"),
        ("dry_run", {"params": {"prompt": "a cat", "image": "/etc/passwd"}, "kind": "img2img"}, "an image is named by"),
        ("wait_for_job", {"job_id": "nothing"}, "no such job"),
        ("get_job", {"job_id": "../keys"}, ""),
        ("nothing", {}, "nothing"),
    ],
)
async def test_what_cannot_be_done_is_an_error_of_the_tool(connect, queued, tool, arguments, told):
    async with connect() as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error and told in text(result)
    assert "Traceback" not in text(result)
    assert queued() == 0


async def test_a_dry_run_tells_the_cost_and_queues_nothing(connect, queued):
    async with connect() as client:
        found = (await client.call_tool("dry_run", {"params": {"prompt": "a cat"}})).structured_content
        models = (await client.call_tool("list_models", {})).structured_content["models"]
        styles = (await client.call_tool("list_styles", {})).structured_content["styles"]
    assert found["units"] > 0 and found["refusal"] is None and queued() == 0
    assert any(model["is_default"] for model in models) and styles


async def test_jobs_of_other_keys_are_not_seen(connect, stranger, server_url, worker: Hand):
    async with connect() as client:
        mine = (await client.call_tool("create_image", {"prompt": "x", "wait_s": 0})).structured_content["job_id"]
    async with assistant(server_url, dict(stranger.headers)) as other:
        assert (await other.call_tool("get_job", {"job_id": mine})).is_error
        assert (await other.call_tool("list_jobs", {})).structured_content["jobs"] == []
        with pytest.raises(MCPError):
            await other.read_resource(f"photogram://jobs/{mine}")


async def test_jobs_and_images_are_resources(connect, worker: Hand):
    async with connect() as client:
        job_id = (await client.call_tool("create_image", {"prompt": "x", "wait_s": 0})).structured_content["job_id"]
        worker.draw(job_id)
        read = await client.read_resource(f"photogram://jobs/{job_id}")
        assert json.loads(read.contents[0].text)["status"] == "succeeded"
        image = await client.read_resource(f"photogram://jobs/{job_id}/images/0")
        assert base64.b64decode(image.contents[0].blob).startswith(b"\x89PNG")
        with pytest.raises(MCPError):
            await client.read_resource(f"photogram://jobs/{job_id}/images/9")


async def test_an_agent_is_started_and_its_question_is_answered(connect, client: httpx.Client, redis: Redis):
    async with connect() as assistant:
        brief = {"brief": "6 icons of fruit", "max_images": 6, "mode": "ask", "wait_s": 0}
        started = await assistant.call_tool("run_agent", brief)
        job_id = started.structured_content["job_id"]
        params = client.get(f"/v1/jobs/{job_id}").json()["params"]
        assert (params["brief"], params["mode"], params["budget"]["images"]) == ("6 icons of fruit", "ask", 6)
        Ledger(redis, record_ttl_s=600).start(job_id, "a")
        record = AgentRecord(redis, job_id, "a")
        record.ask({"event": "question", "id": "q", "question": "Which ground?", "choices": ["red"], "images": []})
        asked = text(await assistant.call_tool("get_job", {"job_id": job_id}))
        assert "asks: Which ground? Choices: red." in asked and "answer_agent" in asked
        await assistant.call_tool("answer_agent", {"job_id": job_id, "text": "red"})
        assert record.told(0)[0]["text"] == "red"
        refused = await assistant.call_tool("answer_agent", {"job_id": "none", "text": "red"})
        assert refused.is_error and "no such job" in text(refused)


async def test_prompts_begin_agents(connect):
    async with connect() as client:
        prompts = {prompt.name: prompt for prompt in (await client.list_prompts()).prompts}
        assert set(prompts) == {"storyboard", "icon_set", "product_sheet", "edit_then_upscale"}
        found = await client.get_prompt("storyboard", {"subject": "a cat"})
    assert "run_agent" in found.messages[0].content.text and "4 panels about a cat" in found.messages[0].content.text


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}])
def test_without_a_key_that_is_known_nothing_is_answered(anonymous: httpx.Client, headers):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    answer = anonymous.post("/mcp", json=body, headers=headers)
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "unauthorized"


async def test_a_call_with_an_id_of_its_own_may_be_repeated(connect, worker: Hand, queued, client: httpx.Client):
    arguments = {"prompt": "a red apple", "seed": 3, "job_id": "my-apple", "wait_s": 0}
    async with connect() as assistant:
        first = await assistant.call_tool("create_image", arguments)
        again = await assistant.call_tool("create_image", arguments)
        assert first.structured_content["job_id"] == again.structured_content["job_id"] == "my-apple"
        assert queued() == 1
        worker.draw("my-apple")
        done = await assistant.call_tool("create_image", arguments)
        assert any(isinstance(part, ImageContent) for part in done.content)
        other = await assistant.call_tool("create_image", {**arguments, "prompt": "a pear"})
        assert other.is_error and "my-apple" in text(other)
        for wrong in ("", "a b", "../x", "a" * 65, "a\n"):
            assert (await assistant.call_tool("create_image", {**arguments, "job_id": wrong})).is_error
    assert client.get("/v1/usage").json()["month"]["jobs"] == 1


async def test_a_job_id_of_another_key_is_not_found_by_repeating(connect, stranger, server_url, worker: Hand):
    arguments = {"prompt": "a red apple", "job_id": "shared", "wait_s": 0}
    async with connect() as client:
        await client.call_tool("create_image", arguments)
    async with assistant(server_url, dict(stranger.headers)) as other:
        answer = await other.call_tool("create_image", arguments)
    assert answer.is_error


async def test_an_assistant_that_asks_for_no_progress_is_answered_at_the_end_of_the_job(connect, worker: Hand):
    async with connect() as client:
        job_id = (await client.call_tool("create_image", {"prompt": "x", "wait_s": 0})).structured_content["job_id"]
        waiting = asyncio.create_task(client.call_tool("wait_for_job", {"job_id": job_id}))
        await asyncio.sleep(0.5)
        worker.draw(job_id)
        async with asyncio.timeout(10):  # less than the 15 s that the tool waits
            assert (await waiting).structured_content["status"] == "succeeded"


async def test_ending_a_session_within_a_call_ends_no_job(connect, worker: Hand, client: httpx.Client):
    async with connect() as assistant:
        call_ = asyncio.create_task(assistant.call_tool("create_image", {"prompt": "x", "job_id": "ended"}))
        await asyncio.sleep(0.5)
        gone = await asyncio.to_thread(client.delete, "/mcp", headers={"Mcp-Session-Id": "x"})
        assert gone.status_code < 500
        call_.cancel()
        await asyncio.wait([call_])
    assert client.get("/v1/jobs/ended").json()["status"] == "queued"
