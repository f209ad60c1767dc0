"""Where the files of a vision model lie on this machine, and how they come here from the model hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import snapshot_download, try_to_load_from_cache
from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

from models.catalog.vision import CONFIG, WEIGHTS, VisionSpec
from models.downloads.hub import look_up
from models.downloads.progress import Progress
from models.errors import DownloadFailed


def folder_of(spec: VisionSpec) -> Path | None:
    """The folder in timm's layout; ``None`` if the model is a file, or its repository is not downloaded."""
    if spec.repository is None:
        return spec.folder
    found = [try_to_load_from_cache(spec.repository, name, revision=spec.revision) for name in (CONFIG, WEIGHTS)]
    return Path(str(found[0])).parent if all(isinstance(each, str) for each in found) else None


def is_on_disk(spec: VisionSpec) -> bool:
    """Whether the model can be loaded without a download."""
    return spec.repository is None or folder_of(spec) is not None


def download(spec: VisionSpec, progress: Progress) -> None:
    """Bring the files of the model's repository into the cache of the hub's client.

    Raises:
        DownloadFailed: the message says why.
    """
    assert spec.repository is not None
    try:
        found = look_up(spec.repository, spec.revision)
        wanted = [file for file in found.files if file.name in (CONFIG, WEIGHTS)]
        if len(wanted) < 2:
            raise DownloadFailed(f"{spec.repository} is no model of timm: it needs {CONFIG} and {WEIGHTS}")
        progress.total_bytes = sum(file.size_bytes for file in wanted)
        disable_progress_bars()
        snapshot_download(spec.repository, revision=found.commit, allow_patterns=[CONFIG, WEIGHTS])
        progress.done_bytes = progress.total_bytes
    except DownloadFailed as error:
        message = f"vision model {spec.name!r} cannot be downloaded: {error}"
        raise DownloadFailed(message, detail=error.detail) from error
    except Exception as error:  # the hub's client also raises the errors of its transport
        message = f"vision model {spec.name!r} cannot be downloaded"
        raise DownloadFailed(message, detail=f"{type(error).__name__}: {error}") from error
