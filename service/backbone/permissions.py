"""The permissions of the data folder: nobody but its owner may read prompts, images, uploads and hashes of API keys."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from service.backbone.files import GROUP_READABLE, PRIVATE, Modes
from service.backbone.settings import Settings

log = logging.getLogger(__name__)

_OTHERS = 0o077
"""The permissions of the group and of everybody else."""
_PASSABLE = 0o710
"""The permissions of the data folder if the group may read the images within it."""


def restrict_umask() -> None:
    """Let this process and its children make files that only their owner can read."""
    os.umask(0o077)


def image_modes(settings: Settings) -> Modes:
    """The permissions of generated images."""
    return GROUP_READABLE if settings.group_reads_images else PRIVATE


def tighten(settings: Settings) -> None:
    """Take from others what an earlier version, or an older umask, let them read in the data folder.

    Folders of models beside the catalog stay as they are. What belongs to another user, and a folder that everybody may
    write, such as ``/tmp``, is left alone with a warning. The files of a folder are looked at only if the folder itself
    could be read.
    """
    data, is_shared = settings.data.resolve(), settings.group_reads_images
    changed = int(_set(data, _PASSABLE if is_shared else PRIVATE.folder, adds=is_shared))
    changed += sum(_set(path, PRIVATE.file) for path in data.iterdir() if path.is_file())
    for folder in (settings.inputs_folder, settings.files_folder, settings.provenance_folder, data / "valkey"):
        changed += _set_tree(folder.resolve(), PRIVATE)
    changed += _set_tree(settings.images_folder.resolve(), image_modes(settings), adds=is_shared)
    if changed:
        log.warning("changed the permissions of %d files and folders in %s: they are private now", changed, data)


def _set_tree(folder: Path, modes: Modes, *, adds: bool = False) -> int:
    changed = 0
    for path, _, files in os.walk(folder):
        if _set(Path(path), modes.folder, adds=adds):
            changed += 1 + sum(_set(Path(path, name), modes.file, adds=adds) for name in files)
    return changed


def _set(path: Path, mode: int, *, adds: bool = False) -> bool:
    """Remove what ``mode`` does not grant to group and others, with ``adds`` grant what it does; whether that changed.

    Links are left alone.
    """
    try:
        status = path.lstat()
        found = stat.S_IMODE(status.st_mode)
        wanted = found & ~_OTHERS | mode & _OTHERS & (_OTHERS if adds else found)
        if wanted == found or stat.S_ISLNK(status.st_mode):
            return False
        if status.st_uid != os.geteuid() or found & stat.S_ISVTX:
            log.warning("%s belongs to other users too, and its permissions stay as they are", path)
            return False
        path.chmod(wanted)
    except OSError as error:
        log.warning("the permissions of %s cannot be changed: %s", path, error)
        return False
    return True
