"""The walls around a tool server: each is entered by itself, and what the system does not allow is reported.

A wall that cannot be entered keeps no other one from being entered. :mod:`workers.agent.tool_server.probing` tries
from inside what the walls refuse.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from workers.agent.tool_server import kernel, landlock, seccomp
from workers.agent.tool_server.folder import Folder
from workers.agent.tool_server.mounts import enter_own_root
from workers.agent.tool_server.places import Places, find_places
from workers.agent.tool_server.settings import ToolSettings
from workers.agent.tool_server.supervising import become_supervised

KEPT_VARIABLES = frozenset({
    "PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONDONTWRITEBYTECODE",
})  # fmt: skip
_DESCRIPTORS_MAX = 64
_FIRST_USER = 0x10000000
"""Unprivileged users are numbered from here by the inode of their workspace, beside all that systems assign."""
_NOBODY = 65534
_ELSEWHERE = ("192.0.2.1", 9)
"""An address that nobody has (RFC 5737)."""


@dataclass(frozen=True)
class Wall:
    """Whether a wall holds, and how or why not."""

    holds: bool
    how: str


@dataclass
class Report:
    """All walls by their names, in the order in which they were entered."""

    walls: dict[str, Wall] = field(default_factory=dict)

    def enter(self, name: str, how: str, wall: Callable[[], object]) -> bool:
        """Enter ``wall``, and note whether it holds."""
        try:
            wall()
        except (OSError, ValueError, StopIteration) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self.walls[name] = Wall(False, f"the system does not allow it: {reason}")
            return False
        self.walls[name] = Wall(True, how)
        return True

    def holds(self, *names: str) -> bool:
        """Whether one of the walls was entered."""
        return any(name in self.walls and self.walls[name].holds for name in names)

    def why_no_cells(self) -> str | None:
        """Why no code of a model may be run behind these walls; ``None`` if it may."""
        needed = {
            "it could read and write files outside": self.holds("own root", "Landlock"),
            "it could reach the network": self.holds("network namespace", "system call filter"),
            "it would be root, without a limit of processes": self.holds("unprivileged user"),
            "it could take all memory": self.holds("limits"),
        }
        return next((why for why, is_held in needed.items() if not is_held), None)


def enter_walls(settings: ToolSettings) -> tuple[Folder, Report]:
    """Put this process behind all walls that the system allows; the workspace, and what holds.

    The caller has one thread, and has imported all that it needs. This process becomes the supervisor of a new one, in
    which this function returns (see :mod:`workers.agent.tool_server.supervising`).

    Raises:
        OSError: the workspace cannot be opened.
    """
    report = Report()
    report.enter("environment", "only " + ", ".join(sorted(KEPT_VARIABLES)), _clear_environment)
    report.enter("descriptors", "only standard input, output and error were kept", _close_descriptors)
    places, process = find_places(), _own_process()
    if os.geteuid() == 0:
        _enter_namespaces(report, settings, places)
        folder = _open_workspace(settings)
        _drop_root(report, folder, places)
    else:
        folder = _open_workspace(settings)
        report.walls["unprivileged user"] = Wall(True, f"the worker's own user, {os.geteuid()}, who is not root")
    report.enter("user namespace", "no rights outside", lambda: _enter_user_namespace(process))
    if "own root" in _enter_namespaces(report, settings, places):
        folder.close()
        folder = _open_workspace(settings)
    _enter_process_namespace(report)
    become_supervised(process)
    with suppress(OSError):
        os.close(process)
    _restrict(report, settings, folder, places)
    return folder, report


def _own_process() -> int:
    """``/proc/self``, open, so that it can be used when it is no longer visible; -1 where there is none."""
    try:
        return os.open("/proc/self", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1


def _open_workspace(settings: ToolSettings) -> Folder:
    folder = Folder(settings.workspace, settings.folder)
    os.fchdir(folder.descriptor)
    return folder


def _enter_namespaces(report: Report, settings: ToolSettings, places: Places) -> list[str]:
    """Those that were not entered yet: root enters them at once, another user in a user namespace. Their names."""
    wanted: dict[str, tuple[str, Callable[[], object]]] = {
        "network namespace": ("there is no network in it", _leave_network),
        "IPC namespace": ("no shared memory with others", lambda: kernel.unshare(kernel.CLONE_NEWIPC)),
        "host name namespace": ("its own host name", lambda: kernel.unshare(kernel.CLONE_NEWUTS)),
        "own root": (
            "the file system has only Python, libraries and the workspace", lambda: _own_root(settings, places)
        ),
    }  # fmt: skip
    return [name for name, wall in wanted.items() if not report.holds(name) and report.enter(name, *wall)]


def _enter_process_namespace(report: Report) -> None:
    """The next process that is started is the first of the namespace; when it ends, all in it end."""
    if not report.holds("process namespace"):
        report.enter(
            "process namespace", "no process outside can be named", lambda: kernel.unshare(kernel.CLONE_NEWPID)
        )


def _restrict(report: Report, settings: ToolSettings, folder: Folder, places: Places) -> None:
    report.enter("limits", "memory, CPU time, file size, open files, processes", lambda: _limit(settings, report))
    report.enter("no core dumps, not traceable", "by prctl", lambda: kernel.prctl(kernel.PR_SET_DUMPABLE, 0))
    report.enter(
        "no new privileges", "programs get no rights from their files",
        lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1),
    )  # fmt: skip
    report.enter("no capabilities", "all were given up", _drop_capabilities)
    report.enter(
        "Landlock", "the kernel allows reading Python's files, and writing in the workspace only",
        lambda: landlock.restrict(places.rights(folder.descriptor)),
    )  # fmt: skip
    report.enter(
        "system call filter", "sockets, tracing, mounts, namespaces and what no tool needs",
        lambda: seccomp.refuse_system_calls(kernel),
    )  # fmt: skip


def _clear_environment() -> None:
    for name in set(os.environ) - KEPT_VARIABLES:
        del os.environ[name]


def _close_descriptors() -> None:
    os.closerange(3, 1 << 16)


def _leave_network() -> None:
    kernel.unshare(kernel.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        try:
            tried.connect(_ELSEWHERE)
        except OSError:
            return
    raise OSError(errno.EPERM, "the network can still be reached")


def _own_root(settings: ToolSettings, places: Places) -> None:
    kernel.unshare(kernel.CLONE_NEWNS)
    enter_own_root(places.visible(settings.workspace))


def _drop_root(report: Report, folder: Folder, places: Places) -> None:
    """Become a user of whom nothing else on the machine is, and enter the process namespace while that is allowed."""
    owner = os.fstat(folder.descriptor)
    users = [owner.st_uid] if owner.st_uid else [_FIRST_USER + owner.st_ino % _FIRST_USER, _NOBODY]
    user = next((user for user in users if _can_work_as(user, places)), None)
    _enter_process_namespace(report)
    if user is None:
        report.walls["unprivileged user"] = Wall(False, "no other user can be taken on, or read Python's files")
    else:
        how = f"user {user}, who owns the workspace only"
        report.enter("unprivileged user", how, lambda: _become_owner(user, folder))


def _become_owner(user: int, folder: Folder) -> None:
    folder.give_to(user)
    _become(user)


def _can_work_as(user: int, places: Places) -> bool:
    """Whether ``user`` can be taken on and can load Python's files: tried in a process of its own."""
    child = os.fork()
    if child == 0:
        try:
            _become(user)
            os._exit(0 if places.can_be_read() else 1)
        except (OSError, ValueError, OverflowError):
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _enter_user_namespace(process: int) -> None:
    """Args: ``process`` is ``/proc/self``, open."""
    user, group = os.geteuid(), os.getegid()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)  # the kernel gives /proc/self of a process that changed its user to root
    kernel.unshare(kernel.CLONE_NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        descriptor = os.open(name, os.O_WRONLY, dir_fd=process)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def _drop_capabilities() -> None:
    kernel.drop_capabilities()
    if kernel.has_capabilities():
        raise OSError(errno.EPERM, "some are left")


def _limit(settings: ToolSettings, report: Report) -> None:
    running = 0 if report.holds("user namespace") else _running()
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, settings.memory_bytes),
        (resource.RLIMIT_CPU, settings.cpu_s),
        (resource.RLIMIT_FSIZE, settings.folder.file_bytes),
        (resource.RLIMIT_NOFILE, _DESCRIPTORS_MAX),
        (resource.RLIMIT_NPROC, running + settings.processes),
    ):
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _running() -> int:
    """How many threads the user of this process has, who shares the limit with them."""
    found = 0
    with suppress(FileNotFoundError), os.scandir("/proc") as entries:
        for entry in entries:
            with suppress(OSError):  # it has ended
                if entry.name.isdigit() and entry.stat().st_uid == os.geteuid():
                    found += len(os.listdir(f"/proc/{entry.name}/task"))
    return found
