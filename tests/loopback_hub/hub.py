"""The server: the hub's HTTP API as far as its client uses it, Civitai's, and plain files under ``/files/``.

The hub's API: https://huggingface.co/docs/hub/api and the client's own requests; the errors are told by the headers
``X-Error-Code`` and ``X-Error-Message``, as the hub does.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.loopback_hub.content import Faults, git_id, send_bytes, sha256

TOKEN = "hf_loopback"
"""The token of an account with access to gated repositories."""
STRANGER = "hf_stranger"
"""The token of an account without."""
CIVITAI_TOKEN = "civitai_loopback"
_LARGE = ".safetensors"


@dataclass
class Repository:
    """A repository of the hub at its one commit."""

    name: str
    files: dict[str, bytes]
    is_gated: bool = False
    is_private: bool = False
    licence: str | None = "mit"
    commit: str = field(init=False)

    def __post_init__(self) -> None:
        listed = "".join(f"{name} {git_id(content)}\n" for name, content in sorted(self.files.items()))
        self.commit = hashlib.sha1(listed.encode()).hexdigest()


@dataclass
class CivitaiFile:
    """A file of one version of a model of Civitai; the checksum is that of the file unless it is given."""

    content: bytes
    name: str
    kind: str = "Checkpoint"
    needs_token: bool = False
    sha256: str | None = None


class LoopbackHub:
    """What the server has, which faults it makes, and which requests it got."""

    def __init__(self, url: str) -> None:
        self.url, self.faults = url, Faults()
        self.repositories: dict[str, Repository] = {}
        self.files_url = url.replace("127.0.0.1", "localhost") + "/files"
        """Under another host name, so that plain files do not pass for Civitai's."""
        self.files: dict[str, bytes] = {}
        """Plain files, by their name under :attr:`files_url`."""
        self.civitai: dict[int, CivitaiFile] = {}
        """By the id of the model's version; the model has ten times its id."""
        self.requests: list[tuple[str, str, str | None]] = []
        """Method, path, and the ``Range`` that was asked for."""

    def add(self, name: str, folder: Path, **facts: Any) -> Repository:
        """Put the files of ``folder`` into a repository."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.repositories[name] = Repository(name, files, **facts)
        return self.repositories[name]

    def environment(self, cache: Path) -> dict[str, str]:
        """The variables with which another process uses this server, and ``cache`` as the cache of the hub's client."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(cache), "CIVITAI_ENDPOINT": self.url}

    def downloaded(self) -> list[str]:
        """The paths of the files whose contents were asked for."""
        return [path for method, path, _ in self.requests if method == "GET" and "/resolve/" in path]


