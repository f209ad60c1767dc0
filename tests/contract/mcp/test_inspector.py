"""The unmodified MCP Inspector, on its command line: ``@modelcontextprotocol/inspector``."""

from __future__ import annotations

import base64
import json
from io import BytesIO

from PIL import Image

from benchmarks.mcp.engine import has_colour

from .conftest import Inspect

SEED = 7


def test_the_inspector_lists_calls_reads_and_gets(inspect: Inspect) -> None:
    tools = {tool["name"]: tool for tool in inspect("tools/list", "--strict")["tools"]}  # portable schemas, or it fails
    assert {"create_image", "wait_for_job", "run_agent"} <= set(tools)

    drawn = inspect("tools/call", "--tool-name", "create_image", "--tool-arg", "prompt=a cat", f"seed={SEED}")
    assert not drawn.get("isError") and drawn["structuredContent"]["status"] == "succeeded"
    shown = next(part for part in drawn["content"] if part["type"] == "image")
    with Image.open(BytesIO(base64.b64decode(shown["data"]))) as image:
        assert has_colour(image, SEED)

    assert inspect("resources/list") == {"resources": []}
    templates = {each["uriTemplate"] for each in inspect("resources/templates/list")["resourceTemplates"]}
    assert templates == {"photogram://jobs/{job_id}", "photogram://jobs/{job_id}/images/{index}"}
    uri = f"photogram://jobs/{drawn['structuredContent']['job_id']}"
    (job,) = inspect("resources/read", "--uri", uri)["contents"]
    assert json.loads(job["text"])["status"] == "succeeded"
    (png,) = inspect("resources/read", "--uri", f"{uri}/images/0")["contents"]
    assert base64.b64decode(png["blob"]).startswith(b"\x89PNG")

    assert {"storyboard", "icon_set"} <= {prompt["name"] for prompt in inspect("prompts/list")["prompts"]}
    (message,) = inspect("prompts/get", "--prompt-name", "storyboard", "--prompt-args", "subject=cats")["messages"]
    assert "a story in 4 panels about cats" in message["content"]["text"]


def test_the_inspector_shows_what_is_refused(inspect: Inspect) -> None:
    refused = inspect("tools/call", "--tool-name", "wait_for_job", "--tool-arg", "job_id=nothing")
    assert refused["isError"] and "no such job" in refused["content"][0]["text"]
