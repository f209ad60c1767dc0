"""The walls around a tool server: a cell of Python tries to break each, and each is tried without the others."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from workers.agent.tool_server.settings import ToolSettings
from workers.agent.workspace import Workspace

from .conftest import PYTHON_S, Tools, is_running, processes_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(sys.platform != "linux", reason="the walls are Linux's"),
]
PACKAGE = Path(__file__).parents[3] / "workers" / "agent" / "tool_server"
NARROWED = str(Path(__file__).with_name("narrowed.py"))
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may set this up")


async def cell(tools: Tools, code: str) -> str:
    """What a cell prints."""
    answer = await tools("python", code=code)
    return str(answer["output"])


async def test_what_is_tried_from_inside_is_refused(tools: Tools):
    found = await tools("walls")
    if found["python"] != "allowed":
        pytest.skip("too few walls hold here for Python")
    assert len(found["attempts"]) == 14
    assert [name for name, each in found["attempts"].items() if not each["refused"]] == []
    assert all(each["how"] for each in found["walls"].values()) and found["python"] == "allowed"
    assert [entry.name for entry in await tools.workspace.tree()] == []


@is_root
async def test_all_walls_hold_where_root_has_all_rights(tools: Tools):
    if "CapEff:\t000001ffffffffff" not in Path("/proc/self/status").read_text() and not _has_all_rights():
        pytest.skip("root is restricted here")
    found = await tools("walls")
    assert {name: each for name, each in found["walls"].items() if not each["holds"]} == {}


def _has_all_rights() -> bool:
    return subprocess.run(["unshare", "--mount", "--net", "true"], check=False, capture_output=True).returncode == 0


CELLS = {
    "network": "import socket\nsocket.create_connection(('127.0.0.1', 9), 1)",
    "names of hosts": "import socket\nsocket.gethostbyname('example.org')",
    "reading outside": "print(open('/etc/passwd').read())",
    "reading the homes of others": "import os\nos.listdir('/home')",
    "reading above": "import os\nprint(os.listdir('..'))\nopen('../other', 'w')",
    "writing outside": "open('/tmp/x', 'w')",
    "writing Python's files": "import os\nopen(os.__file__, 'a')",
    "a link out": "import os\nos.symlink('/etc/passwd', 'link')\nprint(open('link').read())",
    "a device": "import os, stat\nos.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(259, 0))",
    "memory": "x = bytearray(1800 << 20)",
    "memory of many": "x = []\nwhile True: x.append(bytes(1 << 20))",
    "a huge file": "with open('huge', 'wb') as f:\n  for _ in range(100): f.write(bytes(1 << 20))",
    "tracing the parent": "import ctypes, os\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.ptrace(16, os.getppid(), 0, 0) < 0: raise OSError(ctypes.get_errno(), 'ptrace')",
    "the parent's memory": "import os\nopen(f'/proc/{os.getppid()}/mem', 'rb')",
    "killing the parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "killing all": "import os, signal\nos.kill(-1, signal.SIGKILL)",
    "another user": "import os\nos.setuid(0)",
    "a new namespace": "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
    "if libc.unshare(0x10000000) < 0: raise OSError(ctypes.get_errno(), 'unshare')",
    "a new session": "import os\nif os.fork(): os.wait()\nelse: os.setsid()",
    "a shell": "import subprocess\nsubprocess.run(['/bin/sh', '-c', 'id'])",
    "memory in a file": "import os\nos.memfd_create('x')",
    "raising a limit": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))",
    "the limits of the parent": "import os, resource\nresource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
}


@pytest.mark.parametrize("name", CELLS)
async def test_a_cell_cannot_break_out(tools: Tools, name: str):
    answer = await tools("python", code=CELLS[name])
    output = str(answer["output"])
    assert "error" in output.lower() and "root:" not in output and "Traceback" not in output, answer
    assert await tools("calculate", expression="1 + 1") == {"result": 2}


async def test_a_fork_bomb_is_bounded_and_ended(tools: Tools):
    answer = await tools("python", code="import os\nwhile True:\n  try: os.fork()\n  except OSError: pass")
    assert "too long" in answer["ended"]
    assert await cell(tools, "print('alive')") == "alive\n"


async def test_what_a_cell_leaves_running_ends_with_it(tools: Tools):
    left = "import os, time\nif os.fork() == 0:\n  os.close(1); os.close(2)\n  time.sleep(50)\nprint('done')"
    assert await cell(tools, left) == "done\n"
    assert await tools("calculate", expression="1") == {"result": 1}
    assert len(processes_of(str(tools.workspace._path))) <= 2  # the server and its supervisor


async def test_cpu_time_is_limited(tools: Tools):
    answer = await tools("python", code="while True: pass")
    assert answer["ended"] != "normally" and PYTHON_S < 10


async def test_the_environment_has_no_secrets(tools: Tools, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PHOTOGRAM_SECRET", "sesame")
    async with Workspace(ToolSettings(str(tools.workspace._path.parent / "second"), allow_python=True)) as workspace:
        result = await workspace.call("python", {"code": "import os\nprint(dict(os.environ))"})
    assert "sesame" not in result.text and "LANG" in result.text


async def test_output_is_cut(tools: Tools):
    answer = await tools("python", code="print('x' * 1_000_000)")
    assert len(answer["output"]) == 8000 and "cut" in answer["note"] and answer["ended"] == "normally"


async def test_state_is_not_kept_and_files_are(tools: Tools):
    assert (
        await cell(tools, "import numpy, PIL\nx = 1\nopen('kept.txt', 'w').write('1')\nprint(numpy.ones(3).sum())")
        == "3.0\n"
    )
    assert "NameError" in await cell(tools, "print(x)")
    assert await tools("read_text", file="kept.txt") == {"text": "1", "chars": 1}


async def test_modules_in_the_workspace_are_not_imported_by_accident(tools: Tools):
    for name in ("numpy.py", "json.py", "sitecustomize.py", "PIL/__init__.py", "workers/__init__.py"):
        await tools("write_text", save_as=name, text="raise SystemExit('injected')")
    assert await cell(tools, "import json, numpy, PIL.Image\nprint('fine')") == "fine\n"
    await tools.workspace._stop()
    assert await tools("calculate", expression="2") == {"result": 2}


@pytest.mark.parametrize(
    "code",
    [
        "for n in range(5000): open(f'f{n}', 'w').close()",
        "for n in range(30): open(f'f{n}', 'wb').write(bytes(7 << 20))",
        "import os\nfor _ in range(1200):\n  os.mkdir('d')\n  os.chdir('d')",
        "for n in range(3000): open(f'.hidden{n}', 'w').close()",
    ],
)
async def test_a_cell_that_fills_the_workspace_loses_what_it_wrote(tools: Tools, code: str):
    await tools.workspace.put("kept.txt", b"kept")
    await tools("python", code=code)
    assert [entry.name for entry in await tools.workspace.tree()] == ["kept.txt"]
    assert os.listdir(tools.workspace._path) == ["kept.txt"]


ALONE = {
    "Landlock": "from workers.agent.tool_server import kernel, landlock\nkernel.prctl(38, 1)\n"
    "d = os.open(folder, os.O_RDONLY)\nlandlock.restrict([(d, landlock.WORK)])\nopen(folder + '/in', 'w').close()\n"
    "refused(lambda: open('/etc/passwd'))\nrefused(lambda: open('/tmp/x', 'w'))\nrefused(lambda: os.listdir('/'))\n"
    "refused(lambda: os.symlink('/etc/passwd', folder + '/link'))",
    "system call filter": "from workers.agent.tool_server import kernel, seccomp\nimport socket\nkernel.prctl(38, 1)\n"
    "seccomp.refuse_system_calls(kernel)\nrefused(lambda: socket.socket())\n"
    "refused(lambda: kernel.unshare(0x10000000))\n"
    "refused(lambda: kernel.mount('none', folder, 'tmpfs', 0))\nrefused(lambda: os.memfd_create('x'))\n"
    "socket.socketpair()\nos.fork() == 0 and os._exit(0)\nos.wait()\n"
    "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()\n"
    "seccomp.refuse_signals(kernel)\nrefused(lambda: os.kill(os.getpid(), 0))\nrefused(os.setsid)",
    "own root": "from workers.agent.tool_server import kernel, mounts\nkernel.unshare(kernel.CLONE_NEWNS)\n"
    "mounts.enter_own_root([mounts.Place(folder, is_writable=True), mounts.Place('/usr/lib')])\n"
    "open(folder + '/in', 'w').close()\nrefused(lambda: open('/etc/passwd'))\n"
    "refused(lambda: open('/usr/lib/x', 'w'))\n"
    "refused(lambda: open('/x', 'w'))\nrefused(lambda: os.listdir('/proc'))",
    "network namespace": "from workers.agent.tool_server import walls\nimport socket\nwalls._leave_network()\n"
    "refused(lambda: socket.create_connection(('127.0.0.1', 9), 1))",
    "capabilities": "from workers.agent.tool_server import kernel\nkernel.drop_capabilities()\n"
    "assert not kernel.has_capabilities()\nrefused(lambda: os.setuid(5))\nrefused(lambda: os.chroot(folder))",
    "user namespace": "from workers.agent.tool_server import walls\n"
    "walls._become(70000)\nimport ctypes\nkernel = walls.kernel\nkernel.prctl(4, 1)\n"
    "walls._enter_user_namespace(os.open('/proc/self', os.O_PATH))\nrefused(lambda: os.setuid(0))",
}
FRAME = """
import os, sys
folder = sys.argv[1]
def refused(attempt):
    try: found = attempt()
    except OSError: return
    raise AssertionError(f"not refused: {found}")
