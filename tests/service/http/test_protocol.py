"""What one connection may do, tried with plain sockets on a real uvicorn."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

import pytest

from service.http.protocol import HEAD_MAX_BYTES, HEADERS_MAX, PIPELINE_MAX
from tests.service.http.conftest import HEALTH, guarded, read_answer, read_end

HOST = b"Host: x\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "request_line", [b"GET /healthz HTTP/1.1\r\n", b"GET /healthz?a=b HTTP/1.1\r\n", b"GET /healthz HTTP/1.0\r\n"]
)
def test_plain_requests_are_answered(served, request_line):
    assert status_of(served.ask(request_line + HOST + b"\r\n")) == 200


def test_many_requests_on_one_connection(served):
    with served.connect() as connection:
        for _ in range(20):
            connection.sendall(HEALTH)
            assert status_of(read_answer(connection)) == 200


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_chunked_bodies(served, size):
    chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"a" * size) for _ in range(20))
    answer = served.ask(
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert answer.endswith(b"%d" % (20 * size))


def test_a_large_body_arrives_whole(served):
    size = 20 << 20
    answer = served.ask(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size + b"a" * size)
    assert answer.endswith(b"%d" % size)


def test_pipelined_requests_are_answered_in_order(served):
    with served.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + HEALTH * 9 + b"GET /healthz HTTP/1.1\r\n")
        connection.sendall(HOST + b"Connection: close\r\n\r\n")
        answers = read_end(connection)
    assert answers.count(b"HTTP/1.1 200 OK") == 11 and b"slow" in answers.partition(b"ok")[0]


def test_requests_without_end_before_the_first_answer_close_the_connection(served):
    with served.connect() as connection:
        connection.sendall(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n" + HEALTH * (PIPELINE_MAX + 10))
        assert read_end(connection).count(b"HTTP/1.1") == 0
    assert status_of(served.ask(HEALTH)) == 200


LONG = b"a" * (HEAD_MAX_BYTES + 1000)
TOO_LARGE = {
    "long URL": (b"GET /" + LONG + b" HTTP/1.1\r\n\r\n", 414),
    "long query": (b"GET /healthz?" + LONG + b" HTTP/1.1\r\n\r\n", 414),
    "long URL without end": (b"GET /" + LONG * 3, 414),
    "long value": (b"GET /healthz HTTP/1.1\r\nX: " + LONG + b"\r\n\r\n", 431),
    "long value without end": (b"GET /healthz HTTP/1.1\r\nX: " + LONG * 9, 431),
    "long name": (b"GET /healthz HTTP/1.1\r\n" + LONG + b": x\r\n\r\n", 431),
    "many headers": (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * (HEADERS_MAX + 1) + b"\r\n", 431),
    "many headers without end": (b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 100_000, 431),
    "many cookies": (b"GET /healthz HTTP/1.1\r\n" + (b"Cookie: " + b"c" * 4000 + b"\r\n") * 20 + b"\r\n", 431),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, 400),
    "no method": (b"HELLO / HTTP/1.1\r\n\r\n", 400),
    "two lengths": (b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "negative length": (b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
    "huge length": (b"POST /echo HTTP/1.1\r\nContent-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    "length and chunks": (b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", 400),
    "a URL that is not ASCII": (b"GET /\xff\xfe HTTP/1.1\r\n\r\n", 400),
}  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "in pieces"])
def test_heads_that_are_refused(served, sent, status, at_once, caplog):
    with served.connect() as connection:
        try:
            for piece in [sent] if at_once else [sent[at : at + 5000] for at in range(0, len(sent), 5000)]:
                connection.sendall(piece)
        except ConnectionError:
            pass
        answer = read_end(connection)
    assert status_of(answer) == status
    assert b"connection: close" in answer and len(answer) < 500
    served.wait_for(lambda: served.connections == 0)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"5;" + b"x" * 300_000,
        b"5\r\naaaaa\r\n0\r\n" + b"X: " + b"x" * 300_000,
        b"5\r\naaaaa\r\n0\r\n" + b"X: x\r\n" * 50_000,
        b"1\r\na\r\n" * 200_000,
        b"nonsense\r\n",
    ],
    ids=["extension", "trailer", "trailers", "tiny chunks", "no chunk"],
)
def test_chunks_that_carry_little_else_than_framing_are_refused(served, sent, caplog):
    with served.connect() as connection:
        with suppress(ConnectionError):
            connection.sendall(b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + sent)
        answer = read_end(connection)
    assert not answer or status_of(answer) in (400, 431)
    served.wait_for(lambda: served.connections == 0)
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    "sent", [b"", b"G", b"GET /healthz HTTP/1.1\r\nHos", b"\r\n", b"POST /echo HTTP/1.1\r\nContent-Length: 9\r\n"]
)
def test_half_a_header_is_closed_after_a_while(sent):
    with guarded(header_s=0.2) as served, served.connect() as connection:
        connection.sendall(sent)
        answer = read_end(connection)
        assert answer == b"" if not sent.strip() else status_of(answer) == 408


def test_a_dripping_header_is_closed_though_it_never_pauses():
    with guarded(header_s=0.5) as served, served.connect() as connection:
        connection.settimeout(0.05)
        answer = b""
        for byte in HEALTH[:-2] + b"X: " + b"x" * 1000:
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(1000)
                break
            except TimeoutError:
                continue
        assert status_of(answer) == 408


@pytest.mark.parametrize("rest", [b"G", b"\r\n", HEALTH[:-2]])
def test_half_a_second_request_is_closed_too(rest):
    with guarded(header_s=0.2, drain_s=0.2) as served, served.connect() as connection:
        connection.sendall(HEALTH)
        assert status_of(read_answer(connection)) == 200
        connection.sendall(rest)
        assert read_end(connection) in (b"", read_408())
        served.wait_for(lambda: served.connections == 0)


def read_408() -> bytes:
    return (
        b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain\r\ncontent-length: 15\r\nconnection: close\r\n\r\n"
        b"Request Timeout"
    )


def test_a_request_that_takes_longer_than_the_header_may_is_answered():
    with guarded(header_s=0.1) as served:
        assert served.ask(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n").endswith(b"slow")


def test_a_body_after_its_answer_is_read_within_limits_and_the_connection_goes_on(served):
    with served.connect() as connection:
        connection.sendall(b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 500000\r\n\r\n" + b"a" * 1000)
        assert status_of(read_answer(connection)) == 413
        connection.sendall(b"a" * 499_000 + HEALTH)
        assert status_of(read_answer(connection)) == 200


@pytest.mark.parametrize("framing", [b"Content-Length: 100000000000", b"Transfer-Encoding: chunked"])
def test_an_endless_body_after_its_answer_is_cut_off(served, framing):
    sent = 0
    with served.connect() as connection:
        connection.sendall(b"POST /unread HTTP/1.1\r\n" + HOST + framing + b"\r\n\r\n")
        answer = read_answer(connection)
        with pytest.raises(ConnectionError):
            while sent < 1 << 30:
                connection.sendall(b"%x\r\n%s\r\n" % (1 << 16, b"a" * (1 << 16)))
                sent += 1 << 16
    assert status_of(answer) == 413
    served.wait_for(lambda: served.connections == 0)


def test_a_body_that_stops_after_its_answer_is_closed():
    with guarded(drain_s=0.2) as served, served.connect() as connection:
        connection.sendall(b"POST /unread HTTP/1.1\r\n" + HOST + b"Content-Length: 500000\r\n\r\n" + b"a" * 1000)
        assert b"413" in read_end(connection)


@pytest.mark.parametrize("path", [b"/big", b"/stream"])
def test_a_client_that_does_not_read_its_answer_is_cut_off(path):
    with guarded(write_s=0.3) as served, served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n")
        served.wait_for(lambda: served.connections == 1)
        served.wait_for(lambda: served.connections == 0)


@pytest.mark.parametrize("path", [b"/big", b"/stream"])
def test_a_client_that_reads_steadily_gets_everything(path):
    """It takes longer than a client may read nothing at all."""
    received, began = 0, time.monotonic()
    with guarded(write_s=2.0) as served, served.connect() as connection:
        connection.sendall(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        while piece := connection.recv(1 << 20):
            received += len(piece)
            time.sleep(0.05)
    assert received > 64 << 20 and time.monotonic() - began > 3


def test_upgrades_are_answered_as_plain_requests(served):
    answer = served.ask(b"GET /healthz HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    assert status_of(answer) == 200


def test_refusals_are_logged_in_one_line(caplog):
    with guarded() as served:
        for _ in range(30):
            served.ask(b"nonsense\r\n\r\n")
        served.wait_for(lambda: "30 requests that are not HTTP" in caplog.text)
    assert "Invalid HTTP request" not in caplog.text
