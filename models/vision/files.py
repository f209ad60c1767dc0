"""Where the files of a vision model lie on this machine, and how they come here from the model hub."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from models.catalog.vision import CONFIG, WEIGHTS, VisionSpec
from models.downloads.hub import fetch_files, look_up
from models.downloads.progress import Progress
from models.downloads.space import failures_named
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
    """Bring the files of the model's repository into the cache of the hub's client; what was begun is resumed.

    Raises:
        DownloadFailed: the message says why, and what to do.
    """
    assert spec.repository is not None
    with failures_named(f"vision model {spec.name!r}"):
        found = look_up(spec.repository, spec.revision)
        missing = {CONFIG, WEIGHTS} - {file.name for file in found.files}
        if missing:
            raise DownloadFailed(f"{spec.repository} is no model of timm: it has no {' and no '.join(sorted(missing))}")
        fetch_files(found, {CONFIG, WEIGHTS}, progress)
