"""Errors are measured over all calls, and compared with the thresholds of the precision."""

from __future__ import annotations

import json
from math import inf, nan

import numpy as np
import pytest
import torch
from PIL import Image

from models.deploy.proof import THRESHOLDS, ImageDifference, PartDifference, judge, psnr_db, score_drop, ssim
from models.deploy.recording import Call

CALLS = [Call({"sample": torch.ones(2, 2)}, {"0": torch.full((2, 2), float(number))}, {}, {}) for number in (3, 4)]


def difference(found: float) -> PartDifference:
    return PartDifference.of(lambda inputs: [np.full((2, 2), found)], CALLS)


def image(psnr: float = inf, score: float | None = 0.3, of_torch: float | None = 0.3) -> ImageDifference:
    return ImageDifference("seed 1", psnr, 1.0, score, of_torch)


def test_errors_are_over_all_calls() -> None:
    found = difference(4.0)
    assert (found.max_abs, found.mean_abs, found.calls) == (1.0, 0.5, 2)
    assert found.relative == pytest.approx((4 / 100) ** 0.5)


@pytest.mark.parametrize("value", [nan, inf, -inf])
def test_outputs_that_are_no_numbers_do_not_pass(value: float) -> None:
    for precision in THRESHOLDS:
        verdict = judge(precision, {"unet": difference(value)}, [image()])
        assert len(verdict.failures) == 1 and verdict.failures[0].startswith("unet: ")
        text = json.dumps(verdict.document(), allow_nan=False)
        assert json.loads(text)["parts"]["unet"]["relative"] is None


def test_a_single_wrong_number_does_not_pass() -> None:
    outputs = np.full((2, 2), 3.0)
    outputs[0, 0] = nan
    found = PartDifference.of(lambda inputs: [outputs], CALLS[:1])
    assert judge("w4", {"unet": found}, []).failures


@pytest.mark.parametrize("precision", THRESHOLDS)
def test_each_threshold_is_the_last_value_that_passes(precision: str) -> None:
    bound = THRESHOLDS[precision]
    within = PartDifference(1.0, 1.0, bound.relative, 1)
    beyond = PartDifference(1.0, 1.0, bound.relative * 1.01, 1)
    assert judge(precision, {"unet": within}, [image(bound.psnr_db)]).failures == []
    assert len(judge(precision, {"unet": beyond}, [image(bound.psnr_db - 0.1)]).failures) == 2
    assert judge(precision, {}, [image(score=0.3 - bound.score_drop * 0.99)]).failures == []
    assert len(judge(precision, {}, [image(score=0.3 - bound.score_drop * 1.01)]).failures) == 1


def test_images_that_nothing_saw_have_no_drop() -> None:
    assert score_drop([image(score=None)]) is None
    assert judge("f32", {}, [image(score=None), image(score=nan)]).failures != [], "no number does not pass"


def test_the_document_has_the_lowest_psnr() -> None:
    document = judge("f32", {}, [image(), image(61.237), image(70.0)]).document()
    assert (document["passed"], document["lowest_psnr_db"]) == (True, 61.24)
    assert judge("f32", {}, [image()]).document()["lowest_psnr_db"] is None


def test_equal_images_are_alike_and_others_less_so() -> None:
    noise = np.random.default_rng(0).integers(0, 250, (32, 48, 3), dtype=np.uint8)
    one, brighter = Image.fromarray(noise), Image.fromarray(noise + 5)
    assert psnr_db(one, one) == inf and ssim(one, one) == pytest.approx(1)
    assert psnr_db(one, brighter) == pytest.approx(10 * np.log10(255**2 / 25))
    assert 0.9 < ssim(one, brighter) < 1 and ssim(one, Image.fromarray(255 - noise)) < 0
