"""Places of several images on one canvas."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.media.collage import cells

SQUARE = (64, 64)


def test_two_squares_are_side_by_side_on_a_wide_canvas_and_above_each_other_on_a_high_one():
    assert list(cells([SQUARE, SQUARE], (200, 100))) == [(0, 0, 100, 100), (100, 0, 200, 100)]
    assert list(cells([SQUARE, SQUARE], (100, 200))) == [(0, 0, 100, 100), (0, 100, 100, 200)]


def test_four_squares_are_a_square():
    assert list(cells([SQUARE] * 4, (8, 8))) == [(0, 0, 4, 4), (4, 0, 8, 4), (0, 4, 4, 8), (4, 4, 8, 8)]


def test_portraits_on_a_square_are_side_by_side():
    assert list(cells([(64, 128)] * 2, (100, 100))) == [(0, 0, 50, 100), (50, 0, 100, 100)]


def test_the_last_row_is_filled():
    assert list(cells([SQUARE] * 3, (100, 100)))[-1] == (0, 50, 100, 100)


SIDE = st.integers(1, 5000)


@given(sizes=st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=16), canvas=st.tuples(*[st.integers(16, 2048)] * 2))
def test_the_cells_cover_the_canvas_without_overlap(sizes, canvas):
    found = list(cells(sizes, canvas))
    assert len(found) == len(sizes)
    assert all(left < right and top < bottom for left, top, right, bottom in found)
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in found) == canvas[0] * canvas[1]
    for index, (left, top, right, bottom) in enumerate(found):
        for other in found[:index]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
