"""A network of hosts, each with a network namespace of its own; a host can be cut off and joined again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
HUB = "10.87.0.1"
"""The address of the host that has Redis and S3."""
_SETUP = """
set -e
mount -t tmpfs none /run && mkdir /run/netns
ip link set lo up
ip link add name hub type bridge && ip address add {hub}/24 dev hub && ip link set hub up
echo ready
exec sleep infinity
"""
_JOIN = """
set -e
ip netns add {name}
ip link add name {name} type veth peer name {name}-eth0
ip link set dev {name}-eth0 netns {name}
ip link set dev {name} master hub up
ip -n {name} address add {address}/24 dev {name}-eth0
ip -n {name} link set {name}-eth0 up && ip -n {name} link set lo up
"""


class Lab:
    """The bridge and its hosts; ``folder`` has the sockets of relays, so its path must be short."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._hosts = folder, 0
        self._processes: list[subprocess.Popen[str]] = []
        command = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", _SETUP.format(hub=HUB)]
        self._holder = self._started(command)

    def _started(self, command: list[str], **options: object) -> subprocess.Popen[str]:
        """The process, once it has printed ``ready``."""
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, **options)
        self._processes.append(process)
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{command[:4]} did not start")
        return process

    @property
    def _enter(self) -> list[str]:
        """A command that runs the rest of its arguments in the network, in the folder of the tests.

        Without ``--wd`` a process that enters a mount namespace starts in its root folder.
        """
        namespaces = ["--target", str(self._holder.pid), "--user", "--net", "--mount"]
        return ["nsenter", *namespaces, "--preserve-credentials", f"--wd={ROOT}"]

    def host(self, name: str) -> Host:
        """A new host on the bridge."""
        self._hosts += 1
        address = f"{HUB.rpartition('.')[0]}.{self._hosts + 1}"
        subprocess.run([*self._enter, "sh", "-c", _JOIN.format(name=name, address=address)], check=True)
        return Host(self, name, address)

    def set_link(self, name: str, state: str) -> None:
        """Switch the port of the bridge that a host is at ``up`` or ``down``."""
        subprocess.run([*self._enter, "ip", "link", "set", "dev", name, state], check=True)

    def run(self, name: str, command: list[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
        """A process on the host ``name``."""
        with log.open("a") as output:
            process = subprocess.Popen(
                [*self._enter, "ip", "netns", "exec", name, *command],
                env=variables, cwd=ROOT, stdout=output, stderr=output, text=True,
            )  # fmt: skip
        self._processes.append(process)
        return process

    def offer(self, port: int, target: str) -> str:
        """Let all hosts reach ``target``, an address outside, at this port of the hub; returns their address of it."""
        if not target.startswith("/"):
            socket = self._folder / f"out-{port}"
            self._started([sys.executable, "-m", "tests.hosts.relay", str(socket), target])
            target = str(socket)
        self._started([*self._enter, sys.executable, "-m", "tests.hosts.relay", f"{HUB}:{port}", target])
        return f"{HUB}:{port}"

    def reach(self, host: Host, port: int) -> Path:
        """A Unix socket outside that leads to a port of ``host``."""
        socket = self._folder / f"{host.name}-{port}"
        command = [sys.executable, "-m", "tests.hosts.relay", str(socket), f"{host.address}:{port}"]
        self._started([*self._enter, *command])
        return socket

    def close(self) -> None:
        """End all processes; the namespaces go with the last of them."""
        for process in reversed(self._processes):
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


class Host:
    """One host of the lab."""

    def __init__(self, lab: Lab, name: str, address: str) -> None:
        self._lab, self.name, self.address = lab, name, address

    def cut(self) -> None:
        """Let no packet to or from the host through."""
        self._lab.set_link(self.name, "down")

    def join(self) -> None:
        """Let all packets through again."""
        self._lab.set_link(self.name, "up")

    def run(self, command: list[str], variables: Mapping[str, str], log: Path) -> subprocess.Popen[str]:
        """A process on this host."""
        return self._lab.run(self.name, command, variables, log)


def why_not() -> str | None:
    """Why this machine cannot have a lab, if so."""
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if missing:
        return f"there is no program {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c",
         "mount -t tmpfs none /run && ip link add one type veth peer name two && ip link add three type bridge"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return None if tried.returncode == 0 else f"namespaces are not allowed here: {tried.stderr.strip()}"


@contextmanager
def lab(folder: Path) -> Iterator[Lab]:
    """A lab for as long as the block runs."""
    with ExitStack() as stack:
        made = Lab(folder)
        stack.callback(made.close)
        yield made
