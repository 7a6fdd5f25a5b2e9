"""The stdio framing: one message a line, UTF-8, `\\n` at the end.

`\\r\\n` is accepted, blank lines mean nothing, and a byte order mark before the first line is ignored (RFC 8259 §8.1
lets parsers do so; .NET programs write one).
"""

from typing import Final

from isthmus.limits import TOGETHER


def framed(message: bytes) -> tuple[bytes, ...]:
    """A message as a line, in pieces to be written one after the other: what is large is not copied for its frame."""
    return (message + b"\n",) if len(message) < TOGETHER else (message, b"\n")


class TooLong:
    """Stands in the place of a line that passed the bound; its text is gone."""

    __slots__ = ()


TOO_LONG: Final = TooLong()
_BOM: Final = b"\xef\xbb\xbf"


class LineSplitter:
    """Cuts a byte stream into lines and never holds more than `bound` bytes of an unfinished one.

    Args:
        bound: the longest line, in bytes, without its line break.
    """

    __slots__ = ("_bound", "_held", "_is_first", "_skipping")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held = bytearray()
        self._is_first = True
        self._skipping = False

    def feed(self, data: bytes) -> "list[bytes | TooLong]":
        """The lines that `data` completes, in order; a line over the bound is one `TOO_LONG`."""
        if b"\n" not in data:
            self._hold(data)
            return []
        first, *rest = data.split(b"\n")
        last = rest.pop()
        self._hold(first)
        lines = [self._take(), *(line if len(line) <= self._bound else TOO_LONG for line in rest)]
        self._hold(last)
        trimmed = (line if isinstance(line, TooLong) else line.strip(b" \t\r") for line in lines)
        return [line for line in trimmed if line]

    def finish(self) -> "list[bytes | TooLong]":
        """What stood after the last line break when the stream ended."""
        return self.feed(b"\n")

    def _hold(self, data: bytes) -> None:
        if self._skipping or len(self._held) + len(data) > self._bound:
            self._skipping = True
            self._held.clear()
        else:
            self._held += data

    def _take(self) -> "bytes | TooLong":
        line = TOO_LONG if self._skipping else bytes(self._held)
        self._held.clear()
        self._skipping = False
        if self._is_first:
            self._is_first = False
            line = line.removeprefix(_BOM) if isinstance(line, bytes) else line
        return line
