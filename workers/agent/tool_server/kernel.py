"""Calls of the Linux kernel that Python has no function for; each raises ``OSError`` with what the kernel says."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

IS_LINUX = os.uname().sysname == "Linux"
MACHINE = platform.machine()

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


def syscall(number: int, *arguments: object) -> int:
    """The system call ``number``, whose arguments are numbers, bytes, pointers or ``None``."""
    _require_linux()
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *wide))


def prctl(option: int, first: object = 0, second: object = 0) -> int:
    """``prctl`` with two arguments; the others are 0."""
    _require_linux()
    wide = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in (first, second, 0, 0)]
    return _checked(_libc.prctl(option, *wide))


def unshare(flags: int) -> None:
    """Move this process to new namespaces; ``CLONE_NEWPID`` holds for its children."""
    _require_linux()
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """``mount``."""
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    _checked(_libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]))


def unmount(target: str, flags: int) -> None:
    """``umount2``."""
    _checked(_libc.umount2(target.encode(), flags))


def drop_capabilities() -> None:
    """Give up all capabilities of this thread, and those that a program could get by its file."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError:  # the kernel has no such capability, or this process may not drop any
            break
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, (ctypes.c_uint32 * 6)()))


def has_capabilities() -> bool:
    """Whether this thread has any capability, as the kernel says."""
    header, sets = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)()
    _checked(_libc.capget(header, sets))
    return any(sets)


def _require_linux() -> None:
    if not IS_LINUX:
        raise OSError(errno.ENOSYS, "only Linux has it")


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
