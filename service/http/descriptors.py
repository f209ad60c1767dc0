"""The process's limit of file descriptors, of which each connection takes one."""

from __future__ import annotations

import resource

_RESERVED = 128
"""For connections to Redis, and files that are read and written; a quarter of the limit if that is more."""


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard limit; returns the limit that holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == hard:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # some systems have a hard limit that no process may use
        return soft
    return hard


def connections_for(descriptors: int, wanted: int) -> int:
    """How many connections, at most ``wanted``, a process with a limit of ``descriptors`` may keep open; at least 1."""
    if descriptors == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, descriptors - max(_RESERVED, descriptors // 4)))
