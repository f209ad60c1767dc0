"""The one way to the files of a model that are not on this machine, for the command and for the workers."""

from __future__ import annotations

from models.catalog.catalog import ModelSpec
from models.downloads.hub import fetch_repository
from models.downloads.links import fetch_link
from models.downloads.on_disk import is_on_disk
from models.downloads.progress import Progress
from models.downloads.space import failures_named


def is_remote(spec: ModelSpec) -> bool:
    """Whether the model's files can be downloaded: it is in a repository, or has a URL."""
    return spec.repository is not None or spec.url is not None


def download(spec: ModelSpec, progress: Progress) -> None:
    """Bring all files of ``spec`` to this machine, unless they are there.

    Raises:
        DownloadFailed: the message says why, and what to do.
    """
    if is_on_disk(spec):
        return
    with failures_named(f"model {spec.name!r}"):
        if spec.repository is not None:
            fetch_repository(spec, progress)
        elif spec.url is not None and spec.file is not None:
            fetch_link(spec, progress)
