"""Finished images as files, and the links to them."""

from __future__ import annotations

from io import BytesIO

import httpx
import pytest
from PIL import Image

from service.api.app import create_app
from service.api.decoding import Decoding
from service.backbone.settings import Settings


def test_an_image_is_served_for_ever(anonymous, new_job, worker):
    job_id = new_job()
    assert anonymous.get(f"/images/{job_id}.png").status_code == 404
    worker.draw(job_id)
    answer = anonymous.get(f"/images/{job_id}.png")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "content-disposition" not in answer.headers
    head = anonymous.head(f"/images/{job_id}.png")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(answer.content)), b"")
    known = anonymous.get(f"/images/{job_id}.png", headers={"If-None-Match": f'"x", W/{answer.headers["etag"]}'})
    assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", answer.headers["etag"])
    saved = anonymous.get(f"/images/{job_id}.png?download=1")
    assert saved.headers["content-disposition"] == f'attachment; filename="{job_id}.png"'
    part = anonymous.get(f"/images/{job_id}.png", headers={"Range": "bytes=0-7"})
    assert (part.status_code, part.content) == (206, b"\x89PNG\r\n\x1a\n")

    for tag in ("*", f"W/{answer.headers['etag']}"):
        assert anonymous.get(f"/images/{job_id}.png", headers={"If-None-Match": tag}).status_code == 304
    for wanted, status, content in [
        ("bytes=-4", 206, answer.content[-4:]),
        (f"bytes={len(answer.content) - 1}-", 206, answer.content[-1:]),
        ("bytes=0-0", 206, answer.content[:1]),
        (f"bytes={len(answer.content)}-", 416, None),
        ("pixels=0-7", 200, answer.content),
    ]:
        part = anonymous.get(f"/images/{job_id}.png", headers={"Range": wanted})
        assert part.status_code == status
        assert content is None or part.content == content
    for tag, status in ((answer.headers["etag"], 206), ('"another"', 200)):
        asked = {"Range": "bytes=0-7", "If-Range": tag}
        assert anonymous.get(f"/images/{job_id}.png", headers=asked).status_code == status


@pytest.mark.parametrize("chosen", ["mine", "00000000-0000-4000-8000-000000000000", "posted"])
def test_nobody_can_change_an_image_whose_record_has_expired(
    anonymous, client, stranger, body, worker, redis, new_job, chosen
):
    job_id = chosen
    if chosen == "posted":
        job_id = new_job()
    else:
        assert client.put(f"/v1/jobs/{job_id}", json=body()).status_code == 202
    worker.draw(job_id)
    (mine,) = client.get(f"/v1/jobs/{job_id}").json()["result"]["images"]
    before = anonymous.get(mine["url"]).content
    redis.delete(f"photogram:job:{job_id}")
    assert stranger.put(f"/v1/jobs/{job_id}", json=body(seed=5)).status_code == 202
    worker.draw(job_id, color="red")
    (theirs,) = stranger.get(f"/v1/jobs/{job_id}").json()["result"]["images"]
    assert mine["url"] != theirs["url"] and job_id not in theirs["url"]
    assert anonymous.get(mine["url"]).content == before != anonymous.get(theirs["url"]).content


@pytest.mark.parametrize(
    "path",
    ["x.png", "..%2f..%2fetc%2fpasswd.png", "%00.png", "00000000-0000-4000-8000-000000000000.png", "a/b.png", "x"],
)
def test_there_is_no_such_image(anonymous, path):
    answer = anonymous.get(f"/images/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_public_url_starts_all_links(serve, redis_url, data, key, worker):
    settings = Settings(redis_url=redis_url, data=data, public_url="https://images.example/api")
    with serve(create_app(settings)) as url, httpx.Client(base_url=url, headers={"X-API-Key": key}) as client:
        job_id = client.post("/v1/sd/generate", json={"prompt": "x"}).json()["job"]
        worker.draw(job_id)
        expected = f"https://images.example/api/images/{job_id}.png"
        assert client.get(f"/v1/job/{job_id}").json()["imageUrl"] == expected
        assert client.get(f"/v1/jobs/{job_id}").json()["result"]["images"][0]["url"] == expected


@pytest.mark.parametrize(
    ("extension", "media_type", "name"), [("jpg", "image/jpeg", "JPEG"), ("webp", "image/webp", "WEBP")]
)
def test_an_image_is_served_in_other_formats(anonymous, new_job, worker, monkeypatch, extension, media_type, name):
    asked_px, run = [], Decoding.run

    async def noted_run(decoding, px, work):
        asked_px.append(px)
        return await run(decoding, px, work)

    monkeypatch.setattr(Decoding, "run", noted_run)
    job_id = new_job()
    assert anonymous.get(f"/images/{job_id}.{extension}").status_code == 404
    worker.draw(job_id)
    answer = anonymous.get(f"/images/{job_id}.{extension}")
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    with Image.open(BytesIO(answer.content)) as image:
        assert image.format == name
        assert asked_px == [image.width * image.height]  # it waits for its place in the budget
