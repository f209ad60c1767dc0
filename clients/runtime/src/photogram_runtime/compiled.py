"""A folder of compiled graphs: OpenVINO compiles a graph in seconds, and reads one that it has compiled in less.

Each file begins with the SHA-256 of the rest, so that one which is cut or changed is compiled again. A file is used for
one package, runtime, processor and set of properties only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

MAX_BYTES = 2 << 30
"""Larger graphs are compiled each time: reading them would take their size in memory once more."""
UNUSED_S = 30 * 86400.0
"""What was not used for so long is removed when something is written."""
_SUFFIX = ".compiled"
_DIGEST_BYTES = 32


def compile_graph(core: Any, file: Path, properties: Mapping[str, Any], cache: Path | None, of: str) -> Any:
    """The compiled graph of ``file`` on the CPU, from ``cache`` if it is there; otherwise it is kept there.

    A cache that cannot be read or written changes nothing but the time.

    Args:
        core: an ``openvino.Core``.
        of: what the graph belongs to, such as the digest of its package and the name of its part.

    Raises:
        RuntimeError: OpenVINO cannot read ``file``.
    """

    def compiled() -> Any:
        return core.compile_model(file, "CPU", properties)

    return compiled() if cache is None else _kept(core, compiled, properties, cache / _name(core, properties, of))


def _kept(core: Any, compiled: Callable[[], Any], properties: Mapping[str, Any], place: Path) -> Any:
    blob = _read(place)
    if blob is not None:
        with contextlib.suppress(RuntimeError):
            return core.import_model(BytesIO(blob), "CPU", properties)
    model = compiled()
    with contextlib.suppress(OSError, RuntimeError):
        exported = model.export_model()
        _write(place, exported if isinstance(exported, bytes) else exported.getvalue())
    return model


def _name(core: Any, properties: Mapping[str, Any], of: str) -> str:
    import openvino

    facts = [
        of, openvino.get_version(), core.get_property("CPU", "FULL_DEVICE_NAME"),
        sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")), sorted(properties.items()),
    ]  # fmt: skip
    return f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]}{_SUFFIX}"


def _read(place: Path) -> bytes | None:
    try:
        if place.stat().st_size > MAX_BYTES + _DIGEST_BYTES:
            return None
        held = place.read_bytes()
        os.utime(place)  # it was used now
    except OSError:
        return None
    blob = held[_DIGEST_BYTES:]
    return blob if hashlib.sha256(blob).digest() == held[:_DIGEST_BYTES] else None


def _write(place: Path, blob: bytes) -> None:
    if len(blob) > MAX_BYTES:
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)
    partial = place.with_name(f"{place.stem}.{uuid.uuid4().hex}.partial")
    try:
        partial.write_bytes(hashlib.sha256(blob).digest() + blob)
        partial.replace(place)
    finally:
        partial.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    for each in (*folder.glob(f"*{_SUFFIX}"), *folder.glob("*.partial")):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > UNUSED_S:
                each.unlink()