"""


@is_root
@pytest.mark.parametrize("name", ALONE)
async def test_each_wall_holds_without_the_others(name: str, tmp_path: Path):
    if not _has_all_rights():
        pytest.skip("root is restricted here")
    done = subprocess.run(
        [sys.executable, "-c", FRAME + ALONE[name] + "\nprint('held')", str(tmp_path)], capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert "held" in done.stdout, done.stderr


async def narrowed(how: str, folder: Path, **settings: object) -> Workspace:
    chosen = ToolSettings(str(folder), **settings)  # type: ignore[arg-type]
    command = [sys.executable, "-P", "-m", "workers.agent.tool_server", chosen.to_json()]
    return Workspace(chosen, command=[sys.executable, NARROWED, how, str(folder), *command])


async def test_it_starts_where_no_wall_is_possible_and_says_so(tmp_path: Path):
    async with await narrowed("bare", tmp_path / "workspace", allow_python=True) as workspace:
        assert "python" not in {tool.name for tool in await workspace.tools()}
        found = (await workspace.call("walls", {})).structured
        assert found is not None and "too few walls" in found["python"]
        for name in ("network namespace", "own root", "process namespace", "user namespace", "Landlock"):
            assert not found["walls"][name]["holds"] and "does not allow it" in found["walls"][name]["how"]
        attempts = found["attempts"]
        assert not attempts["read outside"]["refused"] and attempts["read outside"]["how"] == "it reached /etc/passwd"
        assert not (await workspace.call("write_text", {"save_as": "a.txt", "text": "a"})).is_error
        assert await workspace.get("a.txt") == b"a"


@is_root
async def test_all_walls_hold_for_an_ordinary_user_who_may_make_namespaces(tmp_path: Path):
    if not _has_all_rights():
        pytest.skip("root is restricted here")
    tmp_path.chmod(0o755)
    async with await narrowed("user", tmp_path / "workspace", allow_python=True) as workspace:
        found = (await workspace.call("walls", {})).structured
        assert found is not None and found["python"] == "allowed"
        assert [name for name, each in found["attempts"].items() if not each["refused"]] == []
        assert {name: each for name, each in found["walls"].items() if not each["holds"]} == {}
        assert not (await workspace.call("write_text", {"save_as": "a.txt", "text": "a"})).is_error


async def test_the_tool_for_python_is_there_only_if_the_operator_allows_it(tmp_path: Path):
    async with Workspace(ToolSettings(str(tmp_path / "workspace"))) as workspace:
        assert "python" not in {tool.name for tool in await workspace.tools()}
        found = (await workspace.call("walls", {})).structured
    assert found is not None and found["python"] == "not allowed by the operator"


def imported(tree: ast.AST) -> set[str]:
    found = [each for each in ast.walk(tree) if isinstance(each, ast.Import | ast.ImportFrom)]
    return {
        name
        for each in found
        for name in ([each.module or ""] if isinstance(each, ast.ImportFrom) else [alias.name for alias in each.names])
    }


async def test_the_process_imports_little():
    allowed = {"PIL", "numpy", "mcp", "mcp_types", "pydantic", *sys.stdlib_module_names}
    names = {name for path in PACKAGE.glob("*.py") for name in imported(ast.parse(path.read_text()))}
    others = {name for name in names if name.partition(".")[0] not in allowed}
    assert {name for name in others if not name.startswith("workers.agent.tool_server")} <= {
        "models.agent.colours", "models.errors", "models.media.images",
    }  # fmt: skip
    program = "import sys, workers.agent.tool_server.serving, workers.agent.tool_server.walls\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    tops = {name.partition(".")[0] for name in loaded}
    assert not tops & {
        "torch",
        "redis",
        "rq",
        "service",
        "fastapi",
        "diffusers",
        "transformers",
        "photogram",
        "onnxruntime",
    }
    assert {name for name in loaded if name.startswith("models.")} <= {
        "models.agent", "models.agent.colours", "models.errors", "models.media", *(f"models.media.{each}" for each in (
            "images", "header_exif", "png_chunks", "icons", "wholeness",
        ))
    }  # fmt: skip


async def test_processes_have_ended():
    """Nothing of the modules before is left as a zombie of this process."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    assert [number for number in children if not is_running(int(number))] == []
