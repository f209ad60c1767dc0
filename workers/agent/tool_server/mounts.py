"""A file system of its own for the tool server: an empty one, with only the given places of the machine in it."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from workers.agent.tool_server.kernel import MACHINE, mount, syscall, unmount

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_CLONE_TREE, _CLOSE_ON_EXEC, _EMPTY_PATH, _RECURSIVE = 1, os.O_CLOEXEC, 0x1000, 0x8000
_MOVE_FROM_EMPTY_PATH = 0x4
_READ_ONLY, _NO_SUID, _NO_DEVICES = 0x1, 0x2, 0x4
_MS_RECURSIVE_PRIVATE = 0x4000 | 0x40000
_DETACH = 2
_HERE = -100  # AT_FDCWD
_NEW_ROOTS = ("/tmp", "/mnt", "/var", "/srv")
"""Where the new file system lies until it is the root: any folder does."""


@dataclass(frozen=True)
class Place:
    """A file or folder that stays visible under its path."""

    path: str
    is_writable: bool = False
    is_device: bool = False


def enter_own_root(places: Sequence[Place]) -> None:
    """Make ``places`` all that there is, in a mount namespace that this process has to itself already.

    Raises:
        OSError: the kernel or the container does not allow it. Then the root is still the old one.
    """
    mount("none", "/", None, _MS_RECURSIVE_PRIVATE)
    new_root = next(path for path in _NEW_ROOTS if os.path.isdir(path))
    with ExitStack() as opened:
        trees = [(path, place, _tree(path, opened)) for place in places for path in _paths(place.path)]
        mount("none", new_root, "tmpfs", _NO_SUID | _NO_DEVICES, "mode=755,size=1m")
        try:
            for path, place, tree in sorted(trees, key=lambda each: each[0].count("/")):
                _attach(tree, place, new_root + path)
            os.chdir(new_root)
            syscall(_PIVOT_ROOT[MACHINE], _text("."), _text("."))
        except OSError:
            unmount(new_root, _DETACH)
            raise
    unmount(".", _DETACH)
    os.chdir("/")
    _set_attributes(_HERE, "/", 0, _READ_ONLY)


def _paths(path: str) -> set[str]:
    """The path as it is written and as it is without links: programs use either."""
    return {path, os.path.realpath(path)} if os.path.exists(path) else set()


def _tree(path: str, opened: ExitStack) -> int:
    """A copy of the mounts at ``path``, as a descriptor."""
    tree = syscall(_OPEN_TREE, _HERE, _text(path), _CLONE_TREE | _CLOSE_ON_EXEC | _RECURSIVE)
    opened.callback(os.close, tree)
    return tree


def _attach(tree: int, place: Place, target: str) -> None:
    if Path(target).exists():  # it lies in a folder that is there already
        if not place.is_writable:
            return
    elif os.path.isdir(f"/proc/self/fd/{tree}"):
        Path(target).mkdir(mode=0o755, parents=True)
    else:
        Path(target).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        Path(target).touch(mode=0o644)
    flags = _NO_SUID | (0 if place.is_device else _NO_DEVICES) | (0 if place.is_writable else _READ_ONLY)
    _set_attributes(tree, "", _EMPTY_PATH | _RECURSIVE, flags)
    syscall(_MOVE_MOUNT, tree, _text(""), _HERE, _text(target), _MOVE_FROM_EMPTY_PATH)


def _set_attributes(folder: int, path: str, how: int, attributes: int) -> None:
    document = ctypes.create_string_buffer(struct.pack("=QQQQ", attributes, 0, 0, 0), 32)
    syscall(_MOUNT_SETATTR, folder, _text(path), how, document, 32)


def _text(text: str) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(text.encode())
