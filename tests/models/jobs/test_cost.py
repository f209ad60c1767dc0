"""What jobs cost, and what is refused for it."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.catalog.catalog import Catalog
from models.errors import ProblemCode
from models.jobs.cost import CPU_LIMITS, GPU_LIMITS, NO_LIMITS, Cost, CostLimits
from models.jobs.params import (
    Control,
    DrawParams,
    FaceRestoreParams,
    JobParams,
    Mask,
    Reduction,
    SecondPass,
    UpscaleParams,
    UpscaleRequest,
)

IMAGE, MASK = f"input:{'1' * 64}", f"input:{'2' * 64}"
MEASURES = tuple(asdict(NO_LIMITS))
SIDE = st.integers(1, 100_000)


def drawn(**changes: object) -> DrawParams:
    given: dict[str, object] = {
        "prompt": "x", "negative_prompt": "", "model": "house", "sampler": "Euler", "num_inference_steps": 10,
        "guidance_scale": 1.0, "seed": 1, "width": 64, "height": 32,
    }  # fmt: skip
    return DrawParams(**given | changes)  # type: ignore[arg-type]


def upscaled(scale: int = 4, upscaler: str = "Lanczos") -> UpscaleParams:
    return UpscaleParams(image=IMAGE, scale=scale, upscaler=upscaler)


def test_drawing_costs_its_pixels_for_each_step() -> None:
    assert (drawn().cost({}).output_px, drawn().cost({}).step_px) == (64 * 32, 64 * 32 * 10)
    assert drawn(strength=0.25, image=IMAGE).cost({IMAGE: (100, 10)}).step_px == 64 * 32 * 3
    assert drawn(image=IMAGE).cost({IMAGE: (100, 10)}).source_px == 1000


def test_candidates_cost_as_much_as_so_many_images() -> None:
    one, four = drawn(image=IMAGE).cost({IMAGE: (10, 10)}), drawn(image=IMAGE, best_of=4).cost({IMAGE: (10, 10)})
    assert (four.output_px, four.source_px, four.step_px) == (one.output_px, one.source_px, 4 * one.step_px)
    assert four.peak_bytes - one.peak_bytes == 3 * 12 * one.output_px
    limits = CostLimits(step_px=one.step_px, peak_bytes=one.peak_bytes)
    assert list(limits.problems(one)) == []
    assert [problem.field for problem in limits.problems(four)] == ["best_of", "best_of"]


def test_a_second_pass_costs_its_own_pixels() -> None:
    cost = drawn(second_pass=SecondPass(scale=2, num_inference_steps=8, strength=0.5)).cost({})
    assert (cost.output_px, cost.size_field) == (128 * 64, "second_pass.scale")
    assert cost.step_px == 64 * 32 * 10 + 128 * 64 * (1 + 4)


def test_only_the_masked_area_still_gives_the_whole_image() -> None:
    sizes = {IMAGE: (3000, 2000), MASK: (300, 200)}
    inpainted = drawn(image=IMAGE, mask=Mask(image=MASK, only_masked=True)).cost(sizes)
    assert (inpainted.output_px, inpainted.size_field, inpainted.source_px) == (6_000_000, "image", 6_060_000)
    assert drawn(image=IMAGE, mask=Mask(image=MASK)).cost(sizes).output_px == 64 * 32


def test_an_image_that_is_used_twice_is_counted_once() -> None:
    params = drawn(image=IMAGE, mask=Mask(image=IMAGE), controls=(Control(model="c", image=IMAGE),))
    assert params.cost({IMAGE: (10, 10)}).source_px == 100


def test_enlarging_costs_what_comes_out() -> None:
    assert upscaled().cost({IMAGE: (7000, 7000)}).output_px == 28_000**2
    assert upscaled().cost({}) == Cost(size_field="scale", steps_field="scale")
    plain, model = (upscaled(upscaler=name).cost({IMAGE: (500, 500)}) for name in ("Lanczos", "x4"))
    assert plain.peak_bytes < model.peak_bytes


def test_face_restoration_costs_the_image() -> None:
    assert FaceRestoreParams(image=IMAGE).cost({IMAGE: (100, 50)}).output_px == 5000


def test_a_kind_that_says_nothing_costs_its_images() -> None:
    class Plain(JobParams):
        declaration = UpscaleRequest
        image = IMAGE

    assert Plain().cost({IMAGE: (10, 20)}).source_px == 200


@settings(deadline=None)
@given(SIDE, SIDE, st.sampled_from([2, 4]))
def test_what_is_above_a_limit_is_refused_with_number_and_limit(width: int, height: int, scale: int) -> None:
    cost = upscaled(scale).cost({IMAGE: (width, height)})
    problems = {problem.field: problem for problem in CPU_LIMITS.problems(cost)}
    for measure in MEASURES:
        assert getattr(cost, measure) <= getattr(CPU_LIMITS, measure) or problems
    for problem in problems.values():
        assert problem.code is ProblemCode.TOO_COSTLY
        assert f"at most {problem.high} are allowed" in problem.message
    if cost.output_px > (CPU_LIMITS.output_px or 0):
        assert str(cost.output_px) in "".join(found.message for found in CPU_LIMITS.problems(cost))


@pytest.mark.parametrize("limits", [CPU_LIMITS, GPU_LIMITS])
@pytest.mark.parametrize(("size", "scale"), [((2048, 2048), 4), ((4000, 3000), 2), ((1024, 1024), 4), ((512, 512), 4)])
def test_what_people_enlarge_is_allowed(limits: CostLimits, size: tuple[int, int], scale: int) -> None:
    for upscaler in ("Lanczos", "x4"):
        assert not list(limits.problems(upscaled(scale, upscaler).cost({IMAGE: size})))


def test_what_people_draw_is_allowed() -> None:
    large = drawn(width=1024, height=1024, num_inference_steps=150, second_pass=SecondPass(num_inference_steps=150))
    assert not list(CPU_LIMITS.problems(large.cost({})))
    photo = drawn(image=IMAGE, mask=Mask(image=MASK, only_masked=True)).cost({IMAGE: (6000, 4000), MASK: (6000, 4000)})
    assert not list(CPU_LIMITS.problems(photo))
    assert not list(CPU_LIMITS.problems(drawn(width=512, height=512, num_inference_steps=30).cost({}).times(100)))


def test_a_series_adds_up_its_steps_and_not_its_memory() -> None:
    cost = drawn().cost({})
    assert (cost.times(5).step_px, cost.times(5).peak_bytes) == (5 * cost.step_px, cost.peak_bytes)
    both = cost.plus(drawn(width=128, height=128).cost({}))
    assert (both.step_px, both.output_px) == (cost.step_px + 128 * 128 * 10, 128 * 128)
    assert Cost().plus(cost).step_px == cost.step_px


def test_of_two_limits_the_stricter_one_holds() -> None:
    both = CostLimits(output_px=5, step_px=9).and_also(CostLimits(output_px=7, peak_bytes=3))
    assert both == CostLimits(output_px=5, step_px=9, peak_bytes=3)
    assert NO_LIMITS.and_also(CPU_LIMITS) == CPU_LIMITS
    assert not list(NO_LIMITS.problems(Cost(output_px=1 << 60)))


def test_images_are_reduced_where_all_uses_of_them_agree() -> None:
    catalog = Catalog({})
    image = drawn(image=IMAGE, mask=Mask(image=MASK), resize_mode="fill")
    fitted = Reduction((64, 32), "fill")
    assert image.reductions(catalog) == {IMAGE: fitted, MASK: fitted}
    whole = drawn(image=IMAGE, mask=Mask(image=MASK, only_masked=True))
    assert whole.reductions(catalog) == {}
    assert upscaled().reductions(catalog) == {}


def test_each_part_of_a_composed_prompt_counts() -> None:
    three = drawn(prompt="a cat AND a dog AND a house AND nothing :0")
    assert three.cost({}).step_px == 3 * drawn().cost({}).step_px
