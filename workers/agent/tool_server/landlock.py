"""Landlock: which files this process and all that it starts may read, run and write, whatever user it is.

The kernel's ``Documentation/userspace-api/landlock.rst`` has the interface. Rights that an older kernel does not know
are left out of what is asked of it.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from contextlib import suppress

from workers.agent.tool_server.kernel import syscall

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_BELOW_PATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
REFER, TRUNCATE, IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
READ = READ_FILE | READ_DIR
WORK = READ | WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE_DIR | MAKE_REG | REFER | TRUNCATE
"""All that a tool does in the workspace; links, devices, pipes and sockets are not made there."""
_OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_RIGHTS_BY_VERSION = {1: 1 << 13, 2: 1 << 14, 3: 1 << 15, 4: 1 << 15}
_NETWORK_RIGHTS, _SCOPES = 0b11, 0b11
"""To bind and to connect TCP; to connect to abstract sockets outside and to signal processes outside."""


def version() -> int:
    """The version of the interface that the kernel has.

    Raises:
        OSError: it has none, or Landlock is off.
    """
    return syscall(_CREATE, None, 0, _ASK_VERSION)


def restrict(rules: Iterable[tuple[str | int, int]]) -> None:
    """Allow only what ``rules`` say from now on, each a path or an open descriptor and the rights below it.

    Raises:
        OSError: the kernel has no Landlock.
    """
    known = version()
    handled = _RIGHTS_BY_VERSION.get(known, 1 << 16) - 1
    attributes = struct.pack("=QQQ", handled, _NETWORK_RIGHTS if known >= 4 else 0, _SCOPES if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = syscall(_CREATE, ctypes.create_string_buffer(attributes), size, 0)
    try:
        for place, rights in rules:
            with suppress(FileNotFoundError):
                _allow(ruleset, place, rights & handled)
        syscall(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, place: str | int, rights: int) -> None:
    descriptor = os.dup(place) if isinstance(place, int) else os.open(place, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            rights &= _OF_FILES
        rule = struct.pack("=Qi", rights, descriptor)
        syscall(_ADD_RULE, ruleset, _BELOW_PATH, ctypes.create_string_buffer(rule), 0)
    finally:
        os.close(descriptor)
