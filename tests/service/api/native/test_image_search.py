"""Images are found by what they show, by their key and by nobody else; and hostile searches are refused."""

from __future__ import annotations

import io
import resource
import zipfile

import numpy as np
import pytest
from PIL import Image

from models.eyes.encoders import text_encoder
from models.eyes.fingerprints import Fingerprint


def near(vector, seed, amount=0.3):
    """A vector of length 1 that is near ``vector``, but for some noise."""
    noise = np.random.default_rng(seed).normal(size=len(vector)).astype(np.float32)
    made = vector + amount * noise / np.linalg.norm(noise)
    return made / np.linalg.norm(made)


@pytest.fixture
def drawn(new_job, worker):
    """Finishes a job whose image shows ``what``, by its fingerprint; gives the ids of the job and of the image."""

    def draw(what, hash=None, **params):
        job_id = new_job(**params)
        worker.start(job_id)
        seed = params.get("seed", 0)
        vector = near(text_encoder().encode([what])[0], seed)
        print_ = Fingerprint(vector, (seed * 0x9E3779B97F4A7C15) % (1 << 64) if hash is None else hash)
        worker.succeed(job_id, fingerprint=print_.to_text())
        return job_id, worker.ledger.read(job_id).image_id

    return draw


def found(answer):
    assert answer.status_code == 200, answer.text
    return [image["id"] for image in answer.json()["images"]]


def search(client, **params):
    return client.get("/v1/images/search", params=params)


def patches(seed, size=128):
    """An image of patches in random colours."""
    colors = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colors).resize((size, size), Image.Resampling.NEAREST)


def test_words_find_what_shows_them_best_first(client, drawn):
    (_, apple), (_, car), (_, cat) = (
        drawn(what, seed=seed) for seed, what in enumerate(["an apple", "a car", "a cat"])
    )
    for text, image in (("a red apple", apple), ("car", car), ("a cat", cat)):
        assert found(search(client, text=text))[0] == image
    answer = search(client, text="an apple").json()["images"]
    similarities = [image["similarity"] for image in answer]
    assert similarities == sorted(similarities, reverse=True) and -1 <= similarities[-1] <= similarities[0] <= 1
    assert answer[0]["url"].endswith(f"/images/{apple}.png") and answer[0]["seed"] == 0
    assert answer[0]["prompt"] == "a red apple"
    assert found(search(client, text="an apple", limit=1)) == [apple]
    assert found(search(client, text="an apple", min_similarity=0.8)) == [apple]


def test_an_image_finds_those_like_it(client, drawn):
    (_, first), (_, second), _ = drawn("an apple", seed=1), drawn("an apple", seed=2), drawn("a car", seed=3)
    assert found(search(client, like=first))[0] == second
    assert found(search(client, like=f"image:{first}")) == found(search(client, like=first))
    assert first not in found(search(client, like=first))
    assert found(search(client, image=f"image:{first}"))  # by its file, which is black here


def test_an_upload_finds_those_like_it(client, new_job, worker):
    job_ids = [new_job(seed=seed) for seed in range(3)]
    for seed, job_id in enumerate(job_ids):
        worker.start(job_id)
        worker.succeed(job_id, fingerprint=Fingerprint.of(patches(seed)).to_text())
    buffer = io.BytesIO()
    patches(1, 300).save(buffer, "JPEG")
    sent = client.post("/v1/inputs", content=buffer.getvalue(), headers={"Content-Type": "image/jpeg"}).json()
    answer = search(client, image=sent["source"]).json()["images"]
    assert answer[0]["job_id"] == job_ids[1] and answer[0]["similarity"] > 0.95 > answer[1]["similarity"]


def test_filters_leave_the_other_jobs_out(client, drawn, body, worker):
    (_, first), (_, second) = drawn("an apple", seed=1, prompt="One fox"), drawn("an apple", seed=2, prompt="two foxes")
    assert found(search(client, text="an apple", search="fox one")) == [first]
    assert found(search(client, text="an apple", kind="img2img")) == []
    assert found(search(client, text="an apple", created_before="2001-01-01T00:00:00Z")) == []
    assert set(found(search(client, text="an apple", created_after="2001-01-01T00:00:00Z"))) == {first, second}
    assert set(found(search(client, text="an apple", model="house"))) == {first, second}
    assert found(search(client, text="an apple", tag="x")) == []


