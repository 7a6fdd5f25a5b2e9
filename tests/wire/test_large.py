"""What is large is copied as seldom as possible: three times a result's size for each call in flight is the most."""

import tracemalloc
from collections.abc import Callable

import pytest

from isthmus.protocol.edits import ServerInfo, with_id, with_server_info
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope
from isthmus.wire.lines import LineSplitter, framed
from isthmus.wire.sse import EventParser, write_event

SIZE = 8_000_000
TEXT = b'{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"' + b"x" * SIZE + b'"}]}}'
PIECES = [TEXT[at : at + 65536] for at in range(0, len(TEXT), 65536)]


def copies(work: Callable[[], object]) -> float:
    """The most memory that is taken at once, in sizes of the text."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / SIZE
    finally:
        tracemalloc.stop()


def envelope(text: bytes = TEXT) -> Envelope:
    message = parse(text)
    assert isinstance(message, Envelope)
    return message


def read_event() -> None:
    parser = EventParser(2 * SIZE)
    for piece in (b"data: ", *PIECES):
        parser.feed(piece)
    (event,) = parser.feed(b"\n\n")
    assert event.data == TEXT


def read_line() -> None:
    splitter = LineSplitter(2 * SIZE)
    for piece in PIECES:
        splitter.feed(piece)
    assert splitter.feed(b"\n") == [TEXT]


@pytest.mark.parametrize(
    ("work", "most"),
    [
        (envelope, 0.1),
        (lambda: with_server_info(envelope(), b"2", ServerInfo("i")), 1.1),
        (lambda: with_id(envelope(), b"2"), 1.6),  # msgspec sets aside half as much again, and does not touch it
        (read_event, 2.3),
        (read_line, 2.3),
        (lambda: write_event(TEXT, b"1"), 0.1),
        (lambda: framed(TEXT), 0.1),
    ],
)
def test_a_large_message_is_copied_as_seldom_as_possible(work: Callable[[], object], most: float) -> None:
    assert copies(work) < most


def test_a_frame_in_pieces_is_the_same() -> None:
    assert b"".join(write_event(TEXT, b"1")) == b"event: message\nid: 1\ndata: " + TEXT + b"\n\n"
    assert b"".join(framed(TEXT)) == TEXT + b"\n"
