"""URLs of images: read as browsers read them, and held to the ports and hosts of the settings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.jobs.urls import FetchPolicy, MalformedUrl, host_pattern, parse_url, without_credentials


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://example.org", "example.org", 80, "/"),
        ("HTTPS://EXAMPLE.org.:8443/a?b=c#d", "example.org", 8443, "/a?b=c"),
        ("https://bücher.example/ü ä.png?q=ß", "xn--bcher-kva.example", 443, "/%C3%BC%20%C3%A4.png?q=%C3%9F"),
        ("http://[2001:DB8:0::1]/", "2001:db8::1", 80, "/"),
        ("http://a_b.example/%7e[x]|y", "a_b.example", 80, "/%7e[x]|y"),
        ("http://ⒺⓍample.org/", "example.org", 80, "/"),
        ("http://example.org?x", "example.org", 80, "/?x"),
        ("http://127。0。0。1/", "127.0.0.1", 80, "/"),
    ],
)
def test_a_url_is_read(text: str, host: str, port: int, target: str) -> None:
    found = parse_url(text)
    assert (found.host, found.port, found.target, found.credentials) == (host, port, target, None)


def test_credentials_are_decoded_and_kept_out_of_the_rest() -> None:
    found = parse_url("https://j%C3%B6:p%40:ss@example.org:444/x")
    assert (found.credentials, found.host, found.authority) == ("jö:p@:ss", "example.org", "example.org:444")
    assert parse_url("http://user@example.org/").credentials == "user:"
    assert "ss" not in repr(found)


@pytest.mark.parametrize(
    "text",
    ["", "cat.png", "ftp://example.org/", "file:///etc/passwd", "//example.org/", "http://", "http:///x", "http://:80/",
     "http://[::1/", "http://[::1%25eth0]/", "http://[fe80::1%eth0]/", "http://exam ple.org/", "http://example.org:99999/",
     "http://example.org:0/", "http://example.org:x/", "http://a..b/", "http://.a/", "http://-a/", "http://%6cocalhost/",
     "http://example.org\\@127.0.0.1/", "http://a\\b/", "http://example.org/\r\nX: y", "http://exam\tple.org/",
     "http://example.org/\x00", "http://faß.de/", "http://a\u200db.example/", "http://" + "a" * 64 + "ü.example/",
     "http://" + "a." * 200 + "org/", "http://a<b>.org/", "http://127.0.0.1../"],
)  # fmt: skip
def test_what_is_no_url_is_refused(text: str) -> None:
    with pytest.raises(MalformedUrl):
        parse_url(text)


@given(st.text() | st.text().map("http://".__add__) | st.text().map("https://a@b/".__add__))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse_url(text)
    except MalformedUrl:
        return
    for sent in (found.host, found.target, found.authority):
        assert sent.isascii() and sent.isprintable() and " " not in sent and "@" not in found.host


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:p@example.org/a@b", "http://example.org/a@b"),
        ("HTTP://u:p@x@example.org", "HTTP://example.org"),
        ("https://example.org/a?b=c@d", "https://example.org/a?b=c@d"),
        ("an http://u:p@example.org", "an http://u:p@example.org"),
        ("input:0", "input:0"),
    ],
)
def test_credentials_are_taken_out(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


def problem(url: str, **policy: object) -> str | None:
    return FetchPolicy(**policy).problem(parse_url(url))  # type: ignore[arg-type]


def test_ports_are_those_of_the_web_unless_others_are_set() -> None:
    assert problem("http://example.org/") is problem("https://example.org:80/") is problem("http://a.b:443/") is None
    for port in (1, 22, 81, 444, 6379, 8080, 65535):
        assert "is not allowed" in str(problem(f"http://example.org:{port}/"))
        assert problem(f"http://example.org:{port}/", allow_private=True) is None
        assert problem(f"http://example.org:{port}/", ports=frozenset({port})) is None
    assert "port 80 is not allowed" in str(problem("http://example.org/", ports=frozenset({443}), allow_private=True))


@pytest.mark.parametrize(
    "host", ["example.org", "EXAMPLE.ORG.", "a.cdn.example", "a.b.cdn.example", "xn--bcher-kva.example"]
)
def test_an_allow_list_allows(host: str) -> None:
    hosts = tuple(map(host_pattern, ("Example.org.", "*.CDN.example", "bücher.example")))
    assert problem(f"https://{host}/", hosts=hosts) is None


@pytest.mark.parametrize(
    "host",
    ["a.example.org", "cdn.example", "notcdn.example", "acdn.example", "example.org.evil.com", "example.org@evil.com",
     "1.1.1.1", "[2606:4700::1111]", "16843009"],
)  # fmt: skip
def test_an_allow_list_allows_nothing_else(host: str) -> None:
    assert "certain hosts only" in str(problem(f"https://{host}/", hosts=("example.org", "*.cdn.example")))


def test_an_allowed_name_does_not_make_private_addresses_reachable() -> None:
    assert "cannot be reached" in str(problem("http://10.0.0.1/", hosts=("10.0.0.1",)))
    assert problem("http://10.0.0.1/", hosts=("10.0.0.1",), allow_private=True) is None


@pytest.mark.parametrize("text", ["*", "*.", "a.*.b", "http://example.org", "example.org/x", "a b", "[::1"])
def test_a_pattern_must_be_a_host(text: str) -> None:
    with pytest.raises(MalformedUrl):
        host_pattern(text)
