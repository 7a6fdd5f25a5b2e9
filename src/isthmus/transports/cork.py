"""Small writes of one turn of the loop, sent together at its end.

A write wakes the process at the other end, and on a busy machine the waking costs more than the sending. Writes that
come one after the other find it awake, and it finds more to do when it wakes.
"""

import asyncio
from typing import Protocol

from isthmus.limits import TOGETHER


class Corked(Protocol):
    """A connection with something to write."""

    def uncork(self) -> None:
        """Write it."""


class Cork:
    """Has connections write at the end of this turn of the loop."""

    __slots__ = ("_held", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._held: list[Corked] = []

    def hold(self, connection: Corked) -> None:
        """Call the connection's `uncork` once, soon."""
        if not self._held:
            self._loop.call_soon(self._release)
        self._held.append(connection)

    def _release(self) -> None:
        held, self._held = self._held, []
        for connection in held:
            connection.uncork()


class LineWriter:
    """Writes messages to a pipe, each as a line: the small ones of one turn of the loop together.

    Args:
        transport: the pipe.
    """

    __slots__ = ("_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._held = bytearray()

    @property
    def waiting(self) -> int:
        """Bytes that the other side has not read."""
        return self._transport.get_write_buffer_size() + len(self._held)

    def write(self, message: bytes) -> None:
        """One message, without line breaks. What is large is not copied for the sake of its line break."""
        if len(message) >= TOGETHER:
            self.uncork()
            self._transport.write(message)
            self._transport.write(b"\n")
            return
        if not self._held:
            self._loop.call_soon(self.uncork)
        self._held += message
        self._held += b"\n"
        if len(self._held) >= TOGETHER:
            self.uncork()

    def uncork(self) -> None:
        """Write what is held back; to be called before the pipe is closed."""
        held, self._held = self._held, bytearray()
        if held and not self._transport.is_closing():
            self._transport.write(held)
