"""Prompts rewritten and jobs proposed by the server's language model, as both clients give them."""

import base64

import pytest
from fastapi.responses import HTMLResponse, JSONResponse, Response
from photogram import (
    ConnectionFailed,
    Job,
    Proposal,
    Rewrite,
    Rewritten,
    RewrittenPrompt,
    StatusChanged,
    TokenCount,
    ToolCall,
    UnexpectedResponse,
)

from .conftest import Either
from .wire_server import LATE, PNG, WireServer, problem

APPLIED = Rewrite("applied", "a cat, sleeping", engine="tiny", template="tags-1", elapsed_s=0.5)
RESULT = RewrittenPrompt("a cat", "a cat, sleeping", None, "tags", APPLIED, TokenCount(6, 75, "tokenizer"))


async def test_a_job_tells_both_prompts(client: Either, server: WireServer):
    seen = []
    image = await client.generate("a cat", enhance_prompt=True, enhance_negative_prompt=False, on_event=seen.append)

    [record] = server.records.values()
    assert record.body["params"] == {"prompt": "a cat", "enhance_prompt": True, "enhance_negative_prompt": False}
    assert image.job.params["prompt"] == "a cat" and image.job.revised_prompt == "a cat, sleeping"
    assert image.job.rewrite == APPLIED and image.job.rewrite.is_applied
    assert [event for event in seen if isinstance(event, Rewritten)] == [Rewritten(APPLIED)]
    assert [event.job.rewrite for event in seen if isinstance(event, StatusChanged)] == [None, None, APPLIED]


async def test_a_job_tells_why_its_prompt_stayed(client: Either, server: WireServer):
    server.rewrite = LATE
    job = (await client.generate("a cat", enhance_prompt=True)).job

    assert job.revised_prompt is None and not job.rewrite.is_applied
    assert (job.rewrite.status, job.rewrite.reason) == ("timeout", "no answer in 2.5 s")
    plain = (await client.generate("a cat")).job
    assert plain.revised_prompt is None and plain.rewrite is None


async def test_rewrite(client: Either, server: WireServer):
    assert await client.rewrite("a cat") == RESULT
    server.rewrite = LATE
    late = await client.rewrite("a cat", model="sdxl", profile=None, seed=0, negative_prompt=True)

    assert late.revised_prompt == "a cat" and late.rewrite.status == "timeout"
    assert server.asked == [
        {"prompt": "a cat"},
        {"prompt": "a cat", "model": "sdxl", "seed": 0, "negative_prompt": True},
    ]


async def test_a_rewrite_in_pieces(client: Either, server: WireServer):
    assert await client.pieces("a cat", seed=3) == ["a cat, ", "\u2028sleeping", RESULT]
    assert server.asked == [{"prompt": "a cat", "seed": 3, "stream": True}]


async def test_pieces_that_break_off_do_not_begin_anew(client: Either, server: WireServer):
    server.misbehave("drops_the_pieces")
    with pytest.raises(ConnectionFailed, match="/v1/prompts/rewrite"):
        await client.pieces("a cat")
    assert len(server.requests) == 1


async def test_pieces_that_have_not_begun_are_asked_for_again(client: Either, server: WireServer):
    server.answer_next(*[lambda: problem(503, "busy", "later", {"Retry-After": "0"})] * 2)
    assert (await client.pieces("a cat"))[-1] == RESULT
    assert len(server.requests) == 3


async def test_pieces_without_a_result_are_given_up(kind: str, server: WireServer):
    client = Either(kind, max_retries=1)
    server.answer_next(*[lambda: Response(": hello\n\n", media_type="text/event-stream")] * 9)
    with pytest.raises(ConnectionFailed, match="ended before the prompt was rewritten"):
        await client.pieces("a cat")
    assert len(server.requests) == 2
    await client.close()


STRANGE_EVENTS = ["event: delta\ndata: {", "event: delta\ndata: []", 'event: rewrite\ndata: {"prompt": "a cat"}']


@pytest.mark.parametrize("event", STRANGE_EVENTS)
async def test_garbage_among_the_pieces(client: Either, server: WireServer, event: str):
    server.answer_next(lambda: Response(f"{event}\n\n", media_type="text/event-stream"))
    with pytest.raises(UnexpectedResponse, match="cannot be read"):
        await client.pieces("a cat")


async def test_what_is_no_stream_of_pieces(client: Either, server: WireServer):
    server.answer_next(lambda: HTMLResponse("<html>Welcome</html>"))
    with pytest.raises(UnexpectedResponse, match="instead of text/event-stream"):
        await client.pieces("a cat")


async def test_a_proposal_can_be_drawn_and_changed(client: Either, server: WireServer):
    proposal = await client.assist("draw me a cat")
    assert (proposal.kind, proposal.message) == ("txt2img", "Here is a cat.")
    assert proposal.calls == (
        ToolCall("find_models", {"about": "cats"}, "answered"),
        ToolCall("create_image", {"prompt": "a cat"}, "proposed"),
    )
    assert (await client.generate(proposal)).data == PNG
    await client.submit(proposal, seed=None, width=128)

    assert server.asked == [{"message": "draw me a cat"}]
    drawn, changed = (record.body for record in server.records.values())
    assert drawn == {"kind": "txt2img", "params": {"prompt": "a cat", "aspect_ratio": "3:2", "seed": 5}}
    assert changed == {"kind": "txt2img", "params": {"prompt": "a cat", "aspect_ratio": "3:2", "width": 128}}


async def test_a_proposal_to_enlarge_is_drawn_as_its_kind(client: Either, server: WireServer):
    assert (await client.generate(Proposal("upscale", {"image": "image:1", "scale": 2}))).data == PNG
    [record] = server.records.values()
    assert record.body == {"kind": "upscale", "params": {"image": "image:1", "scale": 2}}


async def test_a_request_to_change_something(client: Either, server: WireServer, tmp_path):
    file = tmp_path / "cat.png"
    file.write_bytes(PNG)
    sent = base64.b64encode(PNG).decode()
    params = {"prompt": "a cat", "seed": None}
    await client.assist("wider", job=Job("x", "txt2img", "succeeded", params), images=[file, PNG, "image:1"])
    await client.assist("wider", job=Proposal("txt2img", params), images="https://example.org/cat.png")
    await client.assist("larger", job={"kind": "upscale", "params": {"image": file}})

    job = {"kind": "txt2img", "params": {"prompt": "a cat"}}
    assert server.asked == [
        {"message": "wider", "job": job, "images": [sent, sent, "image:1"]},
        {"message": "wider", "job": job, "images": ["https://example.org/cat.png"]},
        {"message": "larger", "job": {"kind": "upscale", "params": {"image": sent}}},
    ]


async def test_an_image_that_is_not_there_is_the_callers_error(client: Either, server: WireServer, tmp_path):
    with pytest.raises(FileNotFoundError):
        await client.assist("wider", images=tmp_path / "none.png")
    assert server.requests == []


@pytest.mark.parametrize("answer", [{}, {"job": None}, {"job": {"kind": "txt2img"}}, {"prompt": "a", "tokens": 3}, []])
async def test_strange_answers_are_unexpected(client: Either, server: WireServer, answer: object):
    server.answer_next(*[lambda: JSONResponse(answer)] * 2)
    with pytest.raises(UnexpectedResponse, match="/v1/assist"):
        await client.assist("a cat")
    with pytest.raises(UnexpectedResponse, match="/v1/prompts/rewrite"):
        await client.rewrite("a cat")
