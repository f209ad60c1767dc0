"""Jobs of a key are listed, the newest first, page by page."""

from __future__ import annotations

import pytest


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [job["id"] for job in answer.json()["jobs"]]


def test_the_newest_jobs_come_first_and_page_by_page(client, new_job):
    made = [new_job(seed=seed) for seed in range(5)]
    assert ids(client.get("/v1/jobs")) == made[::-1]
    first = ids(client.get("/v1/jobs", params={"limit": 2}))
    rest = ids(client.get("/v1/jobs", params={"limit": 100, "before": first[-1]}))
    assert first + rest == made[::-1]


def test_jobs_of_other_keys_are_not_listed(client, stranger, new_job):
    job_id = new_job()
    assert ids(stranger.get("/v1/jobs")) == []
    assert stranger.get("/v1/jobs", params={"before": job_id}).status_code == 404


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 101}, {"limit": "x"}, {"offset": 1}])
def test_queries_that_make_no_sense(client, query):
    assert client.get("/v1/jobs", params=query).status_code == 422


def test_no_key_no_list(anonymous):
    assert anonymous.get("/v1/jobs").status_code == 401


def test_files_that_are_not_there(client, stranger, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    for index, status in (("0", 404), ("-1", 404), ("x", 422)):
        answer = client.get(f"/v1/jobs/{job_id}/files/{index}")
        assert answer.status_code == status, answer.text
    assert client.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "file_not_found"
    assert stranger.get(f"/v1/jobs/{job_id}/files/0").json()["code"] == "job_not_found"
