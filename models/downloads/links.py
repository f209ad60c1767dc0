"""Single files by URL: plain https addresses, and models of Civitai, whose API tells name and checksum.

``CIVITAI_TOKEN`` is sent to Civitai only; ``CIVITAI_ENDPOINT`` names another server with the same API, as
``HF_ENDPOINT`` does for the model hub. The API: https://developer.civitai.com/docs/api/public-rest.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

import httpx

from models.catalog.catalog import ModelSpec
from models.catalog.file_kinds import FileKind, kind_of
from models.catalog.weights import SAFETENSORS, header_end_of, read_header
from models.downloads.network import why_failed
from models.downloads.notes import noted
from models.downloads.progress import Progress
from models.downloads.space import require_space
from models.downloads.transfer import Refused, RemoteFile, bytes_had, open_client, transfer
from models.errors import DownloadFailed, ModelUnavailable

_LOOK_AHEAD_BYTES, _LOOK_AHEAD_MAX_BYTES = 1 << 19, 1 << 24
"""How much of a file is asked for to see what it is: at first, which is enough for SDXL, and at most."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_API_DOWNLOAD = re.compile(r"/api/download/models/(\d+)")
_PAGE = re.compile(r"/models/(\d+)")


@dataclass(frozen=True)
class Link:
    """A file of weights on a server."""

    url: str
    file_name: str
    sha256: str | None


def resolve(source: str, sha256: str | None = None) -> Link:
    """What ``source`` links to; Civitai is asked about its pages.

    Args:
        source: a URL.
        sha256: the checksum, if it is known.

    Raises:
        DownloadFailed: the URL cannot be used, or Civitai has no such model.
    """
    parts = _parts_of(source)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise DownloadFailed(f"{source} must begin with https://")
    if parts.password is not None:
        raise DownloadFailed(
            "the catalog keeps URLs, so none may have a password: download the file yourself and add it"
        )
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise DownloadFailed(f"a SHA-256 has 64 hexadecimal digits, not {sha256!r}")
    if _is_civitai(source):
        return _civitai_link(source, sha256)
    name = unquote(parts.path).rpartition("/")[2]
    if not name.lower().endswith(SAFETENSORS):
        raise DownloadFailed(f"{source} is no address of a {SAFETENSORS} file")
    return Link(source, name, sha256)


def _parts_of(source: str) -> SplitResult:
    try:
        parts = urlsplit(source)
        _ = parts.hostname, parts.port
    except ValueError as error:
        raise DownloadFailed(f"{source} is no URL") from error
    return parts


def fetch_link(spec: ModelSpec, progress: Progress) -> None:
    """Bring the file at the model's URL to its place.

    Raises:
        DownloadFailed: the message says what to do.
        OSError: the folder cannot be written.
    """
    assert spec.url is not None and spec.file is not None
    url, place = spec.url, spec.file
    try:
        remote = _probe(url, spec.sha256)
        progress.total_bytes = remote.size_bytes
        require_space(place.parent, (remote.size_bytes or 0) - bytes_had(remote, place))
        with noted(spec, [(remote, place)], remote.size_bytes):
            transfer(remote, place, progress)
            _check_weights(place)
    except Refused as error:
        raise DownloadFailed(_refusal(url, error.status)) from error


def _probe(url: str, sha256: str | None) -> RemoteFile:
    """Size and version of the file, from the answer to a request for its first byte; some servers know no HEAD."""
    headers = _token_headers(url)
    try:
        with open_client(headers) as client, client.stream("GET", url, headers={"Range": "bytes=0-0"}) as response:
            if response.status_code not in (200, 206):
                raise Refused(response)
            if response.headers.get("Content-Type", "").startswith("text/html"):
                host = httpx.URL(url).host
                raise DownloadFailed(f"{host} gives a web page, perhaps to sign in: download the file and add that")
            size = response.headers.get("Content-Range", "").rpartition("/")[2]
            if response.status_code == 200:
                size = response.headers.get("Content-Length", "")
            version = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
    except httpx.RequestError as error:
        host = httpx.URL(url).host
        raise DownloadFailed(f"{host} cannot be reached: {why_failed(error)}") from error
    size_bytes = int(size) if size.isdecimal() else None
    return RemoteFile(url=url, size_bytes=size_bytes, sha256=sha256, version=f"{url} {version} {size}", headers=headers)


def look_ahead(url: str) -> FileKind | None:
    """What the ``.safetensors`` file at ``url`` is, told by its header alone, before it is downloaded.

    Returns:
        ``None`` if the server sends no parts of files or breaks off, or if the header is unusually long.

    Raises:
        DownloadFailed: the server does not give the file.
    """
    try:
        with open_client(_token_headers(url)) as client:
            start, size_bytes = _part(client, url, 0, _LOOK_AHEAD_BYTES)
            end = min(header_end_of(start), size_bytes, _LOOK_AHEAD_MAX_BYTES)
            if len(start) < end:
                start += _part(client, url, len(start), end)[0]
    except Refused as error:
        raise DownloadFailed(_refusal(url, error.status)) from error
    except (httpx.RequestError, _NoParts):
        return None
    is_enough = len(start) >= min(header_end_of(start), size_bytes)
    return _kind_of_start(start, size_bytes) if is_enough else None


