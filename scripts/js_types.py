"""Generates ``clients/js/src/schema.ts`` from the schemas of the native API; ``--check`` only compares.

The packages of ``clients/js`` must be installed (``npm ci`` there). The document holds what the paths of the native
API use; the paths themselves are left out, because the client needs the types alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from service.api.app import create_app
from service.backbone.settings import Settings

CLIENT = Path(__file__).parents[1] / "clients" / "js"
TYPES = CLIENT / "src" / "schema.ts"
NATIVE = {"jobs", "listings", "language", "preferences", "usage", "keys", "provenance", "webhooks", "images", "health"}
"""The tags of the native API's operations."""


def native_document() -> dict[str, Any]:
    """An OpenAPI document without paths, with the schemas that the native API uses, sorted by name."""
    document = create_app(Settings()).openapi()
    schemas: dict[str, Any] = document["components"]["schemas"]
    found: dict[str, Any] = {}
    waiting = list(
        _references([each for path in document["paths"].values() for each in path.values() if _native(each)])
    )
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schemas[name]
            waiting.extend(_references(schemas[name]))
    return {**document, "paths": {}, "tags": [], "components": {"schemas": dict(sorted(found.items()))}}


def _native(operation: dict[str, Any]) -> bool:
    return not NATIVE.isdisjoint(operation.get("tags", ()))


def _references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref" and isinstance(value, str):
                yield value.rpartition("/")[2]
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def types(packages: Path = CLIENT) -> str:
    """The TypeScript module; ``packages`` is the folder that ``openapi-typescript`` is installed in."""
    with tempfile.TemporaryDirectory() as folder:
        document, output = Path(folder, "openapi.json"), Path(folder, "schema.ts")
        document.write_text(json.dumps(native_document()), encoding="utf-8")
        program = packages / "node_modules" / ".bin" / "openapi-typescript"
        command = [program, document, "--output", output, "--default-non-nullable", "false"]
        subprocess.run(command, check=True, capture_output=True)
        return output.read_text(encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the types, or with ``--check`` say whether they are those of the API; returns the exit code."""
    current = types()
    if arguments == ["--check"]:
        if TYPES.read_text(encoding="utf-8") == current:
            return 0
        print(f"{TYPES} is not what the API says; run: python scripts/js_types.py", file=sys.stderr)
        return 1
    TYPES.write_text(current, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