@contextmanager
def serving_hub(port: int = 0) -> Iterator[LoopbackHub]:
    """Serve an empty hub on a port of the loopback; 0 is any free one."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    hub = _Handler.hub_of[server] = LoopbackHub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        del _Handler.hub_of[server]


class _Handler(BaseHTTPRequestHandler):
    hub_of: dict[Any, LoopbackHub] = {}  # noqa: RUF012 - by server, since the server makes the handlers
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:
        return

    @property
    def hub(self) -> LoopbackHub:
        return self.hub_of[self.server]

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        try:
            self._route(path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _route(self, path: str) -> None:
        routes = (
            (r"/api/models/([^/]+/[^/]+)(?:/revision/([^/]+))?", self._model_info),
            (r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", self._tree),
            (r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", self._resolve),
            (r"/files/(.+)", self._file),
            (r"/api/v1/model-versions/(\d+)", self._civitai_version),
            (r"/api/v1/models/(\d+)", self._civitai_model),
            (r"/api/download/models/(\d+)", self._civitai_file),
        )
        for pattern, answer in routes:
            if found := re.fullmatch(pattern, path):
                return answer(*found.groups())
        self._refuse(404, "there is no such page")

    # The hub

    def _repository(self, name: str, revision: str | None, *, reads_files: bool) -> Repository | None:
        """The repository, or ``None`` after an answer why this request does not get it."""
        repository, token = self.hub.repositories.get(name), self._token()
        if token not in (None, TOKEN, STRANGER):
            self._refuse(401, "Invalid credentials in Authorization header")
        elif repository is None or (repository.is_private and token != TOKEN):
            self._refuse(401 if token is None else 404, "Repository not found", "RepoNotFound")
        elif revision not in (None, "main", repository.commit):
            self._refuse(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        elif reads_files and repository.is_gated and token != TOKEN:
            self._refuse(401 if token is None else 403, f"Access to model {name} is restricted.", "GatedRepo")
        else:
            return repository
        return None

    def _model_info(self, name: str, revision: str | None) -> None:
        repository = self._repository(name, revision, reads_files=False)
        if repository is None:
            return
        siblings = [{"rfilename": path, **_facts(path, content)} for path, content in repository.files.items()]
        card = {} if repository.licence is None else {"license": repository.licence}
        self._json(
            {"id": name, "modelId": name, "sha": repository.commit, "private": repository.is_private, "tags": [],
             "gated": "auto" if repository.is_gated else False, "siblings": siblings, "cardData": card}
        )  # fmt: skip

    def _tree(self, name: str, revision: str) -> None:
        repository = self._repository(name, revision, reads_files=False)
        if repository is not None:
            facts = ((path, _facts(path, content)) for path, content in repository.files.items())
            self._json([
                {"type": "file", "path": path, "size": fact["size"], "oid": fact["blobId"],
                 **({"lfs": {**fact["lfs"], "oid": fact["lfs"]["sha256"]}} if "lfs" in fact else {})}
                for path, fact in facts
            ])  # fmt: skip

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._repository(name, revision, reads_files=True)
        if repository is None:
            return
        content = repository.files.get(path)
        if content is None:
            self._refuse(404, "Entry not found", "EntryNotFound")
            return
        is_large = path.endswith(_LARGE)
        etag = sha256(content) if is_large else git_id(content)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": repository.commit, "X-Linked-Size": str(len(content)),
                   "X-Linked-Etag": f'"{etag}"'}  # fmt: skip
        faults = self.hub.faults if is_large else None
        send_bytes(self, content, headers, faults, has_body=self.command == "GET")

    def _token(self) -> str | None:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") or None

    # Civitai and plain files

    def _file(self, name: str) -> None:
        content = self.hub.files.get(name)
        if content is None:
            self._refuse(404, "there is no such file")
        else:
            send_bytes(self, content, {"ETag": f'"{git_id(content)}"'}, self.hub.faults)

    def _civitai_version(self, version: str) -> None:
        found = self.hub.civitai.get(int(version))
        if found is None:
            self._refuse(404, "no such version")
        else:
            self._json(_version(self.hub.url, int(version), found) | {"model": {"name": "m", "type": found.kind}})

    def _civitai_model(self, model: str) -> None:
        version, rest = divmod(int(model), 10)
        found = self.hub.civitai.get(version)
        if found is None or rest:
            self._refuse(404, "no such model")
        else:
            self._json(
                {"id": int(model), "type": found.kind, "modelVersions": [_version(self.hub.url, version, found)]}
            )

    def _civitai_file(self, version: str) -> None:
        found = self.hub.civitai.get(int(version))
        if found is None:
            self._refuse(404, "no such file")
        elif found.needs_token and self._token() != CIVITAI_TOKEN:
            self._refuse(401, "The creator of this asset requires you to be logged in to download it")
        else:
            send_bytes(self, found.content, {"ETag": f'"{git_id(found.content)}"'}, self.hub.faults)

    # Answers

    def _json(self, document: object) -> None:
        send_bytes(self, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, message: str, code: str | None = None) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        headers = {"X-Error-Message": message, "Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in (headers | ({} if code is None else {"X-Error-Code": code})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _facts(path: str, content: bytes) -> dict[str, Any]:
    """Size and ids of a file; of a file that is stored as a large one, the checksum too."""
    facts: dict[str, Any] = {"size": len(content), "blobId": git_id(content)}
    if path.endswith(_LARGE):
        facts["lfs"] = {"size": len(content), "sha256": sha256(content), "pointerSize": 134}
    return facts


def _version(url: str, version: int, found: CivitaiFile) -> dict[str, Any]:
    pickle = {"name": "model.ckpt", "type": "Model", "primary": True, "hashes": {}, "downloadUrl": f"{url}/none"}
    download = f"{url}/api/download/models/{version}"
    weights = {"name": found.name, "type": "Model", "downloadUrl": download,
               "hashes": {"SHA256": (found.sha256 or sha256(found.content)).upper()}}  # fmt: skip
    return {"id": version, "name": "v1", "files": [pickle, weights]}
