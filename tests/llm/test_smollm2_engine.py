"""The built-in model, served by the real vLLM as ``photogram up`` serves it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import aclosing
from itertools import takewhile
from pathlib import Path

import psutil
import pytest

from models.language.client import LanguageEngine
from models.language.presets import SMOLLM2
from models.language.profiles import PROFILES, Template
from models.language.profiles.subjects import SUBJECT
from service.llm.command import own_engine_command
from service.llm.install import model_folder
from service.supervisor import stop_in_order
from tests.llm.engines import LLM_FOLDER, STOP_S, Engine, running, shared_memory

pytestmark = pytest.mark.llm
EXAMPLES = [
    {"role": "system", "content": "You extend short ideas for pictures by setting, light and colours."},
    {"role": "user", "content": "old harbour"},
    {
        "role": "assistant",
        "content": "old harbour at dawn, fishing boats on still water, pastel sky, low sun, oil painting",
    },
    {"role": "user", "content": "pancakes"},
    {"role": "assistant", "content": "pancakes stacked on a white plate, melting butter, window light, warm colours"},
]
CONTINUED = {"add_generation_prompt": False, "continue_final_message": True}
COLOURS = ["red", "green", "blue"]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": COLOURS}, "count": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(engine_interpreter: Path) -> Iterator[Engine]:
    model = model_folder(LLM_FOLDER)
    with running(lambda port: own_engine_command(engine_interpreter, SMOLLM2, model, port)) as engine:
        yield engine


def beginning(idea: str) -> list[dict[str, str]]:
    """The talk in which the model has said ``idea`` already, and goes on from there."""
    return [*EXAMPLES, {"role": "user", "content": idea}, {"role": "assistant", "content": idea}]


async def ask(client: LanguageEngine, idea: str, **more: object) -> str:
    body = {"messages": beginning(idea), "max_tokens": 32, "stop": ["\n"], **CONTINUED, **SMOLLM2.sampling, **more}
    return (await client.chat(body, timeout_s=60)).text


async def test_it_is_there_for_us_alone(engine: Engine, client: LanguageEngine) -> None:
    assert await client.model() == SMOLLM2.name
    assert engine.get("/v1/models", key="another").status_code == 401
    hosts = {connection.laddr.ip for connection in listening(engine)}
    assert hosts == {"127.0.0.1"}


def listening(engine: Engine) -> list[object]:
    port = int(engine.url.rpartition(":")[2])
    return [
        connection
        for process in family()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
    ]


def family() -> list[psutil.Process]:
    guards = [child for child in psutil.Process().children() if "service.llm.guard" in child.cmdline()]
    return [process for guard in guards for process in (guard, *guard.children(recursive=True))]


async def test_it_goes_on_from_the_users_own_words(client: LanguageEngine) -> None:
    text = await ask(client, "a lighthouse in a storm")
    assert len(text.split()) >= 4 and text.startswith((",", " ", "."))
    assert text.isprintable()


async def test_the_same_beginning_is_not_read_twice(engine: Engine, client: LanguageEngine) -> None:
    await ask(client, "a castle", max_tokens=1)
    before = engine.metric("vllm:prefix_cache_hits_total")
    await ask(client, "a robot", max_tokens=1)
    assert engine.metric("vllm:prefix_cache_hits_total") - before >= 64  # tokens; the examples are more


@pytest.mark.parametrize("template", [SUBJECT, *(profile.guided or profile.free for profile in PROFILES.values())])
def test_the_instructions_end_where_a_page_ends(engine: Engine, template: Template) -> None:
    """Or else up to a page of them is read again with every prompt, which costs more than the prompt."""
    page = int(SMOLLM2.flags[SMOLLM2.flags.index("--block-size") + 1])
    user_text = ("a cat", "two dogs")
    asked = [{"model": SMOLLM2.name, "messages": template.messages(each), **CONTINUED} for each in user_text]
    tokens = [engine.post("/tokenize", body).json()["tokens"] for body in asked]
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip(*tokens, strict=False))))
    assert shared > 100 and shared % page < 4


async def test_a_choice_is_kept_to(client: LanguageEngine) -> None:
    choices = [f" on a {colour} background" for colour in COLOURS]
    assert await ask(client, "a rocket", structured_outputs={"choice": choices}) in choices


async def test_a_pattern_is_kept_to(client: LanguageEngine) -> None:
    pattern = r"(, [a-z]{3,12} [a-z]{3,12}){2}\."
    text = await ask(client, "a rocket", structured_outputs={"regex": pattern})
    assert re.fullmatch(pattern, text)


async def test_a_schema_is_kept_to(client: LanguageEngine) -> None:
    talk = [{"role": "user", "content": "How many apples, and of what colour?"}]
    body = {"messages": talk, "max_tokens": 64, "structured_outputs": {"json": SCHEMA}, "temperature": 0.0}
    answer = json.loads((await client.chat(body, timeout_s=60)).text)
    assert answer["colour"] in COLOURS and 1 <= answer["count"] <= 9 and len(answer) == 2


async def test_an_answer_comes_in_pieces(client: LanguageEngine) -> None:
    body = {"messages": beginning("a teapot"), "max_tokens": 16, **CONTINUED, **SMOLLM2.sampling}
    async with aclosing(client.stream(body, timeout_s=60)) as stream:
        deltas = [delta async for delta in stream]
    assert sum(bool(delta.text) for delta in deltas) >= 4
    assert deltas[-1].finish_reason in ("length", "stop")


def test_stopping_it_leaves_nothing(engine: Engine) -> None:
    everyone = family()
    assert len(everyone) >= 4
    assert not shared_memory(everyone), "a worker within its engine has none, so none can be left"
    stop_in_order([[engine.child]], [STOP_S])
    assert psutil.wait_procs(everyone, timeout=5)[1] == []
