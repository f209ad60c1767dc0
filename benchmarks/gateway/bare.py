"""What the gateway is compared with: a FastAPI application with one route, which does one Redis GET.

``python -m benchmarks.gateway.bare URL PORT`` serves it with the event loop and the parser that the gateway has.
"""

from __future__ import annotations

import sys

import uvicorn
from fastapi import FastAPI, Response

from service.backbone.connections import connect_async

BARE_KEY = "benchmark:bare:{job_id}"
"""The Redis key whose value is the answer to ``GET /jobs/{job_id}``."""


def bare_app(redis_url: str) -> FastAPI:
    """The application."""
    connection = connect_async(redis_url, "benchmark-bare")
    app = FastAPI()

    @app.get("/jobs/{job_id}")
    async def read(job_id: str) -> Response:
        return Response(await connection.get(BARE_KEY.format(job_id=job_id)), media_type="application/json")

    return app


if __name__ == "__main__":
    uvicorn.run(bare_app(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_config=None, http="httptools")
