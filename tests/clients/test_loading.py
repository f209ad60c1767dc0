"""The event of a model that is downloaded, and the lines that tell of it."""

import io

from photogram import Loading, Progressed, Queued, QueuePlace
from photogram._events import _event_of
from photogram._sse import Frame
from photogram.progress import Lines, Tqdm, size_text


def test_a_download_is_told_in_tenths_and_then_the_load() -> None:
    out = io.StringIO()
    display = Lines(out)
    for done in (0, 10**8, 2 * 10**9, 2 * 10**9 + 1):
        display(Loading("model xl", done, 4 * 10**9))
    display(Loading("model xl"))
    assert out.getvalue().splitlines() == [
        "downloading model xl: 0 B of 4.00 GB",
        "downloading model xl: 2.00 GB of 4.00 GB",
        "loading model xl",
    ]


def test_the_event_is_read_with_and_without_bytes() -> None:
    data = '{"name": "model xl", "done_bytes": 5, "total_bytes": 9}'
    assert _event_of(Frame("loading", data, "1-0")) == Loading("model xl", 5, 9)
    assert _event_of(Frame("loading", '{"name": "model xl"}', "1-0")) == Loading("model xl")


def test_a_bar_of_tqdm_shows_the_place_and_the_steps():
    shown = io.StringIO()
    with Tqdm(file=shown, mininterval=0) as bar:
        for event in (Queued(QueuePlace(3, 12.0)), Loading("model house"), Progressed(1, 4), Progressed(4, 4)):
            bar(event)
    text = shown.getvalue()
    assert "queued, 3 ahead, done in 12 s" in text and "loading model house" in text and "4/4" in text


def test_small_downloads_have_small_units() -> None:
    assert [size_text(size) for size in (0, 999, 120_000, 3_400_000)] == ["0 B", "999 B", "120.00 kB", "3.40 MB"]
