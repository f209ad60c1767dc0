"""What one hostile API key costs the others: attacks are replayed against a service of its own.

``python -m benchmarks.hostile`` runs all rows, ``python -m benchmarks.hostile 1 4`` some of them. For each row it
starts ``photogram up``, times small jobs of a second API key alone and during the attack, asks ``/healthz`` all the
while, and reads the memory of gateway and worker. It prints one JSON object for each row, and exits with 1 if a target
is missed. The rows are the modules of ``benchmarks.hostile_rows``.
"""

from __future__ import annotations

import argparse
import json
import pkgutil
import re
import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from benchmarks import hostile_rows
from benchmarks.hostile_rig import measure, running_rig

LATER_MAX_S, HEALTHZ_MAX_S = 3.0, 0.5
PEAK_MAX_MIB, END_MAX_MIB = 1536, 300
_NAME = re.compile(r"row_(\d+)_\w+")


def rows() -> dict[int, ModuleType]:
    """The modules of all rows by their numbers."""
    names = [module.name for module in pkgutil.iter_modules(hostile_rows.__path__)]
    found = {int(match[1]): match[0] for match in map(_NAME.fullmatch, names) if match}
    return {number: import_module(f"{hostile_rows.__name__}.{name}") for number, name in sorted(found.items())}


def missed(measured: dict[str, Any]) -> list[str]:
    """The targets that a row missed."""
    later_s = measured["small_job_attacked_s"] - measured["small_job_alone_s"]
    found: list[str] = []
    if later_s > LATER_MAX_S:
        found.append(f"the small job ended {later_s:.1f} s later than alone")
    if measured["healthz_worst_s"] > HEALTHZ_MAX_S:
        found.append(f"/healthz took {measured['healthz_worst_s']} s")
    for name, memory in measured["memory_mib"].items():
        if isinstance(memory, str) or memory["peak_above"] > PEAK_MAX_MIB or memory["end_above"] > END_MAX_MIB:
            found.append(f"memory of the {name}: {memory}")
    return [*found, *measured["failed"]]


def run(number: int, row: ModuleType) -> bool:
    """Replay one row against a new service and print what it did; returns whether all targets were met."""
    title = (row.__doc__ or "").partition("\n")[0]
    print(f"row {number}: {title}", file=sys.stderr, flush=True)
    with running_rig(getattr(row, "ENVIRONMENT", {})) as rig:
        measured = measure(rig, row.attack)
    print(json.dumps({"row": number, "title": title, **measured, "missed": missed(measured)}), flush=True)
    return not missed(measured)


def main(argv: list[str] | None = None) -> int:
    """Run the rows that were asked for; returns the exit code."""
    found = rows()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", type=int, choices=[*found, []], metavar="ROW", help=f"of {list(found)}")
    asked = parser.parse_args(argv).rows or list(found)
    return 0 if all([run(number, found[number]) for number in asked]) else 1


if __name__ == "__main__":
    sys.exit(main())