class _NoParts(Exception):
    """The server sends whole files alone."""


def _part(client: httpx.Client, url: str, begin: int, end: int) -> tuple[bytes, int]:
    """The bytes of the file from ``begin`` up to ``end``, and the size of the file."""
    with client.stream("GET", url, headers={"Range": f"bytes={begin}-{end - 1}"}) as response:
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
        if response.status_code not in (200, 206):
            raise Refused(response)
        if response.status_code == 200 or not size.isdecimal():
            raise _NoParts
        content = b""
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) >= end - begin:
                break
        return content[: end - begin], int(size)


def _kind_of_start(start: bytes, size_bytes: int) -> FileKind | None:
    """What a file is that begins with ``start``: the rest of its copy here is a hole, which takes no space."""
    with NamedTemporaryFile(prefix="photogram-", suffix=SAFETENSORS) as copy:
        copy.write(start)
        try:
            copy.truncate(size_bytes)
        except (OSError, OverflowError):  # no file has this size
            return None
        return kind_of(Path(copy.name))


def _civitai_endpoint() -> str:
    return os.environ.get("CIVITAI_ENDPOINT", "https://civitai.com").rstrip("/")


def _is_civitai(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return url.startswith(f"{_civitai_endpoint()}/") or host == "civitai.com" or host.endswith(".civitai.com")


def _token_headers(url: str) -> Mapping[str, str]:
    token = os.environ.get("CIVITAI_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token and _is_civitai(url) else {}


def _civitai_link(source: str, sha256: str | None) -> Link:
    parts = urlsplit(source)
    asked = parse_qs(parts.query).get("modelVersionId")
    if (found := _API_DOWNLOAD.match(parts.path)) is not None:
        version = _civitai(f"/api/v1/model-versions/{found[1]}")
    elif asked:
        version = _civitai(f"/api/v1/model-versions/{asked[0]}")
    elif (found := _PAGE.match(parts.path)) is not None:
        page = _civitai(f"/api/v1/models/{found[1]}")
        version = {"model": {"type": page.get("type")}, **page["modelVersions"][0]}
    else:
        raise DownloadFailed(f"{source} is no page of a model (https://civitai.com/models/ID?modelVersionId=ID)")
    sort = (version.get("model") or {}).get("type", "Checkpoint")
    if sort != "Checkpoint":
        raise DownloadFailed(f"{source} is a {sort} and no checkpoint: put its file into the folder of its kind")
    file = _weights_of(version)
    if file is None:
        raise DownloadFailed(f"{source} has no {SAFETENSORS} file, and pickles are not read")
    known = (file.get("hashes") or {}).get("SHA256")
    return Link(file["downloadUrl"], file["name"], sha256 or (known.lower() if known else None))


def _weights_of(version: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The file of weights of a version: the primary one if it can be read, else the first that can."""
    files = [file for file in version.get("files", ()) if file["name"].lower().endswith(SAFETENSORS)]
    return next((file for file in files if file.get("primary")), files[0] if files else None)


def _civitai(path: str) -> dict[str, Any]:
    url = _civitai_endpoint() + path
    try:
        with open_client(_token_headers(url)) as client:
            response = client.get(url)
    except httpx.RequestError as error:
        raise DownloadFailed(f"{_civitai_endpoint()} cannot be reached: {why_failed(error)}") from error
    if response.status_code != 200:
        raise DownloadFailed(_refusal(url, response.status_code))
    found: dict[str, Any] = response.json()
    return found


def _refusal(url: str, status: int) -> str:
    """Why the server refused, and what to do."""
    host = urlsplit(url).hostname
    if status == 404:
        return f"{host} has no such file or model (404): check the address"
    if status == 429 or status >= 500:
        return f"{host} answered with {status}; try again later"
    if status not in (401, 403):
        return f"{host} does not give the file: it answered with {status}"
    if not _is_civitai(url):
        return f"{host} gives the file to signed-in users only ({status}): download it yourself and add the file"
    if os.environ.get("CIVITAI_TOKEN"):
        return (
            f"{host} does not accept CIVITAI_TOKEN for this file ({status}): make a new key in your account's settings"
        )
    return f"{host} gives this file to signed-in users only: set CIVITAI_TOKEN to an API key of your account's settings"


def _check_weights(place: Path) -> None:
    """Raise :class:`DownloadFailed`, and remove the file, if what was downloaded is no complete ``.safetensors``."""
    try:
        read_header(place)
    except ModelUnavailable as error:
        place.unlink(missing_ok=True)
        raise DownloadFailed(f"what was downloaded was removed: {error}") from error