def test_nobody_finds_images_of_another_key(client, stranger, drawn):
    _, image = drawn("an apple")
    assert found(search(stranger, text="an apple")) == []
    assert search(stranger, like=image).status_code == 404
    assert stranger.get("/v1/images/duplicates").json() == {"groups": [], "total": 0, "is_complete": True}
    assert client.get("/v1/images/search", headers={"Authorization": ""}, params={"text": "a"}).status_code == 401


def test_what_is_deleted_is_found_no_more(client, drawn):
    (job, apple), (other, second) = drawn("an apple", seed=1), drawn("an apple", seed=2)
    assert set(found(search(client, text="an apple"))) == {apple, second}
    assert client.delete(f"/v1/jobs/{job}/images/{apple}").status_code == 204
    assert found(search(client, text="an apple")) == [second]
    assert search(client, like=apple).status_code == 404
    client.delete(f"/v1/jobs/{other}")
    assert found(search(client, text="an apple")) == []


def test_near_duplicates_are_groups(client, drawn):
    same = [drawn("an apple", hash=0xFF00FF00FF00FF00 ^ bits, seed=bits)[1] for bits in (0, 1, 3)]
    pair = [drawn("a car", hash=0x123456789ABCDEF0 ^ bits, seed=9 + bits)[1] for bits in (0, 8)]
    drawn("a cat", hash=0, seed=30)
    answer = client.get("/v1/images/duplicates").json()
    assert [[image["id"] for image in group["images"]] for group in answer["groups"]] == [same, pair]
    assert ([group["count"] for group in answer["groups"]], answer["total"], answer["is_complete"]) == ([3, 2], 2, True)
    assert client.get("/v1/images/duplicates", params={"max_distance": 0}).json()["groups"] == []
    assert len(client.get("/v1/images/duplicates", params={"limit": 1}).json()["groups"]) == 1


BAD = {
    "nothing": ({}, "text"),
    "two": ({"text": "a", "like": "b"}, "like"),
    "an empty text": ({"text": ""}, "text"),
    "a blank text": ({"text": "  "}, "text"),
    "no words": ({"text": "!!! \x00"}, "text"),
    "what is no UTF-8": ({"text": "\ufffd"}, "text"),
    "a long text": ({"text": "a" * 501}, "text"),
    "a path": ({"image": "/etc/passwd"}, "image"),
    "a URL": ({"image": "http://127.0.0.1/a.png"}, "image"),
    "Base64": ({"image": "data:image/png;base64,AAAA"}, "image"),
    "no such input": ({"image": "input:" + "0" * 64}, "image"),
    "a path as an input": ({"image": "input:../../etc/passwd"}, "image"),
    "no such image": ({"image": "image:nothing"}, "image"),
    "a limit of 0": ({"text": "a", "limit": 0}, "limit"),
    "a high limit": ({"text": "a", "limit": 101}, "limit"),
    "a similarity of 2": ({"text": "a", "min_similarity": 2}, "min_similarity"),
    "no number": ({"text": "a", "min_similarity": "nan"}, "min_similarity"),
    "an unknown kind": ({"text": "a", "kind": "nothing"}, "kind[0]"),
    "an unknown filter": ({"text": "a", "status": "failed"}, "status"),
}


@pytest.mark.parametrize(("params", "field"), BAD.values(), ids=BAD)
def test_bad_searches_are_refused(client, params, field):
    answer = search(client, **params)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("params", [{"max_distance": 7}, {"max_distance": -1}, {"limit": 0}, {"text": "a"}])
def test_bad_questions_for_duplicates_are_refused(client, params):
    assert client.get("/v1/images/duplicates", params=params).status_code == 422


def test_a_very_long_image_takes_little_memory(client, drawn):
    drawn("an apple")
    buffer = io.BytesIO()
    Image.new("L", (1, 120_000), 200).save(buffer, "PNG")
    sent = client.post("/v1/inputs", content=buffer.getvalue(), headers={"Content-Type": "image/png"})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(found(search(client, image=sent.json()["source"]))) == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KB; the server is in this process


def test_an_archive_is_no_image_to_search_for(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/1.txt", "x")
    source = client.post("/v1/archives", content=buffer.getvalue(), headers={"Content-Type": "application/zip"})
    answer = search(client, image=source.json()["source"])
    assert answer.status_code == 422 and answer.json()["errors"][0]["field"] == "image"


def test_strange_texts_are_words_like_any(client, drawn):
    drawn("an apple")
    for text in ("a\x00", "a \u202e", "a" + "🐢" * 250, "a" * 500, "%00", "[PAD] [SEP]"):
        assert len(found(search(client, text=text))) == 1
