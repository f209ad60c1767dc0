"""A workspace folder that someone else may write to as well: no link is followed, and nothing but plain files is read.

Each part of a name is opened below the folder above it (``openat`` with ``O_NOFOLLOW``), so that whoever exchanges a
folder for a link in between leads nobody out. The worker and the tool server both use it.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from models.errors import quoted
from workers.agent.tool_server.errors import Refused
from workers.agent.tool_server.names import check_name, is_valid_name
from workers.agent.tool_server.settings import FolderLimits

ENTRIES_MAX = 20_000
"""Where there are more files and folders, nobody lists them."""
_DEPTH_MAX = 16
_AS_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_AS_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_AS_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """A file in a workspace."""

    name: str
    size_bytes: int
    changed: tuple[int, int]
    """Inode and time of the last change, in nanoseconds: different after every write."""


class Folder:
    """A workspace.

    Args:
        path: an existing folder; no link.
    """

    def __init__(self, path: str | Path, limits: FolderLimits) -> None:
        self.limits = limits
        self.descriptor = os.open(path, _AS_FOLDER)

    def close(self) -> None:
        """Close the folder; it stays where it is."""
        os.close(self.descriptor)

    def entries(self) -> list[Entry]:
        """All plain files with valid names, sorted by name.

        Raises:
            Refused: there are too many to list them.
        """
        return sorted(self._walk(self.descriptor, "", [ENTRIES_MAX]), key=lambda entry: entry.name)

    def _walk(self, folder: int, prefix: str, left: list[int]) -> Iterator[Entry]:
        for item in _items(folder, left):
            if not is_valid_name(prefix + item.name):
                continue
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):  # gone meanwhile, or a link now
                if item.is_dir(follow_symlinks=False):
                    with _opened(item.name, _AS_FOLDER, folder) as below:
                        yield from self._walk(below, f"{prefix}{item.name}/", left)
                elif item.is_file(follow_symlinks=False):
                    found = item.stat(follow_symlinks=False)
                    yield Entry(prefix + item.name, found.st_size, (found.st_ino, found.st_mtime_ns))

    def read(self, name: str, max_bytes: int | None = None) -> bytes:
        """The content of a file.

        Args:
            max_bytes: where it is longer, only its start.

        Raises:
            Refused: there is no such plain file, or it is larger than a file may be.
        """
        *folders, last = check_name(name)
        with self._below(folders, name) as folder, _found(name), _opened(last, _AS_FILE, folder) as descriptor:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise Refused(f"{quoted(name)} is not a file")
            if max_bytes is None and found.st_size > self.limits.file_bytes:
                raise Refused(f"{quoted(name)} is larger than {self.limits.file_bytes} bytes")
            with os.fdopen(descriptor, "rb", closefd=False) as opened:
                return opened.read(self.limits.file_bytes if max_bytes is None else max_bytes)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, in place of one that has the name; folders are made as needed.

        Raises:
            Refused: the name is not valid, or the workspace would hold too much.
        """
        *folders, last = check_name(name)
        self._require_room(name, len(data))
        with self._below(folders, name, make=True) as folder, _found(name):
            new = f".new-{secrets.token_hex(8)}"
            try:
                with _opened(new, _AS_NEW, folder) as descriptor, os.fdopen(descriptor, "wb", closefd=False) as file:
                    self._give(descriptor)
                    file.write(data)
                os.replace(new, last, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                with suppress(FileNotFoundError):
                    os.unlink(new, dir_fd=folder)
                raise

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that are empty then.

        Raises:
            Refused: there is no such file.
        """
        *folders, last = check_name(name)
        with self._below(folders, name) as folder, _found(name):
            os.unlink(last, dir_fd=folder)
        for depth in range(len(folders), 0, -1):
            with suppress(OSError, Refused), self._below(folders[: depth - 1], name) as above:
                os.rmdir(folders[depth - 1], dir_fd=above)

    def tidy(self, kept: Sequence[Entry] | None = None) -> list[str]:
        """Remove all that is no plain file with a valid name; returns some of the names.

        Args:
            kept: if given, files are removed too that are not exactly these.
        """
        removed: list[str] = []
        self._tidy(self.descriptor, "", None if kept is None else set(kept), removed)
        return removed

    def _tidy(self, folder: int, prefix: str, kept: set[Entry] | None, removed: list[str]) -> None:
        with os.scandir(folder) as items:
            for item in items:
                name = prefix + item.name
                if item.is_dir(follow_symlinks=False):
                    self._tidy_folder(folder, item.name, prefix, kept, removed)
                elif not item.is_file(follow_symlinks=False) or not is_valid_name(name) or _is_other(item, name, kept):
                    os.unlink(item.name, dir_fd=folder)
                    removed.append(name)

    def _tidy_folder(self, above: int, own_name: str, prefix: str, kept: set[Entry] | None, removed: list[str]) -> None:
        name = prefix + own_name
        if not is_valid_name(name):
            self._remove_folder(above, own_name)
            removed.append(name)
            return
        os.chmod(own_name, stat.S_IRWXU, dir_fd=above)
        with _opened(own_name, _AS_FOLDER, above) as below:
            self._tidy(below, f"{name}/", kept, removed)
        with suppress(OSError):  # it holds files that are kept
            os.rmdir(own_name, dir_fd=above)

    def _remove_folder(self, above: int, own_name: str) -> None:
        """Remove a folder however deep it is: the folders in it are moved to the top first, and removed there."""
        left = [(above, own_name)]
        while left:
            place, name = left.pop()
            os.chmod(name, stat.S_IRWXU, dir_fd=place)
            with _opened(name, _AS_FOLDER, place) as folder, os.scandir(folder) as items:
                for item in items:
                    if item.is_dir(follow_symlinks=False):
                        moved = f".gone-{secrets.token_hex(8)}"
                        os.chmod(item.name, stat.S_IRWXU, dir_fd=folder)
                        os.rename(item.name, moved, src_dir_fd=folder, dst_dir_fd=self.descriptor)
                        left.append((self.descriptor, moved))
                    else:
                        os.unlink(item.name, dir_fd=folder)
            os.rmdir(name, dir_fd=place)

    def give_to(self, user: int) -> None:
        """Make ``user``, and the group of the same number, the owner of the folder and of all that is in it."""
        self.tidy()
        for _, folders, files, descriptor in os.fwalk(".", dir_fd=self.descriptor):
            os.fchown(descriptor, user, user)
            for name in (*folders, *files):
                os.chown(name, user, user, dir_fd=descriptor, follow_symlinks=False)

    def usage(self) -> tuple[int, int]:
        """How many files and folders there are, whatever their names, and how many bytes they take.

        Raises:
            Refused: there are too many to count them, or folders lie too deep.
        """
        return self._usage(self.descriptor, [ENTRIES_MAX], _DEPTH_MAX)

    def _usage(self, folder: int, left: list[int], depth: int) -> tuple[int, int]:
        if depth == 0:
            raise Refused("folders lie too deep in the workspace")
        count, size_bytes = 0, 0
        for item in _items(folder, left):
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                count += 1
                size_bytes += item.stat(follow_symlinks=False).st_size
                if item.is_dir(follow_symlinks=False):
                    with _opened(item.name, _AS_FOLDER, folder) as below:
                        below_count, below_bytes = self._usage(below, left, depth - 1)
                    count, size_bytes = count + below_count, size_bytes + below_bytes
        return count, size_bytes

    def _require_room(self, name: str, size_bytes: int) -> None:
        limits = self.limits
        if size_bytes > limits.file_bytes:
            raise Refused(f"{quoted(name)} would be larger than {limits.file_bytes} bytes, the limit for a file")
        others = [entry for entry in self.entries() if entry.name != name]
        if len(others) >= limits.files:
            raise Refused(f"the workspace holds {limits.files} files, the limit; delete some that are not needed")
        if sum(entry.size_bytes for entry in others) + size_bytes > limits.total_bytes:
            raise Refused(
                f"the workspace would hold more than {limits.total_bytes} bytes, the limit; delete some files"
            )

    @contextmanager
    def _below(self, folders: Sequence[str], name: str, make: bool = False) -> Iterator[int]:
        descriptor = os.dup(self.descriptor)
        try:
            for part in folders:
                with _found(name):
                    if make:
                        self._make(part, descriptor)
                    below = os.open(part, _AS_FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = below
            yield descriptor
        finally:
            os.close(descriptor)

    def _make(self, part: str, above: int) -> None:
        with suppress(FileExistsError):
            os.mkdir(part, 0o755, dir_fd=above)
            with _opened(part, _AS_FOLDER, above) as made:
                self._give(made)

    def _give(self, descriptor: int) -> None:
        """Give a new file or folder to the owner of the workspace, where that is the unprivileged user of a server."""
        if os.geteuid() == 0:
            owner = os.fstat(self.descriptor)
            os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _items(folder: int, left: list[int]) -> list[os.DirEntry[str]]:
    found = []
    with os.scandir(folder) as items:
        for item in items:
            left[0] -= 1
            if left[0] < 0:
                raise Refused(f"the workspace holds more than {ENTRIES_MAX} files and folders")
            found.append(item)
    return found


def _is_other(item: os.DirEntry[str], name: str, kept: set[Entry] | None) -> bool:
    if kept is None:
        return False
    found = item.stat(follow_symlinks=False)
    return Entry(name, found.st_size, (found.st_ino, found.st_mtime_ns)) not in kept


@contextmanager
def _opened(name: str, flags: int, folder: int) -> Iterator[int]:
    descriptor = os.open(name, flags, 0o644, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _found(name: str) -> Iterator[None]:
    """What the system says of ``name``, as a refusal."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refused(f"there is no file {quoted(name)}; list_files tells which there are") from error
    except (NotADirectoryError, IsADirectoryError, OSError) as error:
        raise Refused(_told(name, error)) from error


def _told(name: str, error: OSError) -> str:
    if isinstance(error, IsADirectoryError):
        return f"{quoted(name)} is a folder"
    if isinstance(error, NotADirectoryError):
        return f"a part of {quoted(name)} is a file or a link, not a folder"
    reason = (error.strerror or "the system refuses it").lower()
    return f"{quoted(name)} cannot be used: {reason}"
