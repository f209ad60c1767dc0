"""A tool server that misbehaves: each of its tools is a way to do so. It speaks MCP by itself, to say what it likes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

WAYS = (
    "behave", "hang", "die", "kill_itself", "garbage", "long_line", "flood", "flood_errors", "long_text", "long_document",
    "wrong_shape", "not_json", "another_id", "ask_back", "close_output", "leave_a_child",
)  # fmt: skip


def send(document: Any) -> None:
    print(json.dumps(document), flush=True)


def answer(number: Any, result: Any) -> None:
    send({"jsonrpc": "2.0", "id": number, "result": result})


def text(content: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": content}], **more}


def call(number: Any, way: str) -> None:
    match way:
        case "hang":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while True:
                time.sleep(100)
        case "die":
            print("secret details", file=sys.stderr, flush=True)
            os._exit(3)
        case "kill_itself":
            os.kill(os.getpid(), signal.SIGKILL)
        case "garbage":
            sys.stdout.buffer.write(b"\xff\xfe\0garbage\n" * 1000)
            sys.stdout.flush()
        case "not_json":
            print("Hello, I am a tool", flush=True)
        case "long_line":
            while True:
                sys.stdout.write("x" * (1 << 20))
        case "flood":
            while True:
                send(
                    {
                        "jsonrpc": "2.0",
                        "method": "notifications/message",
                        "params": {"level": "info", "data": "x" * 5000},
                    }
                )
        case "flood_errors":
            for _ in range(200):
                sys.stderr.write("x" * (1 << 16))
            answer(number, text("done"))
        case "long_text":
            answer(number, text("y" * 900_000))
        case "long_document":
            answer(number, text("ok", structuredContent={"x": "y" * 100_000}))
        case "wrong_shape":
            answer(number, {"content": "no list", "structuredContent": 7})
        case "another_id":
            answer(12345, text("for nobody"))
            time.sleep(100)
        case "ask_back":
            send(
                {
                    "jsonrpc": "2.0",
                    "id": 77,
                    "method": "sampling/createMessage",
                    "params": {"messages": [], "maxTokens": 9},
                }
            )
            sys.stdin.readline()
            answer(number, text("asked"))
        case "close_output":
            os.close(1)
            time.sleep(100)
        case "leave_a_child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
            answer(number, text(str(child.pid)))
        case _:
            answer(number, text("fine\x1b[31m", structuredContent={"a": 1}))


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
                call(number, request["params"]["name"])
            case _ if number is not None:
                send({"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "no such method"}})


if __name__ == "__main__":
    main()
