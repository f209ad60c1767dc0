"""Repositories of the model hub: looked up, and brought into the usual cache of the hub's client.

The client's own download begins a file anew after every failure. Large files therefore come by
:mod:`models.downloads.transfer` into the place in the cache where the client looks for them
(https://huggingface.co/docs/huggingface_hub/guides/manage-cache), and the client brings the rest and links all files.
``HF_TOKEN``, ``HF_ENDPOINT``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` are the client's variables.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, disable_progress_bars  # type: ignore[attr-defined]

from models.catalog.catalog import ModelSpec
from models.catalog.pipelines import INDEX, index_in
from models.downloads.network import why_failed
from models.downloads.notes import noted, repository_folder
from models.downloads.parts import needed_files
from models.downloads.progress import Progress
from models.downloads.space import DISK_PROBLEMS, require_space
from models.downloads.transfer import Refused, RemoteFile, bytes_had, transfer
from models.errors import DownloadFailed, ModelUnavailable

_log = logging.getLogger(__name__)
Noting = Callable[[Sequence[tuple[RemoteFile, Path]], int | None, int], AbstractContextManager[None]]


@dataclass(frozen=True)
class HubFile:
    """A file of a repository."""

    name: str
    size_bytes: int
    sha256: str | None
    """Of large files, which the hub stores under their checksum; ``None`` for the others."""


@dataclass(frozen=True)
class Repository:
    """A repository at one commit."""

    name: str
    revision: str
    """As it was asked for: a commit, tag or branch."""
    commit: str
    licence: str
    files: Sequence[HubFile]


def look_up(name: str, revision: str | None = None) -> Repository:
    """Ask the hub for a repository.

    Raises:
        DownloadFailed: the hub does not answer, or has no such repository or revision.
    """
    with _in_words(name, revision):
        info = HfApi().model_info(name, revision=revision, files_metadata=True)
    files = [
        HubFile(each.rfilename, each.size or 0, None if each.lfs is None else each.lfs.sha256)
        for each in info.siblings or ()
    ]
    card = info.card_data
    licence = "" if card is None else card.get("license") or ""
    return Repository(name, revision or "main", info.sha or "", str(licence), files)


def index_of(repository: Repository) -> Mapping[str, Any]:
    """The ``model_index.json`` of a repository, which is downloaded.

    Raises:
        DownloadFailed: it has none, or access to the repository is not granted.
        ModelUnavailable: it is no JSON object.
    """
    with _in_words(repository.name, repository.revision):
        path = _brought(repository, INDEX)
    return index_in(path.parent)


def fetch_repository(spec: ModelSpec, progress: Progress) -> None:
    """Bring the files that are needed of the model's repository into the cache of the hub's client.

    See :func:`needed_files`.

    Raises:
        DownloadFailed: the message says what to do.
        OSError: the cache cannot be written.
    """
    assert spec.repository is not None
    repository = look_up(spec.repository, spec.revision)
    fetch_files(repository, _wanted(repository, spec), progress, partial(noted, spec))


def fetch_files(
    repository: Repository, wanted: Collection[str], progress: Progress, noting: Noting = lambda *_: nullcontext()
) -> None:
    """Bring the files called ``wanted`` into the cache of the hub's client; raises as :func:`fetch_repository`.

    Args:
        noting: gives the context in which large files come, from these with their places, the bytes of all files, and
            the bytes of the small ones.
    """
    files = [file for file in repository.files if file.name in wanted]
    large = [(remote, _blob(repository, remote)) for file in files if (remote := _remote(repository, file)) is not None]
    missing = sum((remote.size_bytes or 0) - bytes_had(remote, place) for remote, place in large if not place.exists())
    require_space(Path(constants.HF_HUB_CACHE), missing)
    progress.total_bytes = sum(file.size_bytes for file in files)
    small = [file.name for file in files if file.sha256 is None]
    name, revision = repository.name, repository.revision
    with _in_words(name, revision):
        _bring(repository, small, progress)
        progress.done_bytes = sum(file.size_bytes for file in files if file.sha256 is None)
        with noting(large, progress.total_bytes, progress.done_bytes):
            for remote, place in large:
                transfer(remote, place, progress)
            _bring(repository, wanted, progress)


def _bring(repository: Repository, names: Collection[str], progress: Progress) -> None:
    """Bring files with the hub's client, in this thread.

    ``snapshot_download`` would take threads of its own, which cannot be stopped and hold up the end of the process.
    """
    for name in sorted(names):
        progress.check()
        _brought(repository, name)


def _brought(repository: Repository, name: str) -> Path:
    disable_progress_bars()  # the client's own, beside ours
    warnings.filterwarnings("ignore", "Not enough free disk space", UserWarning)  # the error that follows says it
    try:
        return Path(hf_hub_download(repository.name, name, revision=repository.commit))
    except OSError as error:
        if error.errno in DISK_PROBLEMS and error.filename is None:
            error.filename = constants.HF_HUB_CACHE  # so that the message says which disk is full
        raise


def _wanted(repository: Repository, spec: ModelSpec) -> set[str]:
    index, names = index_of(repository), [file.name for file in repository.files]
    prefers_fp16, with_denoiser = spec.dtype != "float32", spec.denoiser is None
    return set(needed_files(index, names, prefers_fp16=prefers_fp16, with_denoiser=with_denoiser))


def _remote(repository: Repository, file: HubFile) -> RemoteFile | None:
    if file.sha256 is None:
        return None
    url = hf_hub_url(repository.name, file.name, revision=repository.commit)
    return RemoteFile(url=url, size_bytes=file.size_bytes, sha256=file.sha256, headers=build_hf_headers())


def _blob(repository: Repository, remote: RemoteFile) -> Path:
    return repository_folder(repository.name) / "blobs" / str(remote.sha256)


@contextmanager
def _in_words(name: str, revision: str | None) -> Iterator[None]:
    """Raise the block's errors of the hub as :class:`DownloadFailed`, with what to do; the log has the client's words.

    Errors of the disk are raised as they are.
    """
    try:
        yield
    except ModelUnavailable:
        raise
    except Refused as error:
        raise DownloadFailed(_refusal(error.status, error.headers.get("X-Error-Code"), name)) from error
    except (HfHubHTTPError, OfflineModeIsEnabled) as error:
        _log.debug("the model hub, asked for %s: %s", name, error)
        raise DownloadFailed(_reason(error, name, revision)) from error
    except HFValidationError as error:
        raise DownloadFailed(f"{name} is no name of a repository, which is owner/name") from error
    except Exception as error:  # the hub's client also raises the errors of its transport
        if isinstance(error, OSError) and error.errno in DISK_PROBLEMS:
            raise
        _log.debug("the model hub, asked for %s: %s: %s", name, type(error).__name__, error)
        reason = f"the model hub at {constants.ENDPOINT} cannot be reached for {name}: {why_failed(error)}"
        raise DownloadFailed(f"{reason}; HF_ENDPOINT names another one") from error


def _reason(error: HfHubHTTPError | OfflineModeIsEnabled, name: str, revision: str | None) -> str:
    page = f"{constants.ENDPOINT}/{name}"
    match error:
        case OfflineModeIsEnabled():
            return f"{name} is not downloaded, and HF_HUB_OFFLINE forbids downloads"
        case RevisionNotFoundError():
            return f"{name} has no revision {revision!r}; {page}/commits/main lists its commits"
        case RemoteEntryNotFoundError():
            return f"{name} is no diffusers pipeline: it has no {INDEX}"
        case GatedRepoError():
            return _refusal(error.response.status_code, "GatedRepo", name)
        case RepositoryNotFoundError():
            return _refusal(error.response.status_code, "RepoNotFound", name)
    return _refusal(error.response.status_code, None, name)


def _refusal(status: int, code: str | None, name: str) -> str:
    """Why the hub refused, and what to do, from its status and ``X-Error-Code``."""
    page = f"{constants.ENDPOINT}/{name}"
    has_token = "authorization" in build_hf_headers()
    token_page = f"{constants.ENDPOINT}/settings/tokens"
    if code == "GatedRepo":
        token = "with the account of HF_TOKEN" if has_token else f"and set HF_TOKEN to a token from {token_page}"
        return f"{name} is gated: ask for access at {page} {token}"
    if code == "RepoNotFound":
        token = "HF_TOKEN may not read it" if has_token else f"it is private: then set HF_TOKEN ({token_page})"
        return f"there is no repository {name} at {constants.ENDPOINT}, or {token}"
    if status == 401:
        return f"the hub does not accept HF_TOKEN: it is wrong or has expired; {token_page} has new ones"
    if status == 403:
        return f"HF_TOKEN may not read {name}: give it that permission at {token_page}"
    return f"the hub at {constants.ENDPOINT} answered with {status} for {name}; try again later"
