"""What a tick costs outside of the model does not depend on the number of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from models.catalog.samplers import SAMPLERS
from tests.models.diffusion.rig import Studio, add_row, params
from tests.models.diffusion.stepping.meter import Meter
from tests.models.diffusion.stepping.test_families import STACKED

MAX_WAITS = 2
TABLE_STEPS = 3
"""The first tick computes the tables of coefficients, and multistep solvers reach their order in the third."""


def tick_of(studio: Studio, samplers: Sequence[str], rows: int) -> tuple[Counter[str], Counter[str]]:
    """The operations and the waits of one tick in the middle of ``rows`` rows, guided and unguided ones."""
    meter = Meter()
    engine = studio.engine(meter.without(studio.checkpoint.denoiser), rows=rows, preview_every=0)
    for number in range(rows):
        sampler, scale = samplers[number // 2 % len(samplers)], (5.0, 1.0)[number % 2]
        wanted = params(sampler=sampler, seed=number, num_inference_steps=12, guidance_scale=scale)
        add_row(engine, str(number), wanted, studio.spec)
    for _ in range(TABLE_STEPS):
        engine.step()
    with meter.running():
        events = engine.step()
    assert len(events) == rows
    engine.close()
    return meter.operations, meter.waits


@pytest.mark.parametrize("sampler", STACKED)
def test_as_many_operations_for_any_number_of_rows(tiny_sd: Studio, sampler: str) -> None:
    ticks = [tick_of(tiny_sd, [sampler], rows) for rows in (2, 8, 16)]
    assert ticks[0] == ticks[1] == ticks[2]
    assert sum(ticks[0][0].values()) > 0 and 0 < sum(ticks[0][1].values()) <= MAX_WAITS


def test_several_families_at_once(tiny_sd: Studio) -> None:
    mixed = ["Euler", "DPM++ 2M Karras"]
    ticks = [tick_of(tiny_sd, mixed, rows) for rows in (4, 8, 16)]
    assert ticks[0] == ticks[1] == ticks[2]
    assert sum(ticks[0][1].values()) <= MAX_WAITS


def test_the_meter_can_tell(tiny_sd: Studio) -> None:
    """Samplers without a family cost more for each row."""
    assert SAMPLERS["DPM2"].solver not in STACKED
    few, many = (tick_of(tiny_sd, ["DPM2"], rows) for rows in (2, 8))
    assert sum(many[0].values()) > sum(few[0].values())
