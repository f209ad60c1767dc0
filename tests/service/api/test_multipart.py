"""Multipart forms as clients send them, and as nobody should."""

from __future__ import annotations

import random

import pytest
from starlette.datastructures import Headers

from models.errors import InvalidTicket
from service.api.multipart import FormPart, is_form, parse_form

TYPE = "multipart/form-data; boundary=X-1"


def part(head: str, data: bytes = b"{}") -> bytes:
    return b"--X-1\r\n" + head.encode() + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--X-1--\r\n"


def test_parts_keep_their_order_their_names_and_every_byte():
    data = bytes(range(256)) + b"\r\n--X-\r\n\r\n--\n--X-1" + bytes(range(256))
    body = form(
        part(
            'Content-Disposition: form-data; name="input"; filename="a;b \\"c\\".jpg"\r\nContent-Type: text/plain', data
        ),
        part("content-disposition: form-data; name=job"),
        part('Content-Type: image/png\r\nContent-Disposition: form-data; filename="ü.png"; name="input"', b""),
    )
    assert parse_form(body, TYPE) == [
        FormPart("input", 'a;b "c".jpg', data),
        FormPart("job", None, b"{}"),
        FormPart("input", "ü.png", b""),
    ]


def test_a_name_that_is_not_ascii_may_be_written_as_in_rfc_5987():
    (found,) = parse_form(form(part("Content-Disposition: form-data; name=input; filename*=UTF-8''%C3%BC.png")), TYPE)
    assert found.filename == "ü.png"


def test_an_empty_file_without_a_name_is_left_out():
    head = 'Content-Disposition: form-data; name="mask"; filename="{}"\r\nContent-Type: application/octet-stream'
    body = form(part(head.format(""), b""), part(head.format(""), b"x"), part(head.format("a"), b""))
    assert parse_form(body, TYPE) == [FormPart("mask", "", b"x"), FormPart("mask", "a", b"")]


def test_a_boundary_may_be_quoted_and_come_after_a_preamble():
    body = b"this is a form\r\n" + form(part("Content-Disposition: form-data; name=job"))
    assert parse_form(body, 'multipart/form-data; charset=utf-8; boundary="X-1"') == [FormPart("job", None, b"{}")]
    assert parse_form(b"--X-1--", TYPE) == []


BROKEN = {
    "no boundary in the header": (form(), "multipart/form-data"),
    "an endless boundary": (form(), "multipart/form-data; boundary=" + 71 * "x"),
    "nothing": (b"", TYPE),
    "no boundary in the body": (b"job={}", TYPE),
    "no end": (part("Content-Disposition: form-data; name=job"), TYPE),
    "an end within a part": (part("Content-Disposition: form-data; name=job")[:-9], TYPE),
    "no headers": (form(b"--X-1\r\n{}\r\n"), TYPE),
    "headers that go on": (form(part("Content-Disposition: form-data; name=job; a=" + 9000 * "x")), TYPE),
    "headers that are not UTF-8": (form(b'--X-1\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n\r\n'), TYPE),
    "no name": (form(part("Content-Disposition: form-data")), TYPE),
    "no disposition": (form(part("Content-Type: application/json")), TYPE),
    "too many parts": (form(*(part("Content-Disposition: form-data; name=input") for _ in range(101))), TYPE),
}


@pytest.mark.parametrize(("body", "content_type"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_form_is_refused(body: bytes, content_type: str):
    with pytest.raises(InvalidTicket, match="cannot be read as multipart/form-data"):
        parse_form(body, content_type)


def test_damaged_forms_are_read_or_refused_and_nothing_else():
    chance = random.Random(7)
    whole = form(part('Content-Disposition: form-data; name="job"; filename="job.json"'), part("x: y", b"\r\n--X-1"))
    for _ in range(3000):
        damaged = bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(damaged))
            damaged[place : place + chance.randrange(3)] = chance.randbytes(chance.randrange(3))
        try:
            assert all(isinstance(each, FormPart) for each in parse_form(bytes(damaged), TYPE))
        except InvalidTicket:
            continue


def test_a_form_is_told_by_its_content_type():
    assert is_form(Headers({"Content-Type": "Multipart/Form-Data; boundary=x"}))
    assert not is_form(Headers({"Content-Type": "application/json"})) and not is_form(Headers({}))
