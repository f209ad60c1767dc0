"""Fetching for strangers: only what is public is reached, only so much is read, and only for so long."""

from __future__ import annotations

import gzip
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from models.errors import InputUnavailable
from models.jobs.urls import parse_url
from service.backbone.guarded_http import Deadline
from workers.fetch import FetchLimits, FetchTimeout, _redirected, fetch

LIMITS = FetchLimits(max_bytes=100_000, allow_private=True)
PUBLIC = "93.184.215.14"
"""Where ``public.example`` is, as far as these tests say; connections to it end at the local server."""


IMAGE = bytes(range(256)) * 300
BOMB = gzip.compress(bytes(200_000_000), 9)
RAW = zlib.compressobj(wbits=-zlib.MAX_WBITS)
PACKED = {
    "gzip": ("gzip", gzip.compress(IMAGE)),
    "x-gzip": ("X-GZip", gzip.compress(IMAGE)),
    "zlib": ("deflate", zlib.compress(IMAGE)),
    "raw": ("deflate", RAW.compress(IMAGE) + RAW.flush()),
    "twice": ("deflate, gzip", gzip.compress(zlib.compress(IMAGE))),
    "padded": ("gzip", gzip.compress(IMAGE) + bytes(1000)),
    "identity": ("identity", IMAGE),
    "full": ("gzip", gzip.compress(bytes(100_000))),
    "bomb": ("gzip", BOMB),
    "bombs": ("gzip, gzip", gzip.compress(BOMB)),
    "cut": ("gzip", gzip.compress(IMAGE)[:-20]),
    "plain": ("gzip", IMAGE),
    "brotli": ("br", b"x"),
    "often": ("gzip, gzip, gzip", b"x"),
}
"""Content codings and bodies by name."""


