"""Every recorded answer means the same whole, cut in two at any place, and one character at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from models.language.client import Completion, Delta, RawToolCall, ToolCallDelta
from models.language.tools import DIALECTS
from models.language.tools.reader import ANSWER_MAX_CHARS
from tests.models.language.tools.recordings import TOOLS, Recording, plain, read_all, recordings

ALL = recordings()
DEEP = "[" * 5000 + "]" * 5000


def fits(found: Sequence[Sequence[Any]], expected: Sequence[Sequence[Any]]) -> bool:
    """Whether they are the same; of what is bad, the file tells a part of the reason."""
    return len(found) == len(expected) and all(
        one[1] in other[1] if one[0] == "bad" == other[0] else list(one) == list(other)
        for one, other in zip(expected, found, strict=True)
    )


def pieces_of(delta: Delta) -> Iterator[Delta]:
    """The same, one character at a time."""
    yield from (Delta(text=character) for character in delta.text)
    for call in delta.tool_calls:
        yield Delta(tool_calls=(replace(call, arguments=""),))
        yield from (
            Delta(tool_calls=(ToolCallDelta(index=call.index, arguments=character),)) for character in call.arguments
        )


def read(recording: Recording, deltas: Sequence[Delta]) -> list[list[Any]]:
    return read_all(DIALECTS[recording.dialect].reader(TOOLS, "call-1"), deltas)


def call_in(dialect: str, arguments: str) -> str:
    """An answer that calls a tool with these arguments, written as the dialect writes them."""
    if dialect == "chatglm3":
        return f"create_image\n ```python\ntool_call({arguments})\n```"
    if dialect == "hermes":
        return f'<tool_call>\n{{"name": "create_image", "arguments": {arguments}}}\n</tool_call>'
    return f'{{"tool": "create_image", "arguments": {arguments}}}'


def whole(dialect: str, text: str) -> list[list[Any]]:
    return plain(DIALECTS[dialect].read(Completion(text=text), TOOLS, "call-1"))


def test_every_dialect_is_recorded():
    assert {recording.dialect for recording in ALL} == set(DIALECTS)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_the_whole_answer(recording: Recording):
    found = read(recording, recording.deltas)
    assert fits(found, recording.expect), found


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_one_character_at_a_time(recording: Recording):
    found = read(recording, [piece for delta in recording.deltas for piece in pieces_of(delta)])
    assert found == read(recording, recording.deltas)


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_cut_in_two_at_every_place(recording: Recording):
    expected = read(recording, recording.deltas)
    for at, delta in enumerate(recording.deltas):
        before, after = recording.deltas[:at], recording.deltas[at + 1 :]
        for place in range(len(delta.text) + 1):
            halves = (replace(delta, text=delta.text[:place], tool_calls=()), replace(delta, text=delta.text[place:]))
            assert read(recording, [*before, *halves, *after]) == expected, place


@pytest.mark.parametrize("recording", ALL, ids=lambda recording: recording.name)
def test_nothing_of_a_call_is_shown_before_it_is_certain(recording: Recording):
    reader = DIALECTS[recording.dialect].reader(TOOLS, "call-1")
    shown = ""
    for piece in (piece for delta in recording.deltas for piece in pieces_of(delta)):
        shown += "".join(entry[1] for entry in plain(reader.feed(piece)) if entry[0] == "text")
    texts = "".join(entry[1] for entry in recording.expect if entry[0] == "text")
    assert texts.startswith(shown)


FRAGMENTS = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "```", "```json\n", "\n```", "`", "{", "}", "[", "]",
    '"', "\\", '{"name": "x", "arguments": {}}',
    '{"tool": "x", "arguments": {}}', "tool_call(a=1)", "tool_call(", ")",
    "create_image", "create_image\n", "<|assistant|>", "<|user|>", "<", "|", "\n", " ", "word",
)  # fmt: skip


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nonsense_means_the_same_however_it_is_cut(dialect: str):
    dice = random.Random(1)
    for _ in range(800):
        text = "".join(dice.choices(FRAGMENTS, k=dice.randint(1, 12)))
        place = dice.randint(0, len(text))
        cuts = ([text], [text[:place], text[place:]], list(text))
        found = [read_all(DIALECTS[dialect].reader(TOOLS, "c"), [Delta(text=piece) for piece in cut]) for cut in cuts]
        assert found[0] == found[1] == found[2], text


def test_a_whole_completion_of_a_server_that_reads_calls_itself():
    calls = (RawToolCall(id="a", name="list_models", arguments=""), RawToolCall(id="b" * 99, name="x", arguments="{}"))
    found = DIALECTS["native"].read(Completion(text="Well.", tool_calls=calls), TOOLS, "call-7")
    assert plain(found) == [["text", "Well."], ["call", "list_models", {}], ["call", "x", {}]]
    assert [event.id for event in found[1:]] == ["a", "call-7-2"]


def test_calls_without_ids_are_numbered():
    found = DIALECTS["constrained"].read(Completion(text=call_in("constrained", "{}") * 2), TOOLS, "call-3")
    assert [event.id for event in found] == ["call-3-1", "call-3-2"]


def test_a_call_is_certain_as_soon_as_it_is_whole():
    reader = DIALECTS["constrained"].reader(TOOLS, "call-1")
    text = call_in("constrained", '{"prompt": "cat"}')
    assert reader.feed(Delta(text=text[:-1])) == []
    assert plain(reader.feed(Delta(text=text[-1]))) == [["call", "create_image", {"prompt": "cat"}]]


HOSTILE_PYTHON = {
    "an import": "prompt=__import__('os').system('true')",
    "a call": "prompt=str(1)",
    "an f-string": "prompt=f'{1+1}'",
    "a lambda": "prompt=lambda: 1",
    "a name": "prompt=true",
    "an attribute": "prompt=a.b",
    "a sum": "prompt='a' + 'b'",
    "a long sum": "prompt=" + "+".join("1" for _ in range(3000)),
    "a comprehension": "prompt=[x for x in 'ab']",
    "a set": "prompt={'a'}",
    "bytes": "prompt=b'a'",
    "a complex number": "prompt=1j",
    "an ellipsis": "prompt=...",
    "a walrus": "prompt=(a := 1)",
    "keywords unpacked": "**{'prompt': 'a'}",
    "a dict unpacked": "prompt={**{}}",
    "a key that is no text": "prompt={1: 2}",
    "a name given twice": "prompt='a', prompt='b'",
    "a key given twice": "prompt={'a': 1, 'a': 2}",
    "another minus": "prompt=--1",
    "minus a text": "prompt=-'a'",
    "many minuses": "prompt=" + "-" * 10_000 + "1",
    "nine lists": "prompt=" + "[" * 9 + "]" * 9,
    "deep nesting": f"prompt={DEEP}",
    "a null byte": "prompt='a\0b'",
    "an escaped null byte": r"prompt='a\0b'",
    "half a pair": r"prompt='\ud800'",
    "an infinite number": "prompt=1e999",
    "a huge number": "prompt=1" + "0" * 30,
    "more digits than Python reads": "prompt=1" + "0" * 9000,
    "a second statement": "prompt='a'); print('b'",
    "too many values": "prompt=[" + "1," * 1500 + "]",
}
HOSTILE_JSON = {
    "NaN": '{"a": NaN}',
    "Infinity": '{"a": -Infinity}',
    "an infinite number": '{"a": 1e999}',
    "a huge number": '{"a": 1' + "0" * 30 + "}",
    "more digits than Python reads": '{"a": 1' + "0" * 9000 + "}",
    "half a pair": r'{"a": "\ud800"}',
    "half a pair as a key": r'{"\udc00": 1}',
    "a null byte": '{"a": "\0"}',
    "an escaped null byte": r'{"a": "\u0000"}',
    "a key given twice": '{"a": 1, "a": 2}',
    "deep nesting": f'{{"a": {DEEP}}}',
    "nine lists": '{"a": ' + "[" * 9 + "]" * 9 + "}",
    "too many values": '{"a": [' + "1," * 1500 + "1]}",
    "a list": "[1]",
    "a text": '"a"',
    "null": "null",
    "a comment": '{"a": 1 /* b */}',
}


@pytest.mark.parametrize("arguments", HOSTILE_PYTHON.values(), ids=HOSTILE_PYTHON)
def test_hostile_python_is_a_bad_call(arguments: str):
    assert [entry[0] for entry in whole("chatglm3", call_in("chatglm3", arguments))] == ["bad"]


@pytest.mark.parametrize("dialect", ["hermes", "constrained"])
@pytest.mark.parametrize("arguments", HOSTILE_JSON.values(), ids=HOSTILE_JSON)
def test_hostile_json_is_a_bad_call(dialect: str, arguments: str):
    assert [entry[0] for entry in whole(dialect, call_in(dialect, arguments))] == ["bad"]


def test_odd_escapes_are_read_as_python_reads_them():
    assert whole("chatglm3", call_in("chatglm3", r"prompt='\d'")) == [["call", "create_image", {"prompt": r"\d"}]]


FLOODS = {
    "words": "word " * 20_000,
    "an endless call": call_in("constrained", '{"prompt": "' + "a" * 100_000),
    "an endless tag": '<tool_call>{"a": "' + "b" * 100_000,
    "an endless Python call": "create_image\n```python\ntool_call(prompt='" + "a" * 100_000,
    "braces": "{" * 100_000,
    "backticks": "`" * 100_000,
    "angles": "<" * 100_000,
    "fences": "```\n" * 25_000,
    "line ends": "\n" * 100_000,
    "tags": "<tool_call>" * 10_000,
    "roles": "<|assistant|>" * 8_000,
    "backslashes": '{"' + "\\" * 100_000,
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
def test_a_flood_ends_as_a_bad_call(dialect: str, flood: str):
    found = whole(dialect, flood)
    assert found[-1][0] == "bad" and "longer than" in found[-1][1]
    assert sum(len(entry[1]) for entry in found if entry[0] == "text") <= ANSWER_MAX_CHARS
    reader = DIALECTS[dialect].reader(TOOLS, "call-1")
    assert read_all(reader, [Delta(text=flood[at : at + 7]) for at in range(0, len(flood), 7)]) == found


def test_a_flood_of_arguments_ends_as_a_bad_call():
    pieces = [Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="x", arguments="1" * 1000),)) for _ in range(100)]
    (found,) = read_all(DIALECTS["native"].reader(TOOLS, "call-1"), pieces)
    assert found[0] == "bad" and "longer than" in found[1]


def test_a_flood_of_calls_is_cut():
    pieces = [Delta(tool_calls=(ToolCallDelta(index=n, id=str(n), name="x", arguments="{}"),)) for n in range(1000)]
    assert len(read_all(DIALECTS["native"].reader(TOOLS, "call-1"), pieces)) == 8
