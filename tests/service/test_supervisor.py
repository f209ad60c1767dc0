"""Child processes that die, that will not die, and that leave others behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from service.supervisor import Child, stop_in_order
from tests.polling import until

ROOT = Path(__file__).parents[2]
Family = Callable[[], list[psutil.Process]]
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
POLITE = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); time.sleep(60)"
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', {code!r}]).wait()"


@pytest.fixture
def make() -> Iterator[Callable[..., Child]]:
    """Makes children that run Python code; none outlives its test."""
    made: list[Child] = []

    def make_child(code: str, name: str = "child") -> Child:
        made.append(Child(name, [sys.executable, "-c", code], os.environ))
        return made[-1]

    yield make_child
    stop_in_order([made], [0.0])


@pytest.fixture
def family() -> Family:
    """Tells the processes that this test started; other tests' servers may run beside them."""
    others = set(psutil.Process().children(recursive=True))
    return lambda: [process for process in psutil.Process().children(recursive=True) if process not in others]


def grandchild(family: Family) -> psutil.Process:
    """The process that the one child started, once it ignores SIGTERM."""
    until(lambda: len(family()) == 2)
    process = family()[-1]
    until(lambda: _ignores_sigterm(process.pid))
    return process


def _ignores_sigterm(pid: int) -> bool:
    (mask,) = [line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "SigIgn" in line]
    return bool(int(mask, 16) & 1 << 14)


def test_a_child_that_was_never_started_is_no_trouble(make: Callable[..., Child]) -> None:
    child = make("pass")
    assert not child.is_running and child.exit_code is None
    child.terminate()
    stop_in_order([[child], []], [1.0, 1.0])


def test_a_child_that_dies_is_started_again_with_growing_pauses(make: Callable[..., Child], tmp_path: Path) -> None:
    log = tmp_path / "starts"
    child = make(f"import time; open({str(log)!r}, 'a').write(f'{{time.time()}}\\n')")
    child.start()
    until(lambda: child.keep_running() or (log.exists() and len(log.read_text().split()) == 3))
    first, second, third = (float(line) for line in log.read_text().split())
    assert 0.4 < second - first < 2.0
    assert 2.0 < third - second < 4.0


def test_a_child_that_lives_is_left_alone(make: Callable[..., Child], family: Family) -> None:
    child = make(POLITE)
    child.start()
    (process,) = family()
    for _ in range(20):
        child.keep_running()
    assert family() == [process] and child.is_running


def test_polite_children_end_at_once(make: Callable[..., Child], family: Family) -> None:
    first, second = make(POLITE), make(POLITE)
    first.start()
    second.start()
    until(lambda: all(process.status() == psutil.STATUS_SLEEPING for process in family()))
    time.sleep(0.2)
    stop_in_order([[first], [second]], [10.0, 10.0])
    assert first.exit_code == second.exit_code == 0  # a child that does not end by itself is killed, with code -9


def test_a_child_that_will_not_stop_is_killed_within_its_limit(make: Callable[..., Child], family: Family) -> None:
    stubborn, after = make(STUBBORN), make(POLITE)
    stubborn.start()
    (process,) = family()
    until(lambda: _ignores_sigterm(process.pid))
    after.start()
    began_at = time.monotonic()
    stop_in_order([[stubborn], [after]], [0.5, 5.0])
    assert time.monotonic() - began_at >= 0.5
    assert stubborn.exit_code == -9
    assert family() == []


def test_what_a_stubborn_child_started_is_killed_with_it(make: Callable[..., Child], family: Family) -> None:
    child = make("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + PARENT.format(code=STUBBORN))
    child.start()
    orphan = grandchild(family)
    stop_in_order([[child]], [0.2])
    assert psutil.wait_procs([orphan], timeout=5)[1] == []


def test_what_a_polite_child_left_behind_is_killed_too(make: Callable[..., Child], family: Family) -> None:
    child = make(PARENT.format(code=STUBBORN))
    child.start()
    orphan = grandchild(family)
    stop_in_order([[child]], [5.0])
    assert child.exit_code == -15
    assert psutil.wait_procs([orphan], timeout=5)[1] == []


def test_standard_output_stays_ours() -> None:
    code = (
        "import os, sys, time\n"
        "from service.supervisor import Child, stop_in_order\n"
        "child = Child('noisy', [sys.executable, '-c', 'print(\"noise\"); print(input())'], os.environ)\n"
        "child.start()\n"
        "while child.is_running: time.sleep(0.01)\n"
        "print('ready', child.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, input="secret\n", timeout=30
    )
    assert done.stdout == "ready 1\n"
    assert "noise" in done.stderr and "secret" not in done.stderr and "EOFError" in done.stderr
