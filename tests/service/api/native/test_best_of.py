"""Jobs with several candidates through the API: what is accepted, what it costs, and what the finished job tells."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from redis import Redis

from models.errors import ScoreTooLow
from models.jobs.candidates import Candidate, candidates_document
from models.jobs.params import SEED_MAX
from models.jobs.results import Image
from tests.service.api.conftest import EXECUTION

STEPS = {"width": 512, "height": 512, "num_inference_steps": 4}  # 1.05 units


@pytest.mark.parametrize(
    ("params", "field", "words"),
    [
        ({"best_of": 0}, "best_of", "must be from 1 to 16"),
        ({"best_of": 17}, "best_of", "must be from 1 to 16"),
        ({"best_of": -1, "keep": 1}, "best_of", "must be from 1 to 16"),
        ({"best_of": True}, "best_of", ""),
        ({"best_of": "4"}, "best_of", ""),
        ({"best_of": 2.5}, "best_of", ""),
        ({"best_of": 10**30}, "best_of", "must be from 1 to 16"),
        ({"best_of": 4, "keep": 0}, "keep", "must be from 1 to 16"),
        ({"best_of": 4, "keep": True}, "keep", ""),
        ({"best_of": 4, "keep": 5}, "keep", "must be at most best_of, which is 4"),
        ({"keep": 2}, "keep", "must be at most best_of, which is 1"),
        ({"min_score": 1.01}, "min_score", "must be from -1 to 1"),
        ({"min_score": -2, "best_of": 4}, "min_score", "must be from -1 to 1"),
        ({"min_score": "0.5"}, "min_score", ""),
        ({"min_score": True}, "min_score", ""),
        ({"min_score": 0, "prompt": "(ugly:-1)"}, "min_score", "must be left out without words in the prompt"),
        ({"best_of": 2, "prompt": " (\u3000) "}, "best_of", "must be 1 without words in the prompt"),
        ({"best_of": 2, "prompt": "(ugly:-1)"}, "best_of", "must be 1 without words in the prompt"),
    ],
)
def test_what_is_not_allowed_is_refused_by_its_field(client, body, queued, params, field, words) -> None:
    answer = client.post("/v1/jobs", json=body(**params))
    assert answer.status_code in (400, 422), answer.text
    (error,) = answer.json()["errors"]
    assert error["field"] == f"params.{field}" or error["field"] == field
    assert words in error["message"]
    assert queued() == 0


def test_a_broken_prompt_is_reported_as_such_alone(client, body) -> None:
    (error,) = client.post("/v1/jobs", json=body(prompt="<lora:", best_of=2)).json()["errors"]
    assert "prompt" in error["field"]


def test_it_costs_what_its_candidates_cost(client, body) -> None:
    one, four = (client.post("/v1/jobs/dry_run", json=body(**STEPS, best_of=count)).json() for count in (1, 4))
    assert four["cost"]["units"] == pytest.approx(4 * one["cost"]["units"])
    assert four["cost"]["peak_bytes"] == 4 * one["cost"]["peak_bytes"]
    assert four["cost"]["output_px"] == one["cost"]["output_px"]


def test_the_usage_counts_all_candidates(client, body, redis: Redis) -> None:
    client.post("/v1/jobs", json=body(**STEPS, best_of=4))
    assert client.get("/v1/usage").json()["month"]["units"] == pytest.approx(4 * 1.05, rel=0.01)


def test_the_params_and_the_steps_tell_of_it_only_if_there_are_several(client, body) -> None:
    several = client.post("/v1/jobs", json=body(best_of=4, keep=2, num_inference_steps=5)).json()
    assert (several["params"]["best_of"], several["params"]["keep"], several["progress"]["steps"]) == (4, 2, 20)
    one = client.post("/v1/jobs", json=body(best_of=1, keep=1, min_score=None)).json()
    assert not {"best_of", "keep", "min_score"} & set(one["params"])
    assert client.post("/v1/jobs", json=body(min_score=0)).json()["params"]["min_score"] == 0


def test_a_job_without_an_image_that_is_good_enough_tells_its_scores(client, body, worker) -> None:
    job_id = client.post("/v1/jobs", json=body(seed=4, min_score=0.5)).json()["id"]
    worker.start(job_id)
    document = candidates_document([Candidate(seed=4, score=0.25, image_id=None)])
    assert worker.ledger.fail(job_id, EXECUTION, ScoreTooLow("the best score is 0.25", "min_score", document=document))
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert (job["status"], job["error"]) == (
        "failed", {"code": "score_too_low", "message": "min_score: the best score is 0.25"}
    )  # fmt: skip
    assert job["result"]["images"] == [] and job["result"]["document"] == document
    assert client.get("/v1/images").json()["images"] == []


def finish(worker: Any, job_id: str) -> None:
    """What a worker writes that kept the last of three candidates, and then the first."""
    record = worker.ledger.read(job_id)
    worker.start(job_id)
    seeds = (record.params.seed, 0, 1)
    candidates = [
        Candidate(seed=seeds[0], score=0.25, image_id="second"),
        Candidate(seed=seeds[1], score=-0.5, image_id=None),
        Candidate(seed=seeds[2], score=0.75, image_id=record.image_id),
    ]
    images = [Image(record.image_id, 8, 8), Image("second", 8, 8)]
    assert worker.ledger.succeed(job_id, EXECUTION, images, {}, document=candidates_document(candidates))


def test_a_finished_job_tells_the_seed_of_each_image(client, body, worker, server_url) -> None:
    """Also once an image is deleted; seeds as large as these must come through whole."""
    job_id = client.post("/v1/jobs", json=body(seed=SEED_MAX, best_of=3, keep=2)).json()["id"]
    finish(worker, job_id)
    job = client.get(f"/v1/jobs/{job_id}").json()
    first = worker.ledger.read(job_id).image_id
    assert [(image["url"], image["seed"]) for image in job["result"]["images"]] == [
        (f"{server_url}/images/{first}.png", 1),
        (f"{server_url}/images/second.png", SEED_MAX),
    ]
    assert job["result"]["document"]["best_of"] == [
        {"seed": SEED_MAX, "score": 0.25, "image_id": "second"},
        {"seed": 0, "score": -0.5, "image_id": None},
        {"seed": 1, "score": 0.75, "image_id": first},
    ]
    assert [image["seed"] for image in client.get("/v1/images").json()["images"]] == [1, SEED_MAX]

    assert client.delete(f"/v1/jobs/{job_id}/images/{first}").status_code == 204
    result = client.get(f"/v1/jobs/{job_id}").json()["result"]
    assert [image["seed"] for image in result["images"]] == [SEED_MAX]
    assert [each["image_id"] for each in result["document"]["best_of"]] == ["second", None, None]


def test_an_old_dialect_shows_the_seed_of_the_image_that_it_shows(client, key, body, worker, server_url) -> None:
    job_id = client.post("/v1/jobs", json=body(seed=SEED_MAX, best_of=3, keep=2)).json()["id"]
    path = f"/v1/job/{job_id}"
    with httpx.Client(base_url=server_url, headers={"X-Prodia-Key": key}, timeout=20) as prodia:
        assert prodia.get(path).json()["params"]["seed"] == SEED_MAX
        finish(worker, job_id)
        assert prodia.get(path).json()["params"]["seed"] == 1
