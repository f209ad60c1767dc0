"""Plain polls: they answer as the documented route does, and never with what is no longer so."""

from __future__ import annotations

import pytest

from service.backbone.keyspace import record_key


def both(client, job_id: str):
    """The answers to a poll without and with a query."""
    return client.get(f"/v1/jobs/{job_id}"), client.get(f"/v1/jobs/{job_id}", params={"wait": 0})


def test_both_routes_give_the_same_answer_at_every_status(client, worker, new_job):
    job_id = new_job()
    for change in (lambda _: None, worker.start, worker.succeed):
        change(job_id)
        plain, documented = both(client, job_id)
        assert plain.status_code == documented.status_code == 200
        assert plain.content == documented.content
        assert plain.headers["content-type"] == documented.headers["content-type"] == "application/json"
    assert plain.json()["status"] == "succeeded"


def test_each_change_is_seen_at_once(client, worker, new_job):
    job_id = new_job()
    worker.start(job_id)
    for step in (1, 2, 3):
        worker.progress(job_id, step)
        assert client.get(f"/v1/jobs/{job_id}").json()["progress"]["step"] == step


def test_a_deleted_job_is_gone_at_once(client, worker, new_job, redis):
    job_id = new_job()
    worker.draw(job_id)
    assert client.get(f"/v1/jobs/{job_id}").status_code == 200
    redis.delete(record_key(job_id))
    assert [answer.status_code for answer in both(client, job_id)] == [404, 404]


def test_another_key_never_gets_an_answer_that_was_kept_for_its_owner(client, stranger, worker, new_job):
    job_id = new_job()
    worker.draw(job_id)
    assert client.get(f"/v1/jobs/{job_id}").status_code == 200
    assert [answer.json()["code"] for answer in both(stranger, job_id)] == ["job_not_found"] * 2


def test_links_have_the_host_that_was_asked(client, worker, new_job):
    job_id = new_job()
    worker.draw(job_id)
    for host in ("one.example", "two.example", "one.example"):
        url = client.get(f"/v1/jobs/{job_id}", headers={"Host": host}).json()["result"]["images"][0]["url"]
        assert url.startswith(f"http://{host}/")


@pytest.mark.parametrize("job_id", ["x", "a%0Ab", "%00", "é", "a" * 65])
def test_ids_that_cannot_be_are_not_found(client, job_id):
    answer = client.get(f"/v1/jobs/{job_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "job_not_found")
    assert answer.headers["x-request-id"]


def test_other_methods_are_answered_as_before(client, anonymous, new_job):
    job_id = new_job()
    head = client.head(f"/v1/jobs/{job_id}")
    assert (head.status_code, head.content) == (200, b"")
    refused = client.patch(f"/v1/jobs/{job_id}")
    assert (refused.status_code, refused.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")
    assert client.get(f"/v1/jobs/{job_id}", params={"wait": "soon"}).status_code == 422
    assert anonymous.get(f"/v1/jobs/{job_id}").status_code == 401


@pytest.mark.parametrize(
    "header", [{"X-API-Key": "{key}"}, {"X-Prodia-Key": "{key}"}, {"Authorization": "bearer {key}"}]
)
def test_every_header_of_the_key_is_read(anonymous, key, new_job, header):
    sent = {name: value.format(key=key) for name, value in header.items()}
    assert anonymous.get(f"/v1/jobs/{new_job()}", headers=sent).status_code == 200
