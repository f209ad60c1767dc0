"""Paths with superfluous slashes, HEAD where GET is, and the methods in Allow."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.api.app import create_app
from service.api.paths import PlainPaths
from service.backbone.settings import Settings

ROUTES = {
    "/v1/jobs": {"kind": "txt2img", "params": {"prompt": "x"}},
    "/v1/sd/generate": {"prompt": "x"},
    "/v1": {"prompt": "x"},
    "/v2/job/async": {"type": "no.such.type"},
    "/v1/images/generations": {},
    "/sdapi/v1/png-info": {"image": ""},
    "/sdapi/v1/refresh-loras": {},
    "/controlnet/detect": {},
}


@pytest.mark.parametrize("path", ROUTES)
def test_superfluous_slashes_change_no_answer(client, server_url, path):
    plain = client.post(path, json=ROUTES[path])
    assert plain.status_code != 404
    for spelled in (path + "/", path + "//", "/" + path, path.replace("/", "//"), path.replace("/", "///") + "/"):
        # The URL is given whole: a client would take a path with two slashes for a host.
        answer = client.post(server_url + spelled, json=ROUTES[path])
        assert (answer.status_code, answer.headers["content-type"]) == (
            plain.status_code, plain.headers["content-type"]
        ), spelled  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=st.lists(st.sampled_from(["v1", "sdapi", "jobs", "a.b", "%2e", "x y"])), slashes=st.data())
def test_a_path_keeps_its_parts(parts, slashes):
    some = st.text("/", min_size=1, max_size=3)
    path = "".join(slashes.draw(some) + part for part in parts) + slashes.draw(some)
    scope = {"type": "http", "path": path}
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["path"])

    with pytest.raises(StopIteration):
        PlainPaths(app)(scope, None, None).send(None)
    assert seen == ["/" + "/".join(parts)]


def routes_with_get(settings):
    document = create_app(settings).openapi()
    return sorted(path for path, item in document["paths"].items() if "get" in item)


def test_head_answers_with_the_headers_of_get(client, new_job, worker):
    job_id = new_job()
    worker.draw(job_id)
    for template in routes_with_get(Settings(redis_url="redis://localhost")):
        path = template.replace("{job_id}", job_id).replace("{image_id}", job_id).replace("{filename}", "x")
        path = path.replace("{index}", "0").replace("{model_id}", "house").replace("{name}", "x")
        got, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        assert head.headers.get("content-type") == got.headers.get("content-type"), path
    assert client.get("/healthz").status_code == 200, "the connection is still in step"


def test_head_on_an_endless_stream_ends_at_once(client, new_job):
    head = client.head(f"/v1/jobs/{new_job()}/events", timeout=5)
    assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "DELETE, GET, HEAD, POST"),
        ("POST", "/v1/jobs/x", "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/sdapi/v1/options", "GET, HEAD, POST"),
        ("GET", "/v2/job", "POST"),
        ("HEAD", "/v2/job", "POST"),
        ("PATCH", "/", "GET, HEAD"),
        ("GET", "/sdapi/v1/txt2img", "POST"),
    ],
)
def test_allow_has_all_methods_of_the_path(client, method, path, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_root_says_what_runs_here(anonymous: httpx.Client, server_url: str):
    answer = anonymous.get("/")
    assert answer.json() == {
        "name": "Photogram",
        "documentation": f"{server_url}/docs",
        "openapi": f"{server_url}/openapi.json",
        "health": f"{server_url}/readyz",
    }
