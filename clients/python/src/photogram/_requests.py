"""Builds the HTTP request of each operation."""

import os
import re
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from urllib.parse import urlencode

import httpx2

from ._config import Config
from ._errors import UnexpectedResponse
from ._images import BinaryFile, Bytes, ImageSource, OnServer, archive_of, bytes_of, kind_of, source_of, wire_params
from ._paths import path_part
from ._version import __version__

# The server sends a heartbeat comment every 15 s on an idle event stream; after three missing ones it is unreachable.
EVENTS_READ_TIMEOUT_S = 45.0
# A proposal takes several rounds of the language model, during which the server sends nothing.
ASSIST_READ_TIMEOUT_S = 180.0

# The server reads an image within 30 s, two at a time.
VERIFY_READ_TIMEOUT_S = 90.0

PAGE_SIZE = 100

REQUEST_ID = "X-Request-ID"

_VERIFY = "/v1/provenance/verify"
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def new_job_id() -> str:
    return uuid.uuid4().hex


class Requests:
    """Builds requests for one server; the only I/O is reading image files."""

    def __init__(self, config: Config) -> None:
        self._base_url = config.base_url
        self._timeout_s = config.timeout_s
        self._given = config.headers
        self._headers = {"user-agent": f"photogram-python/{__version__}", "Accept": "application/json"}
        self._key = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}

    def submit(
        self,
        kind: str,
        job_id: str | None,
        params: Mapping[str, object],
        options: Mapping[str, object],
        webhook: str | None = None,
    ) -> httpx2.Request:
        body = job_body(kind, params, options)
        if webhook is not None:
            body["webhook"] = {"url": webhook}
        if job_id is not None:
            return self._api("PUT", _path_of(job_id), body=body)
        return self._api("POST", "/v1/jobs", body=body, headers={"Idempotency-Key": uuid.uuid4().hex})

    def dry_run(self, kind: str, params: Mapping[str, object], options: Mapping[str, object]) -> httpx2.Request:
        return self._api("POST", "/v1/jobs/dry_run", body=job_body(kind, params, options))

    def batch(self, jobs: Iterable[Mapping[str, object]], key: str | None, *, partial: bool) -> httpx2.Request:
        body = {"jobs": [wire_job(job) for job in jobs], "partial": partial}
        return self._api("POST", "/v1/jobs/batch", body=body, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def page(self, name: str, filters: Mapping[str, object], cursor: str | None) -> httpx2.Request:
        """A request for a page of what the key owns: `jobs` or `images`."""
        query = {"limit": PAGE_SIZE, **wire_filters(filters), **({} if cursor is None else {"cursor": cursor})}
        return self._api("GET", f"/v1/{name}?{_query(query)}")

    def search(self, sought: Mapping[str, object], filters: Mapping[str, object]) -> httpx2.Request:
        given = {name: value for name, value in sought.items() if value is not None}
        return self._api("GET", f"/v1/images/search?{_query({**given, **wire_filters(filters)})}")

    def duplicates(self, max_distance: int, limit: int) -> httpx2.Request:
        return self._api("GET", f"/v1/images/duplicates?{_query({'max_distance': max_distance, 'limit': limit})}")

    def delete(self, job_id: str) -> httpx2.Request:
        return self._api("DELETE", _path_of(job_id))

    def delete_all(self) -> httpx2.Request:
        return self._api("DELETE", "/v1/jobs?all=true")

    def delete_image(self, job_id: str, image_id: str) -> httpx2.Request:
        return self._api("DELETE", f"{_path_of(job_id)}/images/{path_part(image_id, 'an image')}")

    def usage(self) -> httpx2.Request:
        return self._api("GET", "/v1/usage")

    def job(self, job_id: str, wait_s: int = 0) -> httpx2.Request:
        query = f"?wait={wait_s}" if wait_s else ""
        return self._api("GET", _path_of(job_id) + query, read_s=self._timeout_s + wait_s)

    def cancel(self, job_id: str, timeout_s: float | None = None) -> httpx2.Request:
        request = self._api("POST", _path_of(job_id) + "/cancel")
        if timeout_s is not None:
            request.extensions["timeout"] = httpx2.Timeout(timeout_s).as_dict()
        return request

    def tell(self, job_id: str, text: str, question: str | None) -> httpx2.Request:
        return self._api("POST", _path_of(job_id) + "/input", body=wire_params({"text": text, "question": question}))

    def events(self, job_id: str, last_event_id: str | None, read_timeout_s: float) -> httpx2.Request:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        return self._api("GET", _path_of(job_id) + "/events", headers=headers, read_s=read_timeout_s)

    def rewrite(self, options: Mapping[str, object]) -> httpx2.Request:
        accept = "text/event-stream" if options.get("stream") else "application/json"
        return self._api("POST", "/v1/prompts/rewrite", body=wire_params(options), headers={"Accept": accept})

    def assist(self, message: str, job: Mapping[str, object] | None, images: Iterable[ImageSource]) -> httpx2.Request:
        sources = [source_of(image) for image in images]
        body = wire_params({"message": message, "job": job, "images": sources or None})
        return self._api("POST", "/v1/assist", body=body, read_s=max(self._timeout_s, ASSIST_READ_TIMEOUT_S))

    def upload(self, image: ImageSource) -> httpx2.Request:
        return self._file("/v1/inputs", _data_of(image))

    def upload_archive(self, data: Bytes | os.PathLike[str] | BinaryFile) -> httpx2.Request:
        return self._file("/v1/archives", archive_of(data))

    def verify_provenance(self, image: ImageSource) -> httpx2.Request:
        read_s = max(self._timeout_s, VERIFY_READ_TIMEOUT_S)
        if isinstance(image, str | OnServer):
            return self._api("POST", _VERIFY, body={"image": source_of(image)}, read_s=read_s)
        return self._file(_VERIFY, bytes_of(image), read_s=read_s)

    def listing(self, name: str) -> httpx2.Request:
        """A request for everything of one sort that the server has: `models`, `samplers`, `loras` and so on."""
        return self._api("GET", f"/v1/{name}")

    def readiness(self) -> httpx2.Request:
        return self._api("GET", "/readyz")

    def call(self, method: str, path: str, body: object) -> httpx2.Request:
        return self._api(method, path, body=body)

    def image(self, url: str) -> httpx2.Request:
        """A request without the API key: images need none, and may be on another host."""
        try:
            target = httpx2.URL(self._base_url + "/").join(url)
        except httpx2.InvalidURL as error:
            raise UnexpectedResponse(f"the server gave an invalid image URL: {url!r}") from error
        headers = {**self._headers, **_request_id(), "Accept": "image/*"}
        request = httpx2.Request("GET", target, headers=headers, extensions=self._limits())
        if self._is_of_server(target):
            request.headers.update(self._given)
        return request

    def redirected(self, request: httpx2.Request) -> httpx2.Request:
        """A request to which a response redirects; another host gets no headers of the caller."""
        if not self._is_of_server(request.url):
            for name in self._given:
                request.headers.pop(name, None)
        return request

    def file(self, job_id: str, index: int) -> httpx2.Request:
        return self._api("GET", f"{_path_of(job_id)}/files/{index}", headers={"Accept": "*/*"})

    def _api(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        read_s: float | None = None,
    ) -> httpx2.Request:
        every = {**self._headers, **self._given, **self._key, **_request_id(), **(headers or {})}
        try:
            return httpx2.Request(
                method, self._base_url + path, headers=every, json=body, extensions=self._limits(read_s)
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"an argument cannot be sent: {error}") from error

    def _file(self, path: str, data: bytes, *, read_s: float | None = None) -> httpx2.Request:
        own = {**_request_id(), "Content-Type": "application/octet-stream"}
        headers = {**self._headers, **self._given, **self._key, **own}
        return httpx2.Request(
            "POST", self._base_url + path, headers=headers, content=data, extensions=self._limits(read_s)
        )

    def _is_of_server(self, url: httpx2.URL) -> bool:
        server = httpx2.URL(self._base_url)
        return (url.scheme, url.host, url.port) == (server.scheme, server.host, server.port)

    def _limits(self, read_s: float | None = None) -> dict[str, object]:
        limits = httpx2.Timeout(self._timeout_s, read=self._timeout_s if read_s is None else read_s)
        return {"timeout": limits.as_dict()}


def job_body(kind: str, params: Mapping[str, object], options: Mapping[str, object]) -> dict[str, object]:
    """The body that submits one job; options that are None are left out."""
    given = {name: value for name, value in options.items() if value is not None}
    return {"kind": kind, "params": wire_params(params), **given}


def wire_job(job: Mapping[str, object]) -> dict[str, object]:
    """A job of a batch: its kind, by default that which its images imply, its params, and its options."""
    params = job.get("params") if isinstance(job, Mapping) else None
    if not isinstance(params, Mapping):
        raise ValueError(f"a job of a batch needs params, got {job!r}")
    options = {name: value for name, value in job.items() if name not in ("kind", "params")}
    return job_body(str(job.get("kind") or kind_of(params)), params, options)


def wire_filters(filters: Mapping[str, object]) -> dict[str, object]:
    """The query of a list: times in ISO 8601, entries of metadata as `key=value`."""
    found: dict[str, object] = {}
    for name, value in filters.items():
        if isinstance(value, datetime):
            found[name] = value.isoformat()
        elif isinstance(value, Mapping):
            found[name] = [f"{key}={entry}" for key, entry in value.items()]
        elif value is not None:
            found[name] = value
    return found


def _query(values: Mapping[str, object]) -> str:
    try:
        return urlencode(values, doseq=True)
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise ValueError(f"an argument cannot be sent: {error}") from error


def _data_of(image: ImageSource) -> bytes:
    if isinstance(image, str | OnServer):
        raise ValueError(f"only bytes, files and images of Pillow or numpy are uploaded, got {image!r}")
    return bytes_of(image)


def _request_id() -> dict[str, str]:
    return {REQUEST_ID: uuid.uuid4().hex}


def _path_of(job_id: str) -> str:
    if not _JOB_ID.fullmatch(job_id):
        raise ValueError(f"a job id is 1 to 64 letters, digits, '_' or '-', got {job_id!r}")
    return f"/v1/jobs/{job_id}"
