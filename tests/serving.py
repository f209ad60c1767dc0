"""An application on a real port of the loopback, for as long as a test needs it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.commands.listening import GatewayServer


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """Serve ``app``; gives its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = GatewayServer(uvicorn.Config(app, log_config=None, proxy_headers=False, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
