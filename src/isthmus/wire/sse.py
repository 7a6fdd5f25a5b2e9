"""Server-sent events, written and read (WHATWG HTML §9.2, as MCP's HTTP transports use them)."""

from typing import Final, NamedTuple

from isthmus.limits import TOGETHER

COMMENT: Final = b":\n\n"
"""Keeps an idle stream open; says nothing."""


class Event(NamedTuple):
    """One dispatched event; `id` and `retry` (milliseconds) only where this event carried them."""

    type: str
    data: bytes
    id: str | None
    retry: int | None


def write_event(message: bytes, id: bytes | None = None) -> tuple[bytes, ...]:
    """A message as one event, in pieces to be sent one after the other: what is large is not copied for its frame.

    `message` has no line breaks (see `codec.one_line`).
    """
    head = b"event: message\ndata: " if id is None else b"event: message\nid: %b\ndata: " % id
    if len(message) < TOGETHER:
        return (b"%b%b\n\n" % (head, message),)
    return (head, message, b"\n\n")


def write_primer(id: bytes, retry: int) -> bytes:
    """An event without a message: its `id` lets the client resume the stream, after `retry` ms."""
    return b"id: %b\nretry: %d\ndata:\n\n" % (id, retry)


class EventTooLong(ValueError):
    """An event passed the bound."""


class EventParser:
    """Reads events from a byte stream.

    Args:
        bound: the most bytes that one event may hold.
    """

    __slots__ = ("_after_cr", "_bound", "_data", "_held", "_id", "_retry", "_size", "_started", "_type")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held = bytearray()
        self._size = 0
        self._started = False
        self._after_cr = False
        self._clear()

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes.

        Raises:
            EventTooLong: an event passed the bound; the stream can't be read on.
        """
        if not data:
            return []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
        self._after_cr = data[-1:] == b"\r"
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = data.split(b"\n")
        self._held += first
        events: list[Event] = []
        for line in rest:
            held, self._held = self._held, bytearray(line)
            event = self._line(held)
            if event is not None:
                events.append(event)
        self._check(len(self._held))
        return events

    def _check(self, more: int) -> None:
        if self._size + more > self._bound:
            raise EventTooLong(f"An event of more than {self._bound} bytes came on the stream.")

    def _clear(self) -> None:
        self._data: list[bytes] = []
        self._type = ""
        self._id: str | None = None
        self._retry: int | None = None
        self._size = 0

    def _line(self, line: bytearray) -> Event | None:
        """Take one line; the event that it completes. What may be large, the value, is copied once."""
        if not self._started:
            self._started = True
            if line.startswith(b"\xef\xbb\xbf"):
                del line[:3]
        if not line:
            return self._dispatch()
        self._size += len(line)
        self._check(0)
        at = line.find(b":")
        at = at if at >= 0 else len(line)
        name = bytes(line[:at])
        start = at + 1 + line.startswith(b" ", at + 1)
        with memoryview(line) as view:
            value = bytes(view[start:])
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._type = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        elif name == b"retry" and value.isdigit() and len(value) < 12:
            self._retry = int(value)
        return None

    def _dispatch(self) -> Event | None:
        """An event without data isn't dispatched by browsers; its id and retry still count, so they are handed on."""
        event = None
        if self._data or self._id is not None or self._retry is not None:
            event = Event(self._type or "message", b"\n".join(self._data), self._id, self._retry)
        self._clear()
        return event
