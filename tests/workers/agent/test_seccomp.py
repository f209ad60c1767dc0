"""The filter of system calls for each architecture, run by a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from workers.agent.tool_server import seccomp

ALLOWED, KILLED = "allowed", "killed"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CALLS = {
    # name: its number on x86_64, on aarch64 (asm/unistd.h)
    "read": (0, 63), "openat": (257, 56), "execve": (59, 221), "mmap": (9, 222), "futex": (202, 98),
    "socketpair": (53, 199), "wait4": (61, 260), "getrandom": (318, 278),
}  # fmt: skip
REFUSED = {
    "socket": (41, 198), "ptrace": (101, 117), "mount": (165, 40), "unshare": (272, 97), "setns": (308, 268),
    "bpf": (321, 280), "keyctl": (250, 219), "io_uring_setup": (425, 425), "open_by_handle_at": (304, 265),
    "process_vm_writev": (311, 271), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "chroot": (161, 51),
}  # fmt: skip
CLONE, CLONE3, KILL, PRLIMIT = (56, 220), 435, (62, 129), (302, 261)
THREAD, NEW_USER_NAMESPACE = 0x3D0F00, 0x10000000


def run(program: bytes, machine: str, number: int, first: int = 0) -> str:
    """What the program says of a system call."""
    memory = {0: number, 4: ARCHITECTURES[machine], 16: first & 0xFFFFFFFF}
    loaded, place = 0, 0
    while True:
        code, if_true, if_false, value = struct.unpack_from("=HBBI", program, 8 * place)
        place += 1
        match code:
            case 0x20:
                loaded = memory[value]
            case 0x15:
                place += if_true if loaded == value else if_false
            case 0x35:
                place += if_true if loaded >= value else if_false
            case 0x45:
                place += if_true if loaded & value else if_false
            case 0x06 if value >> 16 == 0x5:
                return errno.errorcode[value & 0xFFFF]
            case 0x06:
                return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}[value]
            case _:
                raise AssertionError(f"no instruction: {code:#x}")


@pytest.mark.parametrize(("column", "machine"), list(enumerate(ARCHITECTURES)))
def test_what_the_filters_refuse(column: int, machine: str):
    program = seccomp.system_call_filter(machine)
    assert {name: run(program, machine, numbers[column]) for name, numbers in CALLS.items()} == dict.fromkeys(
        CALLS, ALLOWED
    )
    assert {run(program, machine, numbers[column]) for numbers in REFUSED.values()} == {"EPERM"}
    assert run(program, machine, CLONE[column], THREAD) == ALLOWED
    assert run(program, machine, CLONE[column], THREAD | NEW_USER_NAMESPACE) == "EPERM"
    assert run(program, machine, CLONE3) == "ENOSYS"
    assert run(program, machine, KILL[column]) == ALLOWED
    cells = seccomp.signal_filter(machine)
    assert run(cells, machine, KILL[column]) == "EPERM" and run(cells, machine, 0) == ALLOWED
    assert run(cells, machine, PRLIMIT[column], 0) == ALLOWED and run(cells, machine, PRLIMIT[column], 7) == "EPERM"


def test_calls_of_another_architecture_end_the_process():
    program = seccomp.system_call_filter("x86_64")
    assert run(program, "aarch64", 63) == KILLED
    assert run(program, "x86_64", 0x40000000 | 41) == "EPERM"  # the same call by the numbers of x32
    with pytest.raises(OSError, match="riscv64"):
        seccomp.system_call_filter("riscv64")
