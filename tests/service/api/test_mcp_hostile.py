"""`/mcp` and clients that send what they should not, or leave when they should not."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from typing import Any

import httpx
import httpx2
import pytest

from service.api.mcp.in_process import InProcessTransport


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"jsonrpc": "2.0"}', b"\xff\xfe", b'{"jsonrpc":"2.0","id":1,"method":7}', b"[" * 9999],
)
def test_what_is_no_message_is_refused(client: httpx.Client, content):
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    answer = client.post("/mcp", content=content, headers=headers)
    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_other_methods_are_answered(client: httpx.Client):
    assert client.delete("/mcp").status_code < 500
    assert client.put("/mcp").status_code == 405


def call(tool: Any, arguments: Any, **more: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}, **more}


_DEEP: Any = {}
for _ in range(90):
    _DEEP = {"a": _DEEP}


@pytest.mark.parametrize("version", [None, "2025-11-25", "2026-07-28", "1", "é", "9999-99-99"])
@pytest.mark.parametrize(
    "message",
    [
        call("create_image", {"prompt": "x" * 90_000, "wait_s": 0}),
        call("create_image", {"prompt": ["x"], "seed": {}, "wait_s": "NaN"}),
        call("create_image", {"prompt": "\ud800\u0000", "seed": 10**400, "wait_s": 0}),
        call("create_image", {"prompt": "x", "seed": 1e308, "guidance_scale": 1e999, "wait_s": -1}),
        call("create_image", None),
        call("create_image", [1, 2]),
        call("dry_run", {"kind": "../../keys", "params": {"prompt": "x"}}),
        call("dry_run", {"params": _DEEP}),
        call("search_images", {}),
        call("search_images", {"like": "image:../../x"}),
        call("list_jobs", {"limit": 10**9}),
        call("cancel_job", {"job_id": "x" * 5000}),
        call("get_job", {"job_id": "a/b?c#d\n"}),
        call("answer_agent", {"job_id": "none", "text": "x" * 50_000}),
        call(7, {}),
        call("", {}),
        call("create_image", {"prompt": "x"}, id={"a": 1}),
        {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "photogram://jobs/%00/images/-1"}},
        {"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": "file:///etc/passwd"}},
        {"jsonrpc": "2.0", "id": 1, "method": "prompts/get", "params": {"name": "storyboard", "arguments": {"a": "b"}}},
        {"jsonrpc": "2.0", "id": 1, "method": "tasks/list", "params": {}},
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "nothing"}},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)
def test_hostile_messages_are_refused_without_an_error_of_the_server(client: httpx.Client, queued, message, version):
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    if version is not None:
        headers["MCP-Protocol-Version"] = version.encode()
        headers |= {"Mcp-Method": str(message.get("method", "")), "Mcp-Session-Id": "x" * 500}
    answer = client.post("/mcp", content=json.dumps(message), headers=headers)
    assert answer.status_code < 500 and "Traceback" not in answer.text
    assert '"code":-32603' not in answer.text.replace(" ", ""), answer.text[:2000]
    assert queued() == 0


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28"])
def test_a_body_that_is_too_large_is_refused_as_everywhere(client: httpx.Client, version):
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version,
    }  # fmt: skip
    answer = client.post("/mcp", content=(b" " * 10_000 for _ in range(20)), headers=headers)  # without a length
    assert answer.status_code == 413 and answer.json()["code"] == "body_too_large"


def test_a_client_that_leaves_within_its_body_is_no_error_of_the_server(server_url: str, key: str, caplog):
    address = httpx.URL(server_url)
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nContent-Length: 100\r\n\r\n{"
    )
    for _ in range(3):
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(head.encode())
            time.sleep(0.2)
    time.sleep(0.5)
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


async def test_requests_of_a_call_that_was_ended_are_ended_too():
    """Those that read end at once; one that writes may finish, although nobody reads its response."""
    ended: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(0.2)
            for _ in range(50):
                await send({"type": "http.response.body", "body": b"x", "more_body": True})
            ended.append(f"{scope['method']} finished")
        except asyncio.CancelledError:
            ended.append(f"{scope['method']} canceled")
            raise

    transport = InProcessTransport(app, {}, {}, "http://test")
    for method in ("GET", "PUT"):
        request = httpx2.Request(method, "http://test/x")
        asking = asyncio.create_task(transport.handle_async_request(request))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait([asking])
    await asyncio.sleep(0.4)
    assert ended == ["GET canceled", "PUT finished"]
