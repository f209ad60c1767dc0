"""A tool server that misbehaves: each of its tools is a way to do so. It speaks MCP by itself, to say what it likes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any


def send(document: Any) -> None:
    print(json.dumps(document), flush=True)


def answer(number: Any, result: Any) -> None:
    send({"jsonrpc": "2.0", "id": number, "result": result})


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": content}], **more}


def sleep(number: Any) -> None:
    time.sleep(100)


def hang(number: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        sleep(number)


def die(number: Any) -> None:
    print("secret details", file=sys.stderr, flush=True)
    os._exit(3)


def garbage(number: Any) -> None:
    sys.stdout.buffer.write(b"\xff\xfe\0garbage\n" * 1000)
    sys.stdout.flush()


def long_line(number: Any) -> None:
    while True:
        sys.stdout.write("x" * (1 << 20))


def flood(number: Any) -> None:
    message = {"level": "info", "data": "x" * 5000}
    while True:
        send({"jsonrpc": "2.0", "method": "notifications/message", "params": message})


def flood_errors(number: Any) -> None:
    for _ in range(200):
        sys.stderr.write("x" * (1 << 16))
    answer(number, text("done"))


def another_id(number: Any) -> None:
    answer(12345, text("for nobody"))
    sleep(number)


def ask_back(number: Any) -> None:
    params = {"messages": [], "maxTokens": 9}
    send({"jsonrpc": "2.0", "id": 77, "method": "sampling/createMessage", "params": params})
    sys.stdin.readline()
    answer(number, text("asked"))


def close_output(number: Any) -> None:
    os.close(1)
    sleep(number)


def leave_a_child(number: Any) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    answer(number, text(str(child.pid)))


WAYS: dict[str, Callable[[Any], object]] = {
    "behave": lambda number: answer(number, text("fine\x1b[31m", structuredContent={"a": 1})),
    "hang": hang,
    "die": die,
    "kill_itself": lambda number: os.kill(os.getpid(), signal.SIGKILL),
    "garbage": garbage,
    "not_json": lambda number: print("Hello, I am a tool", flush=True),
    "long_line": long_line,
    "flood": flood,
    "flood_errors": flood_errors,
    "long_text": lambda number: answer(number, text("y" * 900_000)),
    "long_document": lambda number: answer(number, text("ok", structuredContent={"x": "y" * 100_000})),
    "wrong_shape": lambda number: answer(number, {"content": "no list", "structuredContent": 7}),
    "another_id": another_id,
    "ask_back": ask_back,
    "close_output": close_output,
    "leave_a_child": leave_a_child,
}


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        number = request.get("id")
        match request.get("method"):
            case "initialize":
                answer(number, {
                    "protocolVersion": request["params"]["protocolVersion"], "capabilities": {"tools": {}},
                    "serverInfo": {"name": "fake", "version": "1"},
                })  # fmt: skip
            case "tools/list":
                answer(number, {"tools": [{"name": each, "inputSchema": {"type": "object"}} for each in WAYS]})
            case "tools/call":
                WAYS[request["params"]["name"]](number)
            case _ if number is not None:
                send({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    main()
