"""The body of a response: read and decompressed piece by piece, so that its limit holds for what comes out."""

from __future__ import annotations

import http.client
import zlib
from collections.abc import Iterator
from typing import Protocol

from models.errors import InputUnavailable

_CHUNK_BYTES = 1 << 16
_GZIP_OR_ZLIB, _RAW = zlib.MAX_WBITS | 32, -zlib.MAX_WBITS
_CODINGS_MAX = 2


class _Decoder(Protocol):
    def decoded(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` decompresses to, in pieces of at most 64 KiB."""

    def close(self) -> None:
        """Raise :class:`zlib.error` if the data ended too early."""


def read_body(response: http.client.HTTPResponse, max_bytes: int, host: str) -> bytes:
    """The body of ``response``, decompressed if it was sent compressed, although nothing asks for that.

    Raises:
        InputUnavailable: it has more than ``max_bytes``, before or after decompression, or cannot be decompressed.
    """
    too_large = f"the image from {host} has more than {max_bytes} bytes"
    if response.length is not None and response.length > max_bytes:
        raise InputUnavailable(too_large)
    body = bytearray()
    try:
        for piece in _decoded(_pieces(response, max_bytes, host), _decoders(response, host)):
            body += piece
            if len(body) > max_bytes:
                raise InputUnavailable(too_large)
    except zlib.error as error:
        raise InputUnavailable(f"{host} sent an image whose compression is damaged") from error
    return bytes(body)


def _pieces(response: http.client.HTTPResponse, max_bytes: int, host: str) -> Iterator[bytes]:
    """The body as it is sent; one that ends before its announced length is passed on, as browsers do."""
    received = 0
    while piece := response.read(_CHUNK_BYTES):
        received += len(piece)
        if received > max_bytes:
            raise InputUnavailable(f"the image from {host} has more than {max_bytes} bytes")
        yield piece


def _decoders(response: http.client.HTTPResponse, host: str) -> list[_Decoder]:
    """What undoes the content codings of the response, the last one first."""
    header = ",".join(response.headers.get_all("Content-Encoding", []))
    codings = [coding for coding in (each.strip().lower() for each in header.split(",")) if coding]
    codings = [coding for coding in codings if coding != "identity"]
    unknown = [coding for coding in codings if coding not in ("gzip", "x-gzip", "deflate")]
    if unknown or len(codings) > _CODINGS_MAX:
        shown = ", ".join(unknown or codings)[:40]
        raise InputUnavailable(f"{host} sends the image compressed as {shown!r}; gzip and deflate can be read")
    return [_Inflated() for _ in codings]


def _decoded(pieces: Iterator[bytes], decoders: list[_Decoder]) -> Iterator[bytes]:
    for decoder in reversed(decoders):
        pieces = _through(pieces, decoder)
    return pieces


def _through(pieces: Iterator[bytes], decoder: _Decoder) -> Iterator[bytes]:
    for piece in pieces:
        yield from decoder.decoded(piece)
    decoder.close()


class _Inflated:
    """Decompresses gzip, zlib, and the bare deflate that some servers send instead; ignores what follows the end."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        self._has_begun = False

    def decoded(self, data: bytes) -> Iterator[bytes]:
        while not self._inflater.eof:
            piece = self._decompress(data)
            data = self._inflater.unconsumed_tail
            if piece:
                yield piece
            if not data and len(piece) < _CHUNK_BYTES:
                return

    def _decompress(self, data: bytes) -> bytes:
        try:
            return self._inflater.decompress(data, _CHUNK_BYTES)
        except zlib.error:
            if self._has_begun:
                raise
            self._inflater = zlib.decompressobj(_RAW)
            return self._inflater.decompress(data, _CHUNK_BYTES)
        finally:
            self._has_begun = True

    def close(self) -> None:
        if self._has_begun and not self._inflater.eof:
            raise zlib.error("the data ended too early")
