"""What a key owns over HTTP: jobs and images are listed, searched and deleted, by the key and by nobody else."""

from __future__ import annotations

import time

import pytest

from models.errors import StorageUnavailable
from models.jobs.results import Image
from service.backbone import owned_jobs
from service.backbone.keyspace import (
    DUE_KEY,
    QUEUED_JOBS_KEY,
    QUEUED_WORK_KEY,
    RETENTION_KEY,
    owner_waiting_key,
    record_key,
)
from service.backbone.objects.opening import open_stores
from service.backbone.owned_jobs import OwnedJobs
from service.backbone.retention import GRACE_S, Retention
from service.backbone.settings import Settings
from tests.service.api.conftest import EXECUTION


def listed_ids(answer):
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


@pytest.fixture
def sweep(redis, server_data):
    """What a gateway does every minute, as it will be once what is due now has waited long enough."""
    settings = Settings(data=server_data)
    retention = Retention(redis, open_stores(settings), settings)
    return lambda: retention.sweep(time.time() + GRACE_S + 2)


@pytest.fixture
def owned(redis, server_data, monkeypatch):
    """Deletes jobs, and dies before it removes any image."""

    def die(names):
        raise StorageUnavailable("the power is off")

    stores = open_stores(Settings(data=server_data))
    owned = OwnedJobs(redis, stores.images, stores.files, 3600)
    monkeypatch.setattr(owned, "_remove", die)
    return owned


def test_the_newest_jobs_come_first_and_page_by_page(client, new_job):
    made = [new_job(seed=seed) for seed in range(5)]
    assert listed_ids(client.get("/v1/jobs")) == made[::-1]
    first = client.get("/v1/jobs", params={"limit": 2})
    rest = client.get("/v1/jobs", params={"limit": 100, "cursor": first.json()["next"]})
    assert listed_ids(first) + listed_ids(rest) == made[::-1]


def test_jobs_of_other_keys_are_not_listed(stranger, new_job):
    new_job()
    assert listed_ids(stranger.get("/v1/jobs")) == [] and stranger.get("/v1/images").json()["images"] == []


def test_filters_of_a_list(client, body, worker):
    sent = body(prompt="A red Fox") | {"tags": ["a", "b"], "metadata": {"user": "7"}}
    tagged = client.post("/v1/jobs", json=sent).json()
    assert (tagged["tags"], tagged["metadata"]) == (["a", "b"], {"user": "7"})
    plain = client.post("/v1/jobs", json=body(prompt="a green fox")).json()
    worker.start(plain["id"])
    for query, expected in [
        ({"tag": ["a", "b"]}, [tagged]),
        ({"tag": ["a", "c"]}, []),
        ({"metadata": "user=7"}, [tagged]),
        ({"status": "running"}, [plain]),
        ({"status": ["running", "queued"], "search": "fox"}, [plain, tagged]),
        ({"search": "FOX red"}, [tagged]),
        ({"kind": "upscale"}, []),
        ({"model": "house", "limit": 100}, [plain, tagged]),
        ({"kind": ["upscale", "txt2img"]}, [plain, tagged]),
        ({"model": "removed-from-the-catalog"}, []),
        ({"created_after": plain["created_at"]}, [plain]),
        ({"created_before": plain["created_at"]}, [tagged]),
        ({"created_before": "0001-01-01T00:00:00Z"}, []),
        ({"created_after": "9999-12-31T23:59:59Z"}, []),
    ]:
        assert listed_ids(client.get("/v1/jobs", params=query)) == [job["id"] for job in expected], query


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"offset": 1}, "offset"),
        ({"before": "x"}, "before"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "x" * 5000}, "cursor"),
        ({"status": "done"}, "status[0]"),
        ({"tag": ""}, "tag[0]"),
        ({"tag": "x" * 65}, "tag[0]"),
        ({"tag": ["x"] * 17}, "tag"),
        ({"kind": ["x"] * 17}, "kind"),
        ({"kind": ""}, "kind[0]"),
        ({"kind": ["txt2img", "txt2imgg"]}, "kind[1]"),
        ({"kind": "TXT2IMG"}, "kind[0]"),
        ({"kind": "txt2img,upscale"}, "kind[0]"),
        ({"state": "queued"}, "state"),
        ({"dialect": "openai"}, "dialect"),
        ({"sort": "oldest"}, "sort"),
        ({"status": ""}, "status[0]"),
        ({"status": "SUCCEEDED"}, "status[0]"),
        ({"model": "x" * 201}, "model[0]"),
        ({"metadata": "user"}, "metadata[0]"),
        ({"metadata": "a b=1"}, "metadata[0]"),
        ({"search": "x" * 201}, "search"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"created_after": "2026-11-27T00:00:00"}, "created_after"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images"])
