"""A filter of system calls (seccomp): what no tool needs, and what could lead out of the other walls, is refused.

It is a program of the kernel's classic BPF, as in ``Documentation/userspace-api/seccomp_filter.rst``. Filters add up,
and none can be taken away: a cell of Python gets :func:`refuse_signals` in addition. This module needs nothing of the
package but ``kernel``, since cells load both by their path.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Protocol

_ARCHITECTURES = MappingProxyType({"x86_64": 0xC000003E, "aarch64": 0xC00000B7})
"""``AUDIT_ARCH_*`` of ``linux/audit.h``."""
_X32_BIT = 0x40000000
_NUMBERS: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({
    # name: its number on x86_64, on aarch64
    "socket": (41, 198), "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "bpf": (321, 280), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "quotactl": (179, 60),
    "personality": (135, 92), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    "syslog": (103, 116), "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171),
    "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "mknod": (133, None), "mknodat": (259, 33), "fanotify_init": (300, 262), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "lookup_dcookie": (212, 18), "nfsservctl": (180, 42), "uselib": (134, None), "ustat": (136, None),
})  # fmt: skip
_SIGNALS: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "setsid": (112, 157), "setpgid": (109, 154),
})  # fmt: skip
_CLONE, _CLONE3, _PRLIMIT = (56, 220), 435, (302, 261)
_NEW_NAMESPACES = 0x7E020000
"""All flags ``CLONE_NEW*`` that ``clone`` takes."""
_ALL_BITS = 0xFFFFFFFF
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_EQUAL, _JUMP_SET, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16
_FILTER_MODE, _SET_SECCOMP = 2, 22
_OP_BYTES = 8


class Kernel(Protocol):
    """What this module needs of the module ``kernel``."""

    MACHINE: str

    def prctl(self, option: int, first: object = 0, second: object = 0) -> int: ...


def refuse_system_calls(kernel: Kernel) -> None:
    """Refuse what no tool needs, for this process and all that it starts.

    All sockets are refused, those of the same machine too: a socket in a folder could belong to a program that
    does more than a tool may.

    Raises:
        OSError: the kernel takes no filter, or the machine is of another architecture.
    """
    _install(kernel, system_call_filter(kernel.MACHINE))


def refuse_signals(kernel: Kernel) -> None:
    """Refuse to signal any process, to change the limits of another one, and to leave the process group.

    Raises:
        OSError: as :func:`refuse_system_calls`.
    """
    _install(kernel, signal_filter(kernel.MACHINE))


def system_call_filter(machine: str) -> bytes:
    """The program of :func:`refuse_system_calls` for ``machine``, such as ``x86_64``."""
    column = _column(machine)
    refused = _refusals(_NUMBERS.values(), column)
    refused += _equal(_CLONE3, _RETURN, _REFUSE | errno.ENOSYS)  # its flags lie in memory; libc then takes clone
    return _program(machine, [*refused, *_if_any_bit(_CLONE[column], _NEW_NAMESPACES)])


def signal_filter(machine: str) -> bytes:
    """The program of :func:`refuse_signals`."""
    column = _column(machine)
    return _program(machine, [*_refusals(_SIGNALS.values(), column), *_if_any_bit(_PRLIMIT[column], _ALL_BITS)])


def _column(machine: str) -> int:
    """Where the tables have the numbers of ``machine``."""
    if machine not in _ARCHITECTURES:
        raise OSError(errno.ENOSYS, f"no filter of system calls is known for {machine}")
    return list(_ARCHITECTURES).index(machine)


def _refusals(numbers: Iterable[tuple[int | None, int | None]], column: int) -> list[bytes]:
    found = (each[column] for each in numbers)
    return [part for number in found if number is not None for part in _equal(number, _RETURN, _REFUSE | errno.EPERM)]


def _equal(number: int, code: int, value: int) -> list[bytes]:
    return [_op(_JUMP_EQUAL, number, 0, 1), _op(code, value)]


def _if_any_bit(number: int, bits: int) -> list[bytes]:
    """The last instructions: refuse the call ``number`` if its first argument has any of ``bits``."""
    return [
        _op(_JUMP_EQUAL, number, 0, 3), _op(_LOAD, _FIRST_ARGUMENT_AT), _op(_JUMP_SET, bits, 0, 1),
        _op(_RETURN, _REFUSE | errno.EPERM),
    ]  # fmt: skip


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _program(machine: str, instructions: list[bytes]) -> bytes:
    return b"".join([
        _op(_LOAD, _ARCHITECTURE_AT), _op(_JUMP_EQUAL, _ARCHITECTURES[machine], 1, 0), _op(_RETURN, _KILL),
        _op(_LOAD, _NUMBER_AT), _op(_JUMP_GREATER, _X32_BIT, 0, 1), _op(_RETURN, _REFUSE | errno.EPERM),
        *instructions, _op(_RETURN, _ALLOW),
    ])  # fmt: skip


def _install(kernel: Kernel, program: bytes) -> None:
    code = ctypes.create_string_buffer(program)
    header = struct.pack("@HP", len(program) // _OP_BYTES, ctypes.addressof(code))
    kernel.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.create_string_buffer(header))
