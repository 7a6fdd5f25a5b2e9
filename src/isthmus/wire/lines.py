"""The stdio framing: one message a line, UTF-8, `\\n` at the end.

`\\r\\n` is accepted, blank lines mean nothing, and a byte order mark before the first line is ignored (RFC 8259 §8.1
lets parsers do so; .NET programs write one).
"""

import re
from typing import Final, NamedTuple

from isthmus.limits import TOGETHER


def framed(message: bytes) -> tuple[bytes, ...]:
    """A message as a line, in pieces to be written one after the other: what is large is not copied for its frame."""
    return (message + b"\n",) if len(message) < TOGETHER else (message, b"\n")


class TooLong(NamedTuple):
    """Stands in the place of a line that passed the bound; its text is gone.

    `answers` is the id of the request that it answers, as JSON, where the ends of the line tell.
    """

    answers: bytes | None


_ENDS: Final = 256
"""Bytes that are kept of each end of such a line."""
_VERSION: Final = rb'"jsonrpc"\s*:\s*"2\.0"\s*'
_ID: Final = rb'"id"\s*:\s*(\d{1,15})\s*'
_HEAD: Final = re.compile(rb"\s*\{\s*(?:%b,\s*)?(?:%b,\s*)?(?:%b,\s*)?\"(?:result|error)\"" % (_VERSION, _ID, _VERSION))
_TAIL: Final = re.compile(rb",\s*%b(?:,\s*%b)?\}\s*\Z" % (_ID, _VERSION))
"""What is last in an object is in none that is inside it: nothing else than its brace closes there."""


def _too_long(head: bytes, tail: bytes) -> TooLong:
    first = _HEAD.match(head)
    found = first if first is None or first[1] is not None else _TAIL.search(tail)
    return TooLong(found[1] if found is not None else None)


_BOM: Final = b"\xef\xbb\xbf"


class LineSplitter:
    """Cuts a byte stream into lines and never holds more than `bound` bytes of an unfinished one.

    Args:
        bound: the longest line, in bytes, without its line break.
    """

    __slots__ = ("_bound", "_head", "_held", "_is_first", "_skipping")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held = bytearray()
        """The line so far; its end alone where it is too long."""
        self._head = b""
        self._is_first = True
        self._skipping = False

    def feed(self, data: bytes) -> "list[bytes | TooLong]":
        """The lines that `data` completes, in order; one over the bound is a `TooLong`."""
        if b"\n" not in data:
            self._hold(data)
            return []
        first, *rest = data.split(b"\n")
        last = rest.pop()
        self._hold(first)
        lines = [self._take(), *map(self._bounded, rest)]
        self._hold(last)
        trimmed = (line if isinstance(line, TooLong) else line.strip(b" \t\r") for line in lines)
        return [line for line in trimmed if line]

    def finish(self) -> "list[bytes | TooLong]":
        """What stood after the last line break when the stream ended."""
        return self.feed(b"\n")

    def _hold(self, data: bytes) -> None:
        if not self._skipping and len(self._held) + len(data) <= self._bound:
            self._held += data
            return
        if not self._skipping:
            self._skipping = True
            self._head = bytes((self._held[:_ENDS] + data[:_ENDS])[:_ENDS])
        self._held = (self._held[-_ENDS:] + data[-_ENDS:])[-_ENDS:]

    def _bounded(self, line: bytes) -> "bytes | TooLong":
        return line if len(line) <= self._bound else _too_long(line[:_ENDS], line[-_ENDS:])

    def _take(self) -> "bytes | TooLong":
        line = _too_long(self._head, bytes(self._held)) if self._skipping else bytes(self._held)
        self._held.clear()
        self._skipping = False
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM) if isinstance(line, bytes) else line
        return line
