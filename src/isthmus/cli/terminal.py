"""The terminal: what may be printed on it, and lines typed by whoever sits there."""

import asyncio
import os
import shutil
import sys
from typing import Any, Final

_LEAST: Final = 40
_BAR: Final = 24


def plain(text: object) -> str:
    """A peer's text as it may stand on a terminal: what would move the cursor or change colours is made visible."""
    return "".join(
        mark if mark in "\n\t" or mark.isprintable() else f"\\x{ord(mark):02x}" if ord(mark) < 256 else "\ufffd"
        for mark in str(text)
    )


def one_line(text: object) -> str:
    """The same, on one line."""
    return " ".join(plain(text).split())


def width() -> int:
    """The columns of the terminal; 80 where there is none."""
    return max(_LEAST, shutil.get_terminal_size().columns)


def cut(text: str, room: int) -> str:
    """The text, or what fits of it and an ellipsis."""
    return text if len(text) <= room else text[: max(0, room - 1)] + "…"


class Terminal:
    """stdin and stderr: questions and progress go to stderr, so that stdout is the result alone."""

    def __init__(self) -> None:
        self._fd = sys.stdin.fileno() if sys.stdin is not None else -1
        self._typed = b""
        self._has_bar = False
        self.shows = sys.stderr.isatty()
        self.is_there = self.shows and self._fd >= 0 and os.isatty(self._fd)
        """Whether somebody can be asked."""

    def say(self, text: str) -> None:
        """A line on stderr."""
        self.clear()
        print(text, file=sys.stderr, flush=True)

    async def ask(self, prompt: str) -> str | None:
        """What is typed up to the end of the line; None at the end of input (Ctrl-D). The caller bounds the time."""
        self.clear()
        sys.stderr.write(prompt)
        sys.stderr.flush()
        while b"\n" not in self._typed:
            piece = await self._read()
            if not piece:
                sys.stderr.write("\n")
                return None
            self._typed += piece
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode("utf-8", "replace").strip()

    def progress(self, done: Any, total: Any, message: object) -> None:
        """A bar, or a count where the end is not known; nothing where stderr is no terminal."""
        if not self.shows or not isinstance(done, int | float):
            return
        if isinstance(total, int | float) and total > 0:
            part = min(1.0, max(0.0, done / total))
            filled = round(part * _BAR)
            text = f"[{'#' * filled}{'.' * (_BAR - filled)}] {part:4.0%}"
        else:
            text = f"{done:g}"
        if message is not None:
            text += f" {one_line(message)}"
        sys.stderr.write(f"\r\x1b[K{cut(text, width() - 1)}")
        sys.stderr.flush()
        self._has_bar = True

    def clear(self) -> None:
        """Take the bar away."""
        if self._has_bar:
            self._has_bar = False
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    async def _read(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._fd, wake)
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)
        try:
            return os.read(self._fd, 4096)
        except OSError:  # the other side of the terminal is gone
            return b""
