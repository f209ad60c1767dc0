"""The decoder of server-sent events, for every way of cutting the stream."""

import pytest
from photogram._sse import Frame, FrameDecoder

STREAM = (
    ': hello\n\nid: 1\nevent: a\ndata: {"x":1}\n\ndata:two\ndata: lines\nretry: 5\n\n'
    "event: empty\n\nid: 2\ndata: ü\u2028\x85\n\n"
)
FRAMES = [Frame("a", '{"x":1}', "1"), Frame("message", "two\nlines", "1"), Frame("message", "ü\u2028\x85", "2")]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_cut_gives_the_same_frames(line_end: str):
    stream = STREAM.replace("\n", line_end).encode()
    for cut in range(len(stream) + 1):
        decoder = FrameDecoder()
        assert [*decoder.feed(stream[:cut]), *decoder.feed(stream[cut:])] == FRAMES
    decoder = FrameDecoder()
    assert [frame for byte in stream for frame in decoder.feed(bytes([byte]))] == FRAMES


def test_lone_carriage_returns_end_lines_too():
    assert list(FrameDecoder().feed(b"data: x\r\rdata: y\r\r:\n")) == [
        Frame("message", "x", None),
        Frame("message", "y", None),
    ]


def test_a_frame_that_broke_off_is_not_given():
    assert list(FrameDecoder().feed(b"event: a\ndata: half\n")) == []
