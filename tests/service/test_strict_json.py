"""The scan counts what parsing would make, wherever the pieces of a document end, and stops before it is made."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.strict_json import (
    LONG_STRING_BYTES,
    JsonGauge,
    JsonLimits,
    JsonTooLong,
    NotStrictJson,
    check_limits,
    parse,
)

LIMITS = JsonLimits(nodes=100, depth=5, short_bytes=2000)
UNLIMITED = JsonLimits(nodes=10**9, depth=10**9, short_bytes=10**9)

texts = st.text(st.sampled_from('"\\[]{},: \n\tab\u00e9\u2603\0/')) | st.text()
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(texts, inner, max_size=8),
    max_leaves=40,
)
layouts = st.sampled_from([None, (",", ":"), (" ,\n ", "\t: ")])


def nodes_of(value: Any) -> int:
    """The reference: counted on the parsed document."""
    if isinstance(value, dict):
        return 1 + sum(1 + nodes_of(each) for each in value.values())
    return 1 + sum(map(nodes_of, value)) if isinstance(value, list) else 1


def depth_of(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth_of, inner), default=0)


def pieces_of(body: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(body) + 1) for cut in cuts} | {0, len(body)})
    return [body[start:end] for start, end in pairwise(places)]


@given(document=documents, layout=layouts, is_ascii=st.booleans(), cuts=st.lists(st.integers(0, 10**6)))
def test_the_count_is_exact_and_does_not_depend_on_pieces(document, layout, is_ascii, cuts):
    body = json.dumps(document, separators=layout, ensure_ascii=is_ascii).encode("utf-8", "surrogatepass")
    for pieces in ([body], pieces_of(body, cuts), [body[at : at + 1] for at in range(len(body))]):
        gauge = JsonGauge(UNLIMITED)
        for piece in pieces:
            gauge.feed(piece)
        assert gauge.nodes == nodes_of(document)
        assert gauge.short_bytes == len(body)


@given(document=documents, layout=layouts)
def test_a_document_is_refused_exactly_beyond_its_limits(document, layout):
    body, nodes, depth = json.dumps(document, separators=layout).encode(), nodes_of(document), depth_of(document)
    just = JsonLimits(nodes=nodes, depth=depth, short_bytes=len(body))
    assert parse(body, just) == document
    with pytest.raises(NotStrictJson, match="too many values"):
        parse(body, JsonLimits(nodes=nodes - 1, depth=depth, short_bytes=len(body)))
    with pytest.raises(JsonTooLong):
        parse(body, JsonLimits(nodes=nodes, depth=depth, short_bytes=len(body) - 1))
    if depth:
        with pytest.raises(NotStrictJson, match="nested too deeply"):
            parse(body, JsonLimits(nodes=nodes, depth=depth - 1, short_bytes=len(body)))


@given(body=st.binary(max_size=200) | st.text('[]{},:"\\ 1tn', max_size=200).map(str.encode))
def test_the_bound_never_lets_through_what_the_count_refuses(body):
    """Also for bytes that are no JSON: parsing stops where they cease to be."""
    try:
        value = parse(body, JsonLimits(nodes=20, depth=3, short_bytes=100))
    except (NotStrictJson, JsonTooLong):
        return
    assert nodes_of(value) <= 20 and depth_of(value) <= 3


@given(length=st.integers(LONG_STRING_BYTES - 3, LONG_STRING_BYTES + 3), cuts=st.lists(st.integers(0, 10**6)))
def test_long_strings_do_not_count_as_short_bytes(length, cuts):
    body = json.dumps({"image": "A" * length}).encode()
    gauge = JsonGauge(UNLIMITED)
    for piece in pieces_of(body, cuts):
        gauge.feed(piece)
    assert gauge.short_bytes == (len(body) if length < LONG_STRING_BYTES else len(body) - length - 2)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * 1000 + b"[]]",
        b"[" * 1000,
        b"[[[[[[1]]]]]]",
        b'{"a":' * 6 + b"1" + b"}" * 6,
        b"[" + b"1," * 200 + b"1]",
        b"[" + b'"",' * 200 + b'""]',
        b'{"params":{' + b",".join(b'"f%d":1' % number for number in range(200)) + b"}}",
        b" " * 3000 + b"1",
        b"1" * 3000,
        b'"a"' * 300,
        b'["' + b'\\"' * 500 + b'",' + b"[],"*100 + b"1]",
        b"]" * 10_000,
    ],
)  # fmt: skip
def test_refused_while_the_first_bytes_are_scanned(body):
    with pytest.raises((NotStrictJson, JsonTooLong)):
        parse(body, LIMITS)
    gauge = JsonGauge(LIMITS)
    with pytest.raises((NotStrictJson, JsonTooLong)):
        for at in range(0, len(body), 7):
            gauge.feed(body[at : at + 7])
    assert gauge.nodes <= LIMITS.nodes + 1


@pytest.mark.parametrize("end", ["", '"', '\\"', "\\\\", '\\\\"', "\\"])
def test_escapes_at_the_end_of_a_piece(end):
    text = "x" * 5 + end
    body = json.dumps({"a": text, "b": [text, 1]}).encode()
    for cut in range(len(body)):
        gauge = JsonGauge(LIMITS)
        gauge.feed(body[:cut])
        gauge.feed(body[cut:])
        assert gauge.nodes == 7


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a":1,"a":2}', "the same name twice"),
        (b"[NaN]", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"\xff", "not UTF-8"),
        (b"", "Expecting value"),
        (b"9" * 1500 + b"x", "xtra data"),
    ],
)
def test_what_is_not_strictly_json_is_named(body, reason):
    with pytest.raises(NotStrictJson, match=reason):
        parse(body, LIMITS)


@pytest.mark.parametrize("escape", ["\\/", "\\u00e9", "\\\\", "\\n", '\\"'])
def test_a_string_of_nothing_but_escapes_is_refused(escape):
    limits = JsonLimits(backslashes=1000)
    body = b'["' + escape.encode() * 1001 + b'"]'
    with pytest.raises(NotStrictJson, match="too many escapes"):
        parse(body, limits)
    parse(b'["' + escape.encode() * 500 + b'"]', limits)


def test_an_image_in_base64_is_within_the_limits():
    check_limits(json.dumps({"image": "A" * 100_000, "mask": "B" * 100_000}).encode(), LIMITS)


def test_a_byte_order_mark_is_ignored():
    assert parse(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    with pytest.raises(NotStrictJson):
        parse(b"\xef\xbb\xbf\xef\xbb\xbf{}")


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_may_have_as_many_digits_as_python_reads(sign):
    longest = sign + "9" * 4300
    assert parse(longest.encode()) == int(longest)
    with pytest.raises(NotStrictJson, match="a number has more than 4300 digits"):
        parse(f"[{longest}0]".encode())
