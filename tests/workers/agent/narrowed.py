"""Starts a command on a machine that allows less: ``python narrowed.py HOW FOLDER COMMAND...``.

``bare`` refuses what walls are made of, as a container may; ``user`` runs the command as an ordinary user, who sees the
source, ``/proc`` and FOLDER.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from workers.agent.tool_server import kernel, mounts, seccomp
from workers.agent.tool_server.places import find_places

USER = 70_000
ROOT = Path(__file__).parents[3]
SOURCES = tuple(str(ROOT / name) for name in ("models", "tests", "workers"))
"""Not the whole checkout: an environment in it has links to an interpreter that lies elsewhere."""
UNSHARE, MOUNT, LANDLOCK, SECCOMP = (272, 97), (165, 40), (444, 444), (317, 277)


def become_user(folder: str) -> None:
    os.chown(folder, USER, USER)
    kernel.unshare(kernel.CLONE_NEWNS)
    seen = [*map(mounts.Place, SOURCES), mounts.Place("/proc", is_writable=True)]
    mounts.enter_own_root([*find_places().visible(folder), *seen])
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)


def refuse_walls() -> None:
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    refused = seccomp._refusals([UNSHARE, MOUNT, LANDLOCK, SECCOMP], seccomp._column(kernel.MACHINE))
    seccomp._install(kernel, seccomp._program(kernel.MACHINE, refused))


def main(how: str, folder: str, *command: str) -> None:
    if how == "user":
        become_user(folder)
    else:
        refuse_walls()
    os.chdir("/")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
