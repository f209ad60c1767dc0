"""Every refusal and every strange answer becomes the error that the tree promises."""

import pickle

import httpx2
import photogram
import pytest
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from photogram import APIError, ConnectionFailed, Job, JobFailed, Problem, UnexpectedResponse

from .conftest import Either
from .wire_server import KEY, WireServer, problem, silent_answer

REFUSALS = [
    (401, "AuthenticationError"),
    (402, "APIError"),
    (403, "PermissionDenied"),
    (404, "NotFound"),
    (409, "Conflict"),
    (413, "APIError"),
    (422, "InvalidParams"),
    (500, "ServerError"),
    (501, "ServerError"),
]


@pytest.mark.parametrize(("status", "name"), REFUSALS)
async def test_a_refusal_has_its_class(client: Either, server: WireServer, status: int, name: str):
    server.answer_next(lambda: problem(status, "some_code", "some detail"))
    with pytest.raises(APIError) as caught:
        await client.submit("a cat")

    assert type(caught.value) is getattr(photogram, name)
    assert (caught.value.status, caught.value.code, caught.value.detail) == (status, "some_code", "some detail")
    assert str(caught.value) == f"some detail ({status} some_code)"
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "name", "parent"),
    [
        (503, "language_unavailable", "LanguageUnavailable", "ServiceUnavailable"),
        (422, "no_proposal", "NoProposal", "APIError"),
    ],
)
async def test_a_refusal_of_the_language_model_has_its_class_and_is_not_tried_again(
    client: Either, server: WireServer, status: int, code: str, name: str, parent: str
):
    server.answer_next(lambda: problem(status, code, "why it is so"))
    with pytest.raises(getattr(photogram, name), match="why it is so") as caught:
        await client.assist("a cat")

    assert type(caught.value).__mro__[1] is getattr(photogram, parent)
    assert len(server.requests) == 1


@pytest.mark.parametrize(("status", "name"), [(429, "TooManyRequests"), (503, "ServiceUnavailable")])
async def test_a_refusal_that_would_last_too_long_is_raised_at_once(
    client: Either, server: WireServer, status: int, name: str
):
    server.answer_next(lambda: problem(status, "busy", "come back later", {"Retry-After": "3600"}))
    with pytest.raises(getattr(photogram, name)) as caught:
        await client.samplers()

    assert caught.value.retry_after_s == 3600
    assert len(server.requests) == 1


async def test_invalid_params_name_each_field(client: Either, server: WireServer):
    with pytest.raises(photogram.InvalidParams, match=r"; params\.width: must be a multiple of 8") as caught:
        await client.generate("a cat", width=65)

    [found] = caught.value.problems
    assert (found.field, found.message) == ("params.width", "must be a multiple of 8")
    assert not server.calls("POST")


async def test_a_field_told_in_the_detail_is_not_told_again(client: Either, server: WireServer):
    errors = [{"field": "params.seed", "message": "too large"}]
    server.answer_next(lambda: problem(422, "invalid_params", "params.seed: too large", errors=errors))
    with pytest.raises(photogram.InvalidParams) as caught:
        await client.submit("a cat")
    assert str(caught.value) == "params.seed: too large (422 invalid_params)"


async def test_a_wrong_key(kind: str, server: WireServer):
    server.needs_key = True
    for key, error in ((KEY, None), ("another", photogram.AuthenticationError), (None, photogram.AuthenticationError)):
        client = Either(kind, api_key=key)
        if error is None:
            await client.samplers()
        else:
            with pytest.raises(error):
                await client.samplers()
        await client.close()


async def test_an_error_page_keeps_its_status(client: Either, server: WireServer):
    server.answer_next(lambda: HTMLResponse("<html>the stack trace</html>", 500))
    with pytest.raises(photogram.ServerError) as caught:
        await client.jobs.get("some-job")

    assert str(caught.value) == "Internal Server Error (500 http_500)"


async def test_a_foreign_error_document(client: Either, server: WireServer):
    server.answer_next(lambda: JSONResponse({"detail": [{"loc": []}], "errors": ["?"]}, 422))
    with pytest.raises(photogram.InvalidParams) as caught:
        await client.jobs.get("some-job")

    assert caught.value.problems == () and caught.value.code == "http_422"


STRANGE = {
    "garbage": lambda: Response('{"id": "x', media_type="application/json"),
    "latin-1": lambda: Response(b'{"id": "\xe9"}', media_type="application/json"),
    "a list": lambda: JSONResponse([1, 2]),
    "null": lambda: JSONResponse(None),
    "no id": lambda: JSONResponse({"status": "queued"}),
    "bad time": lambda: JSONResponse({"id": "x", "kind": "txt2img", "status": "queued", "created_at": "noon"}),
    "bad progress": lambda: JSONResponse({"id": "x", "kind": "txt2img", "status": "queued", "progress": 7}),
    "html": lambda: HTMLResponse("<html>Welcome to nginx</html>"),
    "redirect": lambda: RedirectResponse("https://elsewhere.test/", 308),
}


@pytest.mark.parametrize("strange", STRANGE.values(), ids=STRANGE.keys())
async def test_a_strange_answer_is_unexpected(client: Either, server: WireServer, strange):
    server.answer_next(strange)
    with pytest.raises(UnexpectedResponse, match=server.url):
        await client.jobs.get("some-job")


async def test_an_image_that_is_none(client: Either, server: WireServer):
    job = await client.jobs.wait(await client.submit("a cat"))
    server.images_answer = lambda: HTMLResponse("<html>please log in</html>")
    with pytest.raises(UnexpectedResponse, match="not with an image"):
        await client.download(job)


async def test_an_image_without_a_readable_address(client: Either, server: WireServer):
    server.image_url = "http://host:port/x.png"
    with pytest.raises(UnexpectedResponse, match="invalid image URL"):
        await client.generate("a cat")


async def test_nobody_listens(kind: str):
    client = Either(kind, base_url="http://127.0.0.1:9", max_retries=0)
    with pytest.raises(ConnectionFailed, match=r"no answer from http://127\.0\.0\.1:9/v1/samplers: .*") as caught:
        await client.samplers()
    assert isinstance(caught.value.__cause__, httpx2.ConnectError)
    with pytest.raises(ConnectionFailed):
        await client.generate("a cat")
    await client.close()


async def test_a_server_that_says_nothing(kind: str, server: WireServer):
    server.answer_next(silent_answer)
    client = Either(kind, max_retries=0, timeout_s=0.1)
    with pytest.raises(ConnectionFailed, match="/v1/samplers: timed out") as caught:
        await client.samplers()
    assert isinstance(caught.value.__cause__, httpx2.ReadTimeout)
    await client.close()


def test_errors_survive_pickling():
    job = Job("x", "txt2img", "failed")
    for error in (ConnectionFailed("url", "why"), JobFailed(job), photogram.NotFound(Problem(404, "c", "d"))):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error)
