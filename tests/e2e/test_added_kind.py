"""A job kind that only this module registers goes through the whole service: gateway, Redis, a worker process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import httpx
import pytest
from photogram import Photogram

from models.catalog.catalog import Catalog
from models.jobs.checks import Problems, value_or
from models.jobs.kinds import JobKind, ResultForm, register
from models.jobs.parameters import Parameter
from models.jobs.params import JobParams, JobRequest
from models.jobs.results import FileOutput, JobOutput
from tests.e2e.conftest import KEY, Stack
from workers.functions import FunctionCall

NAME = "count_letters"


@dataclass(frozen=True, kw_only=True)
class CountRequest(JobRequest):
    """A request to count the letters of a text."""

    kind: str = NAME
    text: Annotated[str, Parameter(text="The text.")]
    times: Annotated[int | None, Parameter(text="How often it is counted.", low=1, high=3, if_left_out="once")] = None


@dataclass(frozen=True, kw_only=True)
class CountParams(JobParams):
    """The effective parameters of a count."""

    declaration: ClassVar[type[JobRequest]] = CountRequest
    text: str
    times: int


def complete(request: CountRequest, catalog: Catalog, problems: Problems) -> CountParams:
    return CountParams(text=request.text, times=value_or(request.times, 1))


def count(call: FunctionCall) -> JobOutput:
    assert isinstance(call.params, CountParams)
    call.report(1, 2)
    letters = sum(letter.isalpha() for letter in call.params.text) * call.params.times
    return JobOutput(document={"letters": letters}, files=(FileOutput("text.txt", "text/plain", b"counted"),))


register(
    JobKind(
        name=NAME,
        summary="Count the letters of a text.",
        request=CountRequest,
        params=CountParams,
        complete=complete,
        function=f"{__name__}:count",
        queue="letters",
        result=ResultForm.DOCUMENT,
        example={"text": "a red apple"},
    )
)


@pytest.fixture
def service(stacks: list[Stack], tmp_path: Path) -> Iterator[httpx.Client]:
    stack = Stack(tmp_path, "--workers", "1", PHOTOGRAM_JOB_KINDS=__name__, PHOTOGRAM_LLM="off")
    stacks.append(stack)
    assert stack.ready, stack.errors
    with httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=70) as client:
        yield client


def post(service: httpx.Client, **params: object) -> httpx.Response:
    return service.post("/v1/jobs", json={"kind": NAME, "params": params})


def test_an_added_kind_goes_through_the_whole_service(service: httpx.Client) -> None:
    answer = post(service, text="a red apple", times=2)
    assert answer.status_code == 202, answer.text
    job = service.get(f"/v1/jobs/{answer.json()['id']}", params={"wait": 60}).json()
    assert (job["kind"], job["status"]) == (NAME, "succeeded"), job
    assert job["params"] == {"text": "a red apple", "times": 2}
    assert job["result"]["document"] == {"letters": 18} and job["result"]["images"] == []
    (file,) = job["result"]["files"]
    assert (file["name"], file["media_type"], file["size_bytes"]) == ("text.txt", "text/plain", 7)
    download = service.get(file["url"])
    assert download.content == b"counted" and "attachment" in download.headers["Content-Disposition"]
    assert httpx.get(file["url"]).status_code == 401

    assert post(service, **job["params"]).status_code == 202  # effective parameters can be posted again
    (wrong,) = post(service, text="a", times=4).json()["errors"]
    assert (wrong["field"], wrong["code"], wrong["low"], wrong["high"]) == ("params.times", "out_of_range", 1, 3)
    assert post(service, text=3).json()["errors"][0]["field"] == "params.text"

    for path in ("/v1/job", "/v2/job"):  # Prodia's clients expect an image
        assert service.get(f"{path}/{job['id']}").status_code == 404
    with Photogram(str(service.base_url), KEY) as client:
        result = client.jobs.get(job["id"]).result
        assert result is not None and (result.document, result.files[0].name) == ({"letters": 18}, "text.txt")

    schemas = service.get("/openapi.json").json()["components"]["schemas"]
    times = schemas["CountLettersBody"]["properties"]["times"]["anyOf"][0]
    assert (times["minimum"], times["maximum"]) == (1, 3)
    assert NAME in schemas["JobBody"]["discriminator"]["mapping"] and "CountParams" in schemas
    kinds = [each["kind"] for each in service.get("/v1/capabilities").json()["kinds"]]
    assert NAME in kinds
    assert [each["kind"] for each in service.get("/v1/jobs").json()["jobs"]] == [NAME, NAME]
