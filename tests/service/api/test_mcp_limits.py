"""All assistants get their image, however long it takes, although their calls give up early and some of them are lost.

``python -m benchmarks.mcp`` is the same with 1,000 assistants and jobs of up to half an hour.
"""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.mcp.__main__ import ask
from benchmarks.mcp.assistants import LIMITS_S, PARAMS
from benchmarks.mcp.engine import colour
from benchmarks.mcp.rig import books, running

CALLS, LONGEST_S, SCALE, WITHIN_S = 60, 48.0, 3.0, 18.0
LATE_MAX = 6
"""So many answers may come too late: the machine is busy, and limits are scaled while the server's own work is not."""


@pytest.mark.timeout(180)
def test_sixty_assistants_get_their_image_within_the_limits_of_their_calls() -> None:
    assert 2 * LIMITS_S[0] < LONGEST_S, "some jobs take longer than a call may"
    with running(LONGEST_S, SCALE) as rig:
        outcomes = asyncio.run(ask(rig, CALLS, WITHIN_S))
        kept = books(rig, PARAMS)
    assert [each.problem for each in outcomes if each.problem is not None] == []
    assert all(each.has_image for each in outcomes)
    late = sum(each.beyond_limit + each.broken for each in outcomes)
    assert late <= LATE_MAX
    assert sum(each.accidents for each in outcomes) > CALLS / 4, "calls are lost on the way"
    assert max(each.calls for each in outcomes) > 3
    assert (kept.drawn_twice, kept.charged_twice) == (0, 0)
    assert CALLS <= kept.jobs <= CALLS + late, "only an assistant that lost an answer may ask for another image"


def test_images_of_the_benchmark_can_be_told_apart() -> None:
    assert len({colour(seed) for seed in range(1000)}) == 1000
