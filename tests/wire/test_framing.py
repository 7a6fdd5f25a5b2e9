"""Lines and server-sent events, however the bytes are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isthmus.wire.lines import LineSplitter, TooLong
from isthmus.wire.sse import EventParser, EventTooLong, write_event

STREAM = (
    b'\xef\xbb\xbf: hello\r\n\r\nevent: message\r\ndata: {"a":1}\r\n\r\n'
    b"id: 7\rdata:x\rdata: y\r\rretry: 500\nid: 8\ndata\n\nfield\nevent: other\n\ndata: end\n"
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@settings(max_examples=200, deadline=None)
@given(places=st.lists(st.integers(0, 500), max_size=30))
def test_lines_don_t_depend_on_the_cuts(places: list[int]) -> None:
    splitter = LineSplitter(12)
    data = b'\xef\xbb\xbf{"a":1}\r\n\n \t\n"\xe2\x80\xa8\xc2\x85"\n' + b"x" * 13 + b"\n" + b"y" * 12 + b"\nrest"
    lines = [line for piece in cut(data, places) for line in splitter.feed(piece)] + splitter.finish()
    assert lines == [b'{"a":1}', b'"\xe2\x80\xa8\xc2\x85"', TooLong(None), b"y" * 12, b"rest"]
    assert splitter.finish() == []


@pytest.mark.parametrize(
    ("line", "id"),
    [
        ('{"jsonrpc":"2.0","id":7,"result":{"x":"%s"}}', b"7"),
        ('{"jsonrpc": "2.0", "id": 7, "error": {"x": "%s", "id": 8}}', b"7"),
        ('{"id":7,"jsonrpc":"2.0","result":{"x":"%s"}}', b"7"),
        ('{"id":7,"result":{"x":"%s"},"jsonrpc":"2.0"}', b"7"),
        ('{"result":{"id":8,"x":"%s"},"jsonrpc":"2.0","id":7}', b"7"),
        ('{ "jsonrpc" : "2.0" , "result" : {"x":"%s"} , "id" : 7 } ', b"7"),
        ('{"result":{"x":"%s"},"id":7,"jsonrpc":"2.0"}', b"7"),
        ('{"result":{"x":"%s","id":8}}', None),
        ('{"result":{"x":"%s"},"y":[8,"id",7]}', None),
        ('{"result":{"x":"%s"},"y":",\\"id\\":7}"}', None),
        ('{"result":{"x":"%s"},"id":"7"}', None),
        ('{"result":{"x":"%s"},"id":7.5}', None),
        ('{"jsonrpc":"2.0","id":7,"method":"x","params":{"x":"%s"}}', None),
        ('{"method":"x","params":{"result":"%s"},"jsonrpc":"2.0","id":7}', None),
        ("%s", None),
    ],
)
@settings(max_examples=30, deadline=None)
@given(places=st.lists(st.integers(0, 1500), max_size=10))
def test_of_an_answer_that_is_too_long_its_id_is_known(line: str, id: bytes | None, places: list[int]) -> None:
    splitter = LineSplitter(300)
    data = (line.replace("%s", "\u00e9" * 600) + "\n{}\n").encode()
    assert [line for piece in cut(data, places) for line in splitter.feed(piece)] == [TooLong(id), b"{}"]


@settings(max_examples=200, deadline=None)
@given(places=st.lists(st.integers(0, 500), max_size=30))
def test_events_don_t_depend_on_the_cuts(places: list[int]) -> None:
    parser = EventParser(1000)
    events = [tuple(event) for piece in cut(STREAM, places) for event in parser.feed(piece)]
    assert events == [
        ("message", b'{"a":1}', None, None),
        ("message", b"x\ny", "7", None),
        ("message", b"", "8", 500),
    ]


def test_what_is_written_is_read() -> None:
    parser = EventParser(100)
    assert [tuple(each) for each in parser.feed(b"".join((*write_event(b"{}"), *write_event(b"[]", b"3"))))] == [
        ("message", b"{}", None, None),
        ("message", b"[]", "3", None),
    ]


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 101, b"data: x\n" * 30, b"x" * 101])
def test_an_event_is_bounded(piece: bytes) -> None:
    with pytest.raises(EventTooLong):
        EventParser(100).feed(piece)


def test_an_event_may_have_as_many_bytes_as_the_bound_however_it_is_cut() -> None:
    whole = b"data: " + b"x" * 94
    for size in (1, 7, 100):
        parser = EventParser(100)
        pieces = [whole[at : at + size] for at in range(0, len(whole), size)]
        events = [event for piece in [*pieces, b"\r", b"\n", b"\r", b"\n"] for event in parser.feed(piece)]
        assert [len(event.data) for event in events] == [94]


def test_line_breaks_that_are_cut_in_half() -> None:
    parser = EventParser(100)
    events = [event for piece in (b"data: x\r", b"\n", b"\n") for event in parser.feed(piece)]
    assert [event.data for event in events] == [b"x"]


def test_many_events_in_one_piece_are_not_one_long_one() -> None:
    assert len(EventParser(100).feed(b"data: 12345678901234567890\n\n" * 50)) == 50
