"""A query parameter that takes one value is refused by its name when it is given several, on every native route."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/v1/images/search?text=a&text=b", ["text"]),
        ("/v1/images/search?text=a&like=b&min_similarity=0&like=b&min_similarity=0", ["like", "min_similarity"]),
        ("/v1/images/duplicates?limit=1&limit=2", ["limit"]),
        ("/v1/images?search=a&tag=a&search=b&tag=b", ["search"]),
        ("/v1/jobs?cursor=a&cursor=b", ["cursor"]),
        ("/v1/jobs?limit=1&limit=x", ["limit"]),
        ("/v1/jobs/any?wait=0&wait=1", ["wait"]),
        ("/v1/vision/models?catalog=true&catalog=false", ["catalog"]),
        ("/v1/webhook-deliveries?limit=1&limit=1", ["limit"]),
    ],
)
def test_a_parameter_of_one_value_is_given_once(client, path, names):
    answer = client.get(path)
    errors = answer.json()["errors"]
    assert answer.status_code == 422 and [error["field"] for error in errors] == names
    assert {error["message"] for error in errors} == {"takes one value, and is given 2 times"}


def test_deleting_all_jobs_is_said_once(client):
    answer = client.delete("/v1/jobs?all=true&all=false")
    assert answer.status_code == 422 and [error["field"] for error in answer.json()["errors"]] == ["all"]


def test_lists_are_given_by_repeating_their_parameter(client, new_job):
    made = new_job()
    path = "/v1/jobs?kind=txt2img&kind=upscale&status=queued&status=running&metadata=a%3Db&metadata=a%3Db"
    assert client.get(path).json()["jobs"] == []
    assert [job["id"] for job in client.get(path.partition("&metadata")[0]).json()["jobs"]] == [made]


def test_the_key_is_checked_before_the_query(client):
    assert client.get("/v1/jobs?limit=1&limit=2", headers={"Authorization": "Bearer unknown"}).status_code == 401
