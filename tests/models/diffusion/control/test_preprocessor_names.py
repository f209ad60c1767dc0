"""The preprocessors' names, held against Prodia v1's own list."""

from __future__ import annotations

import pytest

from models.catalog.preprocessors import PREPROCESSORS, find_preprocessor

PRODIA = """
none canny depth depth_leres depth_leres++ hed hed_safe mediapipe_face mlsd normal_map openpose openpose_hand
openpose_face openpose_faceonly openpose_full clip_vision color pidinet pidinet_safe pidinet_sketch pidinet_scribble
scribble_xdog scribble_hed segmentation threshold depth_zoe normal_bae oneformer_coco oneformer_ade20k lineart
lineart_coarse lineart_anime lineart_standard shuffle tile_resample invert lineart_anime_denoise reference_only
reference_adain reference_adain+attn inpaint inpaint_only inpaint_only+lama tile_colorfix tile_colorfix+sharp
"""
"""The schema ``ControlnetModule`` of its OpenAPI document 1.3.0."""


def test_all_of_prodias_are_known_in_its_order() -> None:
    assert list(PREPROCESSORS) == PRODIA.split()
    assert all(find_preprocessor(name) is known for name, known in PREPROCESSORS.items())
    assert find_preprocessor("telepathy") is None


@pytest.mark.parametrize("name", PREPROCESSORS)
def test_every_default_is_within_its_own_bounds(name: str) -> None:
    known = PREPROCESSORS[name]
    for threshold in (known.threshold_a, known.threshold_b):
        assert threshold is None or threshold.low <= threshold.default <= threshold.high
    assert known.threshold_b is None or known.threshold_a is not None
