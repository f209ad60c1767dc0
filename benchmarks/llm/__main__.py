"""``python -m benchmarks.llm [engines paging latency quality]``: prints each part's results as one line of JSON."""

from __future__ import annotations

import argparse
import json

from benchmarks.llm import engines, latency, paging, quality

PARTS = {"engines": engines.measure, "paging": paging.measure, "latency": latency.measure, "quality": quality.measure}


def main() -> None:
    """Run the parts in sequence; the machine should be idle otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.llm", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {sorted(unknown)[0]!r}")
    for name in options.parts or PARTS:
        print(json.dumps({"part": name, **PARTS[name]()}), flush=True)


if __name__ == "__main__":
    main()
