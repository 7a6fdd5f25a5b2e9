"""The stdio framing: one message a line, UTF-8, `\\n` at the end (`\\r\\n` is accepted, blank lines mean nothing)."""

from typing import Final


class TooLong:
    """Stands in the place of a line that passed the bound; its text is gone."""

    __slots__ = ()


TOO_LONG: Final = TooLong()


class LineSplitter:
    """Cuts a byte stream into lines and never holds more than `bound` bytes of an unfinished one.

    Args:
        bound: the longest line, in bytes, without its line break.
    """

    __slots__ = ("_bound", "_held", "_size", "_skipping")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._held: list[bytes] = []
        self._size = 0
        self._skipping = False

    def feed(self, data: bytes) -> "list[bytes | TooLong]":
        """The lines that `data` completes, in order; a line over the bound is one `TOO_LONG`."""
        if b"\n" not in data:
            self._hold(data)
            return []
        first, *rest = data.split(b"\n")
        last = rest.pop()
        lines: list[bytes | TooLong] = []
        self._hold(first)
        lines.append(TOO_LONG if self._skipping else b"".join(self._held))
        self._reset()
        lines += [line if len(line) <= self._bound else TOO_LONG for line in rest]
        if last:
            self._hold(last)
        return [_trimmed(line) for line in lines if line is TOO_LONG or _trimmed(line)]

    def finish(self) -> "list[bytes | TooLong]":
        """What stood after the last line break when the stream ended."""
        rest = TOO_LONG if self._skipping else _trimmed(b"".join(self._held))
        self._reset()
        return [rest] if rest else []

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._bound:
            self._skipping = True
            self._held.clear()
        elif not self._skipping:
            self._held.append(data)

    def _reset(self) -> None:
        self._held = []
        self._size = 0
        self._skipping = False


def _trimmed(line: "bytes | TooLong") -> "bytes | TooLong":
    return line if isinstance(line, TooLong) else line.strip(b" \t\r")
