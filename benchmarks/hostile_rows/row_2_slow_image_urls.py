"""Slow image URLs: 24 img2img jobs whose image comes from a server that sends it byte by byte."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.hostile_rig import Target, outcomes

ENVIRONMENT = {"PHOTOGRAM_FETCH_PRIVATE": "1"}
_JOBS = 24
_PAUSE_S = 0.2


class _Dripping(BaseHTTPRequestHandler):
    """Sends one byte at a time for as long as somebody reads."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x")
                threading.Event().wait(_PAUSE_S)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def _dripping_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Dripping) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def attack(target: Target) -> str:
    """Queue all jobs and wait for them."""
    with _dripping_server() as url:
        jobs = [_img2img(f"{url}/{number}.png") for number in range(_JOBS)]
        answers = [target.post("/v1/jobs", json=job) for job in jobs]
        ended = target.wait_for([answer.json()["id"] for answer in answers if answer.is_success])
    return f"answers {outcomes(answer.status_code for answer in answers)}, jobs {outcomes(ended)}"


def _img2img(url: str) -> dict[str, object]:
    return {"kind": "img2img", "params": {"prompt": "a hat", "image": url}}
