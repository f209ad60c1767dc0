"""Ranges of stored files: a malformed header is ignored, and gives the whole file."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from service.api.stored_files import StoredFile, StoreReads, is_range
from service.backbone.objects.folder import FolderObjects

CONTENT = bytes(range(100))


@pytest.fixture
async def client(tmp_path: Path):
    objects = FolderObjects(tmp_path)
    objects.create("00/file.bin", CONTENT)
    found = objects.find("00/file.bin")
    app = Starlette(routes=[Route("/", lambda _: StoredFile(found, StoreReads(), headers={}, media_type="image/png"))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        yield client


@pytest.mark.parametrize(
    "value", ["items=0-1", "bytes=5-2", "bytes=abc", "bytes=", "bytes=-", "bytes=0-1,x", "0-1", "", "bytes=1-2-3"]
)
async def test_a_malformed_range_gives_the_whole_file(client: httpx.AsyncClient, value: str):
    answer = await client.get("/", headers={"Range": value})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("value", "part"),
    [("bytes=0-1", CONTENT[:2]), ("bytes=90-", CONTENT[90:]), ("bytes=-3", CONTENT[-3:]), ("Bytes=5-5", CONTENT[5:6])],
)
async def test_a_range_gives_a_part(client: httpx.AsyncClient, value: str, part: bytes):
    assert is_range(value.encode())
    answer = await client.get("/", headers={"Range": value})
    assert (answer.status_code, answer.content) == (206, part)


async def test_a_range_beyond_the_end_is_told(client: httpx.AsyncClient):
    assert (await client.get("/", headers={"Range": "bytes=200-"})).status_code == 416


@pytest.mark.parametrize("value", ["bytes=1-%s", "bytes=%s-%s", "bytes=%s-", "bytes=-%s"])
async def test_a_range_of_thousands_of_digits_is_malformed(client: httpx.AsyncClient, value: str):
    answer = await client.get("/", headers={"Range": value.replace("%s", "9" * 5000)})
    assert (answer.status_code, answer.content) == (200, CONTENT)