def test_invalid_queries_of_a_list(client, path, query, field):
    answer = client.get(path, params=query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize(
    "query", ["all=true&status=failed", "all=true&kind=upscale", "all=yes", "all=", "", "status=failed"]
)
def test_nothing_is_deleted_if_the_query_says_anything_but_all(client, new_job, query):
    job_id = new_job()
    assert client.delete(f"/v1/jobs?{query}").status_code == 422
    key_id = client.get("/v1/keys").json()["keys"][0]["id"]
    if query:
        assert client.delete(f"/v1/keys/{key_id}/jobs?{query}").status_code == 422
    assert listed_ids(client.get("/v1/jobs")) == [job_id]


def test_an_unknown_kind_is_told_those_that_there_are(client):
    (problem,) = client.get("/v1/jobs", params={"kind": "txt2pic"}).json()["errors"]
    assert problem["code"] == "unknown_name" and {"txt2img", "upscale"} <= set(problem["allowed"])
    assert "there is no kind 'txt2pic' (did you mean 'txt2img'" in problem["message"]
    key_id = client.post("/v1/keys", json={"name": "x"}).json()["id"]
    assert client.get(f"/v1/keys/{key_id}/jobs", params={"kind": "txt2pic"}).json()["errors"] == [problem]


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/images"])
def test_a_list_needs_a_key(anonymous, path):
    assert anonymous.get(path).status_code == 401


def test_images_are_listed_with_their_jobs_and_deleted_one_by_one(client, stranger, new_job, worker, server_url):
    new_job()
    job_id = new_job()
    worker.start(job_id)
    made = [worker.store.add(data) for data in (b"1", b"2")]
    assert worker.ledger.succeed(job_id, EXECUTION, [Image(each, 8, 8) for each in made], {})
    images = client.get("/v1/images").json()["images"]
    assert [(image["id"], image["job_id"], image["width"]) for image in images] == [(each, job_id, 8) for each in made]
    assert images[0]["url"] == f"{server_url}/images/{made[0]}.png"
    path = f"/v1/jobs/{job_id}/images/"
    assert stranger.delete(path + made[0]).status_code == 404 and worker.store.find(made[0]) is not None
    assert client.delete(path + made[0]).status_code == 204
    assert worker.store.find(made[0]) is None and worker.store.find(made[1]) is not None
    again = client.delete(path + made[0])
    assert (again.status_code, again.json()["code"]) == (404, "image_not_found")
    assert len(client.get(f"/v1/jobs/{job_id}").json()["result"]["images"]) == 1
    assert client.delete(path + made[1]).status_code == 204
    assert client.get(f"/v1/jobs/{job_id}").json()["result"]["images"] == []
    assert client.get("/v1/images").json()["images"] == []


def test_a_deleted_job_is_gone_with_its_image(client, new_job, worker, redis):
    job_id, other = new_job(), new_job()
    worker.draw(job_id)
    worker.draw(other)
    answer = client.delete(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()["id"], answer.json()["status"]) == (200, job_id, "succeeded")
    assert worker.store.find(job_id) is None and worker.store.find(other) is not None
    for gone in (client.get(f"/v1/jobs/{job_id}"), client.delete(f"/v1/jobs/{job_id}")):
        assert (gone.status_code, gone.json()["code"]) == (404, "job_not_found")
    assert listed_ids(client.get("/v1/jobs")) == [other]
    assert redis.keys(f"*{job_id}*") == [f"rq:job:{job_id}".encode()] and redis.zcard(RETENTION_KEY) == 0


def test_a_job_that_waits_is_cancelled_and_gone(client, body, worker, redis):
    labels = {"tags": ["x"], "metadata": {"k": "v"}}
    job_id = client.post("/v1/jobs", json=body() | labels | {"cancel_after_s": 100}).json()["id"]
    assert client.delete(f"/v1/jobs/{job_id}").json()["status"] == "canceled"
    assert worker.ledger.start(job_id, "late") is None
    assert listed_ids(client.get("/v1/jobs?tag=x")) == [] and redis.keys("photogram:owner:*") == []
    usage = client.get("/v1/usage").json()
    assert (usage["queued"], usage["days"][0]["units"], usage["days"][0]["canceled"]) == (0, 0, 1)
    assert redis.keys(f"photogram:*{job_id}*") == [] and redis.zcard(DUE_KEY) == 0


def test_the_work_that_waits_is_counted_through_batches_and_deletions(client, body, redis):
    made = client.post("/v1/jobs/batch", json={"jobs": [body(), body(), body()]}).json()["items"]
    field = "txt2img\nhouse"
    work = int(redis.hget(QUEUED_WORK_KEY, field))
    client.delete(f"/v1/jobs/{made[1]['job']['id']}")
    assert int(redis.hget(QUEUED_JOBS_KEY, field)) == 2
    assert int(redis.hget(QUEUED_WORK_KEY, field)) == work * 2 // 3
    client.delete("/v1/jobs?all=true")
    assert redis.hgetall(QUEUED_JOBS_KEY) == redis.hgetall(QUEUED_WORK_KEY) == {}


def test_a_deleted_job_leaves_its_turn(client, new_job, worker, redis):
    first, second, third = (new_job() for _ in range(3))
    owner = _owner(redis, second)
    client.delete(f"/v1/jobs/{second}")
    assert redis.zrange(owner_waiting_key(owner), 0, -1) == [third.encode()]
    assert not redis.exists(f"rq:job:{second}") and worker.ledger.start(first, EXECUTION) == 0


@pytest.mark.parametrize("ends", ["succeed", "fail"])
def test_a_job_that_runs_is_hidden_at_once_and_removed_at_its_end(client, new_job, worker, redis, sweep, ends):
    job_id = new_job()
    worker.start(job_id)
    assert client.delete(f"/v1/jobs/{job_id}").json()["status"] == "canceled"
    assert client.get(f"/v1/jobs/{job_id}").status_code == client.get(f"/v1/jobs/{job_id}?wait=1").status_code == 404
    assert redis.ttl(record_key(job_id)) == -1
    assert worker.ledger.progress(job_id, EXECUTION, 3, 20) == "cancel"
    getattr(worker, ends)(job_id)
    assert client.get("/v1/images").json()["images"] == []
    assert 0 < redis.ttl(record_key(job_id)) <= 60
    sweep()
    assert worker.store.find(job_id) is None


def test_an_interrupted_deletion_is_finished_later(client, new_job, worker, redis, owned, sweep):
    job_id = new_job()
    worker.draw(job_id)
    with pytest.raises(StorageUnavailable):
        owned.delete(_owner(redis, job_id), job_id)
    assert client.get(f"/v1/jobs/{job_id}").status_code == 404 and worker.store.find(job_id) is not None
    sweep()
    assert worker.store.find(job_id) is None and redis.keys(f"photogram:job:{job_id}*") == []


def _owner(redis, job_id):
    return redis.hget(record_key(job_id), "owner").decode()


def test_a_job_that_takes_the_id_of_a_deleted_one_stays(client, body, sweep):
    assert client.put("/v1/jobs/mine", json=body()).status_code == 202
    client.delete("/v1/jobs/mine")
    assert client.put("/v1/jobs/mine", json=body(seed=2)).status_code == 202
    sweep()
    assert client.get("/v1/jobs/mine").json()["params"]["seed"] == 2


def test_an_image_that_another_job_starts_from_stays_for_it(client, body, new_job, worker, redis):
    source = new_job()
    worker.draw(source)
    users = [client.post("/v1/jobs", json=_img2img(source)).json()["id"] for _ in range(2)]
    client.delete(f"/v1/jobs/{source}")
    assert client.get(f"/v1/jobs/{source}").status_code == 404
    assert worker.store.find(source) is not None
    client.delete(f"/v1/jobs/{users[0]}")
    assert worker.store.find(source) is not None
    client.delete(f"/v1/jobs/{users[1]}")
    assert worker.store.find(source) is None and redis.keys("photogram:image:*") == []


def test_the_source_of_a_deleted_job_stays(client, new_job, worker):
    source = new_job()
    worker.draw(source)
    user = client.post("/v1/jobs", json=_img2img(source)).json()["id"]
    client.delete(f"/v1/jobs/{user}")
    assert worker.store.find(source) is not None and client.get(f"/v1/jobs/{source}").status_code == 200


def _img2img(source):
    return {"kind": "img2img", "params": {"prompt": "x", "image": f"image:{source}"}}


def test_everything_of_a_key_is_deleted_and_nothing_of_another(client, stranger, body, new_job, worker, redis):
    mine = [new_job() for _ in range(3)]
    worker.draw(mine[0])
    worker.start(mine[1])
    kept = stranger.post("/v1/jobs", json=body()).json()["id"]
    refused = client.delete("/v1/jobs")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "all")
    assert client.delete("/v1/jobs?all=false").status_code == 422
    assert client.delete("/v1/jobs?all=true").json() == {"deleted": 2, "running": 1}
    assert listed_ids(client.get("/v1/jobs")) == [] and listed_ids(stranger.get("/v1/jobs")) == [kept]
    assert worker.store.find(mine[0]) is None
    assert client.delete("/v1/jobs?all=true").json() == {"deleted": 0, "running": 0}
    worker.fail(mine[1])
    left = [key for job_id in mine for key in redis.keys(f"photogram:*{job_id}*")]
    assert all(mine[1] in key.decode() and redis.ttl(key) <= 60 for key in left)


def test_the_jobs_of_a_key_are_deleted_where_an_earlier_request_stopped(
    client, new_job, worker, redis, owned, sweep, monkeypatch
):
    made = [new_job() for _ in range(4)]
    for job_id in made:
        worker.draw(job_id)
    owner = _owner(redis, made[0])
    redis.delete(record_key(made[2]))
    monkeypatch.setattr(owned_jobs, "_DELETED_TOGETHER", 2)
    with pytest.raises(StorageUnavailable):
        owned.delete_all(owner)
    assert listed_ids(client.get("/v1/jobs")) == [made[3]]
    assert client.delete("/v1/jobs?all=true").json() == {"deleted": 1, "running": 0}
    sweep()
    assert [worker.store.find(made[number]) for number in (0, 1, 3)] == [None] * 3
    assert redis.keys("photogram:job:*") == [b"photogram:job:%s:events" % made[2].encode()]
