"""Two processes: one behind the walls that runs tools, and above it one that ends it when the worker is gone.

The supervisor has nothing to do but to wait, so that no tool, however long it holds Python's lock, keeps it from ending
the other process and all that was started from there.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress

from workers.agent.tool_server import kernel

_ASKED_EVERY_MS = 200
_LOST = 70
"""The exit code when the other process was ended by a signal."""


def become_supervised(process: int) -> None:
    """Fork: returns in the new process, the first one of its namespace if there is one.

    The old process waits. It ends with the exit code of the new one, or when standard input is closed at its other end.

    Args:
        process: ``/proc/self``, open.
    """
    with suppress(OSError):
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)  # what loses its parent becomes a child of this process
    supervisor, children = os.getpid(), _children_file(process)
    child = os.fork()
    if child:
        os._exit(_supervise(child, children))
    if children is not None:
        os.close(children)
    with suppress(OSError):
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    if os.getppid() not in (supervisor, 0):  # it has ended in between; outside a namespace it has the number 0
        os._exit(_LOST)


def _supervise(child: int, children: int | None) -> int:
    closed = select.poll()
    closed.register(0, 0)  # the end of a pipe is told of without being asked for
    while True:
        if closed.poll(_ASKED_EVERY_MS):
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
    _end_orphans(children)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else _LOST


def _end_orphans(children: int | None) -> None:
    """Without a process namespace, processes of a cell may outlive the server; they are children of this one then."""
    while True:
        if children is not None:
            for number in os.pread(children, 1 << 16, 0).split():
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(int(number), signal.SIGKILL)
        try:
            os.waitpid(-1, 0 if children is not None else os.WNOHANG)
        except ChildProcessError:
            return
        if children is None:
            return


def _children_file(process: int) -> int | None:
    """An open file with the children of this thread, where the kernel has one."""
    try:
        return os.open(f"task/{os.getpid()}/children", os.O_RDONLY | os.O_CLOEXEC, dir_fd=process)
    except OSError:
        return None