class Site(BaseHTTPRequestHandler):
    """Answers by the path: ``/ok``, ``/status/404``, ``/to?<url>``, ``/large``, ``/endless``, ``/drip``, ..."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"], self.headers["Authorization"]))  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        answers: dict[str, Callable[[], None]] = {
            "status": lambda: self.answer(int(path.rpartition("/")[2])),
            "to": lambda: self.answer(302, {"Location": query}),
            "large": lambda: self.answer(200, {"Content-Length": "100001"}, b"x" * 100_001),
            "endless": lambda: self.never_end(10_000, 0),
            "drip": lambda: self.never_end(1, 0.05),
            "headers": lambda: self.answer(200, {"X-Long": "x" * 70_000}),
            "silent": lambda: threading.Event().wait(),
            "loop": lambda: self.answer(307, {"Location": self.path}),
            "nowhere": lambda: self.answer(302),
            "packed": lambda: self.pack(query),
            "agent": lambda: self.answer(200, {}, (self.headers["User-Agent"] or "").encode()),
            "banner": lambda: self.wfile.write(b"SSH-2.0-OpenSSH_9.6 secret\r\n"),
        }
        image = partial(self.answer, 200, {"Content-Length": "7"}, b"image")
        with suppress(OSError):
            answers.get(path.split("/")[1], image)()

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def never_end(self, size: int, pause_s: float) -> None:
        self.answer(200)
        while True:
            self.wfile.write(b"x" * size)
            time.sleep(pause_s)

    def pack(self, name: str) -> None:
        headers, body = PACKED[name]
        self.answer(200, {"Content-Encoding": headers}, body)

    def log_message(self, *_: object) -> None:
        """Keep still."""


@pytest.fixture
def site() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.asked = []  # type: ignore[attr-defined]
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def url(site: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{site.server_port}"


def get(url: str, **limits: object) -> bytes:
    chosen = FetchLimits(**{"max_bytes": 100_000, "allow_private": True, **limits})  # type: ignore[arg-type]
    return fetch(url, chosen, Deadline(chosen.deadline_s))


def test_an_image_is_fetched(url: str, site: ThreadingHTTPServer) -> None:
    assert get(f"{url}/ok.png?size=l#top") == b"image"
    assert get(f"{url}?size=l") == b"image"
    host = f"127.0.0.1:{site.server_port}"
    assert site.asked == [("/ok.png?size=l", host, None), ("/?size=l", host, None)]  # type: ignore[attr-defined]


def test_redirects_are_followed_so_many_times(url: str) -> None:
    assert get(f"{url}/to?/to?/to?/to?/to?/ok") == b"image"
    for path in ("/to?/to?/to?/to?/to?/to?/ok", "/loop"):
        with pytest.raises(InputUnavailable, match="more than 5 times"):
            get(url + path)
    with pytest.raises(InputUnavailable, match="answers 302"):
        get(f"{url}/nowhere")


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500])
def test_an_answer_that_is_no_image_is_a_failure(url: str, status: int) -> None:
    with pytest.raises(InputUnavailable, match=f"127.0.0.1 answers {status}"):
        get(f"{url}/status/{status}")


@pytest.mark.parametrize("path", ["/large", "/endless"])
def test_no_more_is_read_than_may_be(url: str, path: str) -> None:
    with pytest.raises(InputUnavailable, match="more than 100000 bytes"):
        get(url + path)


@pytest.mark.parametrize("path", ["/drip", "/silent", "/to?/drip"])
def test_the_deadline_holds_whatever_comes(url: str, path: str) -> None:
    with pytest.raises(InputUnavailable, match=r"did not give the image within 0\.4 s"):
        get(url + path, deadline_s=0.4)  # the site itself would never end


def test_one_deadline_serves_several_fetches(url: str) -> None:
    deadline = Deadline(0.0)
    with pytest.raises(FetchTimeout):
        fetch(f"{url}/ok", LIMITS, deadline)


def test_headers_without_end_are_a_failure(url: str) -> None:
    with pytest.raises(InputUnavailable, match="does not answer in valid HTTP"):
        get(f"{url}/headers")


@pytest.mark.parametrize(
    "target",
    ["ftp://example.org/x", "file:///etc/passwd", "gopher://127.0.0.1/", "data:image/png;base64,AAAA", "//", "http://",
     "http://[x/", "http://a\\@127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "/" + "x" * 20_000],
)  # fmt: skip
def test_a_redirect_to_what_is_no_web_address_is_refused(url: str, target: str) -> None:
    with pytest.raises(InputUnavailable):
        get(f"{url}/to?{target}")


def test_nobody_answers() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(InputUnavailable, match=r"^127\.0\.0\.1 cannot be reached from this server$"):
            get(f"http://127.0.0.1:{closed.getsockname()[1]}/")


# What hosts of images do


@pytest.mark.parametrize("name", ["gzip", "x-gzip", "zlib", "raw", "twice", "padded", "identity"])
def test_a_body_that_is_compressed_without_being_asked_is_decompressed(url: str, name: str) -> None:
    assert get(f"{url}/packed?{name}") == IMAGE


def test_the_limit_holds_for_what_is_decompressed(url: str) -> None:
    assert get(f"{url}/packed?full") == bytes(100_000)
    for name in ("full", "bomb", "bombs"):
        with pytest.raises(InputUnavailable, match="more than 99999 bytes"):
            get(f"{url}/packed?{name}", max_bytes=99_999)


@pytest.mark.parametrize(
    ("name", "words"), [("cut", "damaged"), ("plain", "damaged"), ("brotli", "'br'; gzip and"), ("often", "gzip, gzip")]
)
def test_what_cannot_be_decompressed_is_a_failure(url: str, name: str, words: str) -> None:
    with pytest.raises(InputUnavailable, match=words):
        get(f"{url}/packed?{name}")


def test_hosts_see_a_browser(url: str) -> None:
    assert get(f"{url}/agent").startswith(b"Mozilla/5.0 (compatible; Photogram/")


def test_nothing_of_another_protocol_is_repeated(url: str) -> None:
    with pytest.raises(InputUnavailable, match="does not answer in valid HTTP") as caught:
        get(f"{url}/banner")
    assert "SSH" not in str(caught.value)


def test_credentials_go_to_their_own_origin_only(url: str, site: ThreadingHTTPServer) -> None:
    port, login = site.server_port, "Basic " + b64encode("jö:p@ss:w".encode()).decode()
    own = f"http://j%C3%B6:p%40ss:w@127.0.0.1:{port}"
    assert get(f"{own}/to?/to?{url}/ok") == b"image"
    assert [sent for *_, sent in site.asked] == [login] * 3  # type: ignore[attr-defined]
    site.asked.clear()  # type: ignore[attr-defined]
    assert get(f"{own}/to?http://localhost:{port}/to?{url}/ok") == b"image"
    assert get(f"{url}/to?http://u:p@127.0.0.1:{port}/ok") == b"image"
    assert [sent for *_, sent in site.asked] == [login] + [None] * 4  # type: ignore[attr-defined]


def test_credentials_are_in_no_message_and_no_repr(url: str) -> None:
    for path in ("/status/404", "/loop", "/to?ftp://x", "/packed?brotli"):
        with pytest.raises(InputUnavailable) as caught:
            get(f"{url}{path}".replace("//", "//user:secret@"))
        assert "secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_a_redirect_is_read_as_browsers_read_it(url: str, site: ThreadingHTTPServer) -> None:
    assert get(f"{url}/to?/%20a%20b") == b"image"
    location = "/ü ö.png".encode().decode("latin-1")
    assert _redirected(parse_url(f"{url}/to"), location).target == "/%C3%BC%20%C3%B6.png"
    assert get(f"{url}/ü ö.png?q=ß") == b"image"
    assert site.asked[-1][0] == "/%C3%BC%20%C3%B6.png?q=%C3%9F"  # type: ignore[attr-defined]


# What may be reached


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "0.0.0.0", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "LOCALHOST",
     "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "①②⑦.0.0.1", "127。0。0。1", "u:p@127.0.0.1"],
)  # fmt: skip
def test_this_machine_is_not_fetched_from(site: ThreadingHTTPServer, host: str) -> None:
    ports = frozenset({site.server_port})
    with pytest.raises(InputUnavailable, match=r"^\S+ cannot be reached from this server$"):
        get(f"http://{host}:{site.server_port}/ok", allow_private=False, ports=ports)
    assert site.asked == []  # type: ignore[attr-defined]


def test_other_ports_than_those_of_the_web_are_refused(url: str, site: ThreadingHTTPServer) -> None:
    for port in (22, 6379, 8080):
        with pytest.raises(InputUnavailable, match=f"the port {port} is not allowed; .*: 80, 443$"):
            get(f"http://1.1.1.1:{port}/", allow_private=False)
    with pytest.raises(InputUnavailable, match="is not allowed"):
        get(f"{url}/ok", ports=frozenset({80}))
    assert get(f"{url}/ok", ports=frozenset({80, site.server_port})) == b"image"


def test_an_allow_list_holds_for_each_hop(url: str, site: ThreadingHTTPServer) -> None:
    assert get(f"{url}/to?/ok", hosts=("127.0.0.1", "*.example.org")) == b"image"
    elsewhere = f"http://localhost:{site.server_port}/ok"
    for there in (elsewhere, f"{url}/to?{elsewhere}"):
        with pytest.raises(InputUnavailable, match="certain hosts only, and localhost is not one of them"):
            get(there, hosts=("127.0.0.1",))
    assert [path for path, *_ in site.asked] == ["/to?/ok", "/ok", f"/to?{elsewhere}"]  # type: ignore[attr-defined]


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, site: ThreadingHTTPServer) -> Callable[..., list[str]]:
    """Has names lead to addresses, anew with each look-up, and ``PUBLIC`` to the site; gives what was connected to."""
    reached: list[str] = []
    connect = socket.create_connection

    def look_up(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        answers = names.get(host, [[host]])
        found = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def reach(place: tuple[str, int], timeout: float) -> socket.socket:
        reached.append(place[0])
        return connect(("127.0.0.1", site.server_port), timeout)

    names: dict[str, list[list[str]]] = {}

    def set_up(**answers: list[list[str]]) -> list[str]:
        names.update({f"{name}.example": each for name, each in answers.items()})
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        monkeypatch.setattr(socket, "create_connection", reach)
        return reached

    return set_up


def test_a_redirect_from_the_public_to_the_private_is_refused(
    internet: Callable[..., list[str]], site: ThreadingHTTPServer
) -> None:
    reached = internet(public=[[PUBLIC]], inside=[["10.0.0.7"]])
    with pytest.raises(InputUnavailable, match=r"^inside\.example cannot be reached from this server$"):
        get("http://public.example/to?http://inside.example/secret", allow_private=False)
    assert reached == [PUBLIC]
    assert [path for path, *_ in site.asked] == ["/to?http://inside.example/secret"]  # type: ignore[attr-defined]


def test_a_name_is_looked_up_once_and_reached_where_it_was_found(
    internet: Callable[..., list[str]], site: ThreadingHTTPServer
) -> None:
    reached = internet(public=[[PUBLIC], ["127.0.0.1"]])
    assert get("http://public.example/ok", allow_private=False) == b"image"
    assert reached == [PUBLIC]
    assert site.asked[0][1] == "public.example"  # type: ignore[attr-defined]


def test_one_private_address_among_public_ones_is_one_too_many(internet: Callable[..., list[str]]) -> None:
    reached = internet(public=[[PUBLIC, "192.168.0.1"]])
    with pytest.raises(InputUnavailable, match="cannot be reached from this server"):
        get("http://public.example/ok", allow_private=False)
    assert reached == []


# TLS


@pytest.fixture
def safe_url(site: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The site behind a certificate for ``localhost`` that is trusted here."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(certificate)]
    more = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run([*command, *more], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return f"https://localhost:{site.server_port}"


def test_an_image_is_fetched_over_tls(safe_url: str) -> None:
    assert get(f"{safe_url}/ok") == b"image"
    with pytest.raises(InputUnavailable, match="did not give the image"):
        get(f"{safe_url}/drip", deadline_s=0.5)


def test_a_certificate_for_somebody_else_is_refused(safe_url: str) -> None:
    with pytest.raises(InputUnavailable, match=r"has a TLS certificate that is not valid: .*IP address mismatch"):
        get(f"{safe_url.replace('localhost', '127.0.0.1')}/ok")


def test_a_host_without_tls_is_told_apart(url: str) -> None:
    with pytest.raises(InputUnavailable, match="cannot be reached over TLS: "):
        get(f"{url.replace('http', 'https')}/ok")


def test_names_that_lead_nowhere_or_inside_and_closed_ports_look_alike(
    internet: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    internet(public=[[PUBLIC]], inside=[["10.0.0.7"]], nowhere=[[]])

    def refuse(*_: object, **__: object) -> socket.socket:
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", refuse)
    messages = set()
    for name in ("public", "inside", "nowhere"):
        for scheme in ("http", "https"):
            with pytest.raises(InputUnavailable) as caught:
                get(f"{scheme}://{name}.example/ok", allow_private=False)
            messages.add(str(caught.value).replace(name, "name"))
    assert messages == {"name.example cannot be reached from this server"}
