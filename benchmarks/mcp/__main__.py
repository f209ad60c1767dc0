"""How many images assistants get by MCP, whose calls give up after some seconds while jobs take up to half an hour.

``python -m benchmarks.mcp`` starts Valkey, a gateway and an engine that draws nothing: each job runs for a time between
a second and ``--longest``, most of them for less than a minute. Each assistant has a client of its own, the official
one, which gives up a call after 20 to 60 s. It calls ``create_image`` and then ``wait_for_job`` until it has its image.
Two in three lose some calls on the way, as ``benchmarks.mcp.assistants.Habit`` says.

So that it takes minutes, ``--scale`` seconds of jobs, of limits and of the time that tools wait pass in a real one.
What the server itself needs is not scaled: its load is higher by that factor, and its margin within a limit smaller.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from collections.abc import Sequence

from benchmarks.mcp.assistants import PARAMS, Assistant, Outcome
from benchmarks.mcp.rig import Books, Rig, books, running


async def ask(rig: Rig, calls: int, within_s: float) -> list[Outcome]:
    """What comes of ``calls`` assistants, who begin within ``within_s`` real seconds."""
    return list(await asyncio.gather(*(Assistant(rig, number, within_s).run() for number in range(calls))))


def figures(outcomes: Sequence[Outcome], kept: Books) -> dict[str, object]:
    """What is printed."""
    return {
        "assistants": len(outcomes),
        "with_their_image": sum(each.has_image for each in outcomes),
        "problems": sorted({each.problem for each in outcomes if each.problem is not None}),
        "calls": sum(each.calls for each in outcomes),
        "calls_lost_by_accident": sum(each.accidents for each in outcomes),
        "calls_beyond_their_limit": sum(each.beyond_limit for each in outcomes),
        "connections_closed_by_the_server": sum(each.broken for each in outcomes),
        "longest_call_of_its_limit": round(max(each.longest_share for each in outcomes), 3),
        "jobs": kept.jobs,
        "jobs_drawn_twice": kept.drawn_twice,
        "jobs_charged_twice": kept.charged_twice,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="assistants (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=1800.0, metavar="S", help="job (default: %(default)s s)")
    parser.add_argument("--scale", type=float, default=3.0, help="seconds in a real one (default: %(default)s)")
    parser.add_argument("--within", type=float, default=605.0, metavar="S", help="real seconds (default: %(default)s)")
    asked = parser.parse_args()
    logging.getLogger("mcp").setLevel("CRITICAL")  # the client logs each answer that comes after its call was ended
    with running(asked.longest, asked.scale) as rig:
        began_at, cpu_s = time.monotonic(), rig.gateway.cpu_s
        outcomes = asyncio.run(ask(rig, asked.calls, asked.within))
        found = figures(outcomes, books(rig, PARAMS))
        found["seconds"] = round(time.monotonic() - began_at, 1)
        found["cpu_s_of_the_gateway"] = round(rig.gateway.cpu_s - cpu_s, 1)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
