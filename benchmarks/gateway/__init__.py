"""The speed of one gateway process, beside that of a bare FastAPI route (``python -m benchmarks.gateway``)."""
