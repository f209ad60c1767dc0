"""One file over HTTP: resumed where an earlier attempt stopped, checked, and only then given its name.

The bytes go to a file beside the final one whose name ends in ``.incomplete``, which stays when the connection or the
process ends. A lock on that file lets one process write at a time; another one that wants the same file waits.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import httpx

from models.downloads.network import why_failed
from models.downloads.progress import Progress
from models.errors import DownloadFailed

INCOMPLETE = ".incomplete"
TIMEOUT_S = 30.0
"""How long a server may take to accept a connection or to send the next bytes."""
ATTEMPTS = 5
"""How often in a row a transfer may break off without new bytes."""
PAUSE_S = 1.0
"""The pause before the second attempt; it doubles with each further one."""
_LOCK_POLL_S = 0.5
_RETRIED = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file on a server."""

    url: str
    size_bytes: int | None = None
    """``None`` if the server does not tell."""
    sha256: str | None = None
    """The checksum in lower-case hexadecimal; ``None`` if nobody knows it."""
    version: str = ""
    """Changes with the contents: bytes of another version are not continued."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """May contain a token, which is not sent on to other hosts."""


class Refused(Exception):
    """The server answered with a status that another attempt does not change."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__(f"the server answered with {response.status_code}")
        self.status, self.headers = response.status_code, response.headers


def open_client(headers: Mapping[str, str]) -> httpx.Client:
    """A client that follows redirects; proxies are those of the environment."""
    return httpx.Client(headers={"Accept-Encoding": "identity", **headers}, timeout=TIMEOUT_S, follow_redirects=True)


def incomplete_of(place: Path, version: str = "") -> Path:
    """Where the bytes of ``place`` are until all of them are there."""
    tag = f".{hashlib.sha256(version.encode()).hexdigest()[:12]}" if version else ""
    return place.with_name(f"{place.name}{tag}{INCOMPLETE}")


def bytes_had(file: RemoteFile, place: Path) -> int:
    """How many bytes of ``file`` an earlier attempt has left."""
    partial = incomplete_of(place, file.version)
    return partial.stat().st_size if partial.is_file() else 0


def is_being_written(partial: Path) -> bool:
    """Whether a process of this machine is in :func:`transfer` with this incomplete file, which need not exist."""
    try:
        with partial.open("rb") as opened:
            fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def transfer(file: RemoteFile, place: Path, progress: Progress) -> None:
    """Bring ``file`` to ``place``, unless that exists, and count its bytes in ``progress``.

    Raises:
        DownloadFailed: the connection broke off too often, or size or checksum are wrong.
        Refused: the server does not give the file.
        OSError: the disk is full, or the folder cannot be written.
    """
    partial, before = incomplete_of(place, file.version), progress.done_bytes
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(partial, place, progress) as opened:
        if opened is None:
            progress.done_bytes = before + place.stat().st_size
            return
        _fill(file, opened, progress, before)
        _verify(file, partial)
        os.fsync(opened.fileno())
        os.replace(partial, place)


@contextmanager
def _locked(partial: Path, place: Path, progress: Progress) -> Iterator[BinaryIO | None]:
    """The open incomplete file, which no other process has open; ``None`` if ``place`` is there."""
    before = progress.done_bytes
    while not place.exists():
        with partial.open("ab") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.done_bytes = before + opened.tell()
                progress.pause(_LOCK_POLL_S)
                continue
            if partial.exists() and os.path.samestat(os.fstat(opened.fileno()), partial.stat()):
                yield opened
                return
    yield None


def _fill(file: RemoteFile, opened: BinaryIO, progress: Progress, before: int) -> None:
    """Append what is missing, in several attempts if the connection breaks off."""
    failed = 0
    with open_client(file.headers) as client:
        while True:
            had = opened.tell()
            progress.done_bytes = before + had
            try:
                if had != file.size_bytes:
                    _append(client, file, opened, progress, before)
                return
            except (httpx.RequestError, _BrokeOff) as error:
                failed = 1 if opened.tell() > had else failed + 1
                if failed >= ATTEMPTS:
                    raise _broken_off(file, opened.tell(), error) from error
                progress.pause(PAUSE_S * 2 ** (failed - 1))


class _BrokeOff(Exception):
    """The connection ended early, or the server asks for another attempt later."""


def _append(client: httpx.Client, file: RemoteFile, opened: BinaryIO, progress: Progress, before: int) -> None:
    had = opened.tell()
    headers = {"Range": f"bytes={had}-"} if had else {}
    with client.stream("GET", file.url, headers=headers) as response:
        if response.status_code in _RETRIED:
            raise _BrokeOff(f"the server answered with {response.status_code}")
        if response.status_code == 416 or (had and response.status_code == 200):  # no such range, or no ranges at all
            opened.truncate(0)
            opened.seek(0)
            if response.status_code == 416:
                raise _BrokeOff("the server has no bytes beyond those that are here")
        elif response.status_code not in (200, 206):
            raise Refused(response)
        for chunk in response.iter_bytes():
            opened.write(chunk)
            progress.done_bytes = before + opened.tell()
            progress.check()
    opened.flush()
    if file.size_bytes is not None and opened.tell() < file.size_bytes:
        raise _BrokeOff("the server ended the connection early")


def _verify(file: RemoteFile, partial: Path) -> None:
    """Raise :class:`DownloadFailed` and remove the bytes if size or checksum are wrong."""
    size_bytes = partial.stat().st_size
    problem = None
    if file.size_bytes is not None and size_bytes != file.size_bytes:
        problem = f"it has {size_bytes} bytes instead of {file.size_bytes}"
    elif file.sha256 is not None:
        with partial.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
        if found != file.sha256.lower():
            problem = f"its SHA-256 is {found} instead of {file.sha256.lower()}"
    if problem is not None:
        partial.unlink()
        raise DownloadFailed(f"the file that was downloaded is wrong and was removed: {problem}")


def _broken_off(file: RemoteFile, had: int, error: Exception) -> DownloadFailed:
    total = "" if file.size_bytes is None else f" of {file.size_bytes}"
    host = httpx.URL(file.url).host
    reason = str(error) if isinstance(error, _BrokeOff) else why_failed(error)
    return DownloadFailed(
        f"the connection to {host} broke off after {had}{total} bytes ({reason}); try again, and the download goes on "
        "from there"
    )
