"""What the worker of agents loads and reaches: no torch, and no address but the engine's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.engine_stub import EngineStub
from tests.workers.agent.thinking.parts import DRAW, say

_PROGRAM = """
import sys
reached = []
def hook(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        reached.append((event, args[1]))
sys.addaudithook(hook)
before = set(sys.modules)
import workers.agent.thinking.planner
import workers.agent.thinking.engine_model
assert reached == [], reached
import asyncio, json
from models.language.client import LanguageEngine
from models.language.presets import PRESETS
from tests.workers.agent.thinking.parts import MemorySteps, SITUATION, SUBTASK, Tools
from workers.agent.thinking.engine_model import EngineModel
from workers.agent.thinking.planner import FreePlanner

async def main():
    engine = LanguageEngine(sys.argv[1])
    steps = MemorySteps()
    planner = FreePlanner(EngineModel(engine, PRESETS["generic"]), steps)
    performed = await planner.perform("1", SUBTASK, SITUATION, Tools(steps), 0)
    await engine.aclose()
    assert performed.error is None, performed
asyncio.run(main())
connected = sorted({str(where) for event, where in reached if event == "socket.connect"})
print(json.dumps({"connected": connected, "modules": sorted(set(sys.modules) - before)}))
"""


def test_it_loads_no_torch_and_reaches_only_the_engine():
    with EngineStub() as stub:
        stub.answer_with(say("native", "draw", DRAW), say("native", "finish_subtask", {"summary": "done"}))
        port = int(stub.url.split(":")[2].removesuffix("/v1"))
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", _PROGRAM, stub.url],
            capture_output=True, text=True, timeout=120, check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["connected"] == [str(("127.0.0.1", port))]
    roots = {name.partition(".")[0] for name in found["modules"]}
    assert roots & {"torch", "diffusers", "transformers", "timm", "logfire", "openai", "anthropic"} == set()
    assert "pydantic_ai" in roots
