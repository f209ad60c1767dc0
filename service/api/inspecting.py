"""Reading what uploaded images carry, each in a process of its own that ends when it takes too long."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import Any

from starlette.concurrency import run_in_threadpool

from models.errors import PhotogramError
from service.backbone.provenance import Signing

AT_ONCE = 2
"""How many images are read at the same time; others wait."""
TIMEOUT_S = 30.0
_PROGRAM = "models.provenance.reading"


class InspectionFailed(PhotogramError):
    """The file is not an image that can be read; the message says why."""


class Inspector:
    """Reads images; ``models.provenance.reading`` does so in another process, within limits of memory and time."""

    def __init__(self, signing: Signing) -> None:
        self._signing, self._turns = signing, asyncio.Semaphore(AT_ONCE)

    async def inspect(self, data: bytes) -> dict[str, Any]:
        """What the image ``data`` carries, as :func:`models.provenance.reading.inspect` returns it.

        Raises:
            InspectionFailed: it is no image, or reading it takes too much time or memory.
        """
        certificate = await run_in_threadpool(self._signing.certificate)
        head = json.dumps({"certificate": certificate.decode("ascii", "replace")}).encode()
        async with self._turns:
            found: dict[str, Any] = json.loads(await _answer(head + b"\n" + data))
        if "refusal" in found:
            raise InspectionFailed(found["refusal"])
        return found


async def _answer(question: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _PROGRAM,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    try:
        answer, _ = await asyncio.wait_for(process.communicate(question), TIMEOUT_S)
    except TimeoutError as error:
        raise InspectionFailed(f"the image could not be read within {TIMEOUT_S:g} s") from error
    finally:
        with suppress(ProcessLookupError):  # it has ended
            process.kill()
        await process.wait()
    if process.returncode:
        raise InspectionFailed("the image takes too much time or memory to read, or is damaged")
    return answer
