"""The stdio front: one client on stdin and stdout.

Before anything else is done, file descriptor 1 is given to stderr and the real stdout is kept aside, so that nothing
but MCP goes there, whatever a library prints.
"""

import asyncio
import os
import stat
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from isthmus import limits
from isthmus.transports.busy_poll import poll_of
from isthmus.transports.channel_front import ChannelFront
from isthmus.types import Relay
from isthmus.wire.codec import parse
from isthmus.wire.envelope import (
    INVALID_REQUEST,
    Malformed,
)
from isthmus.wire.lines import LineSplitter, TooLong, framed

_READ: Final = 256 * 1024


def take_stdout() -> int:
    """Keep the real stdout for MCP and send everything else that is printed to stderr; its file descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


class Output:
    """Writes lines to a file descriptor; what the client has not read waits in order.

    A client that reads, however slowly, may have much waiting: several of the largest results at once are no fault of
    its own. One that reads nothing for `limits.WRITE_STALLED` while much waits is given up.

    Args:
        lost: called once when the client no longer reads; what is written from then on goes nowhere.
        hold: called with True when so much waits that nothing more should be asked, with False when it has been read.
    """

    def __init__(self, lost: Callable[[], None], hold: Callable[[bool], None]) -> None:
        self._fd = -1
        self._lost = lost
        self._hold = hold
        self._is_over = False
        self._is_holding = False
        self._transport: asyncio.WriteTransport | None = None
        self._paused: asyncio.Future[None] | None = None
        self._unread = 0
        self._look: asyncio.TimerHandle | None = None
        self._poll = poll_of(asyncio.get_running_loop())
        self.why_lost = ""
        """The sentence about a client that was given up; empty where it left by itself."""

    async def open(self, fd: int) -> None:
        """Write to `fd` from now on: a pipe or a socket through the loop, a file or a terminal directly."""
        self._fd = fd
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            transport, _ = await asyncio.get_running_loop().connect_write_pipe(
                lambda: _Flow(self), os.fdopen(self._fd, "wb", 0)
            )
            transport.set_write_buffer_limits(high=limits.MIB)
            self._transport = transport

    def write(self, message: bytes) -> None:
        """One message."""
        if self._is_over:
            return
        if self._transport is None:
            self._write_directly(message)
            return
        for piece in framed(message):
            self._transport.write(piece)
        self._poll.wrote()
        if self._paused is not None:
            self._unread += len(message) + 1
            waiting = self._transport.get_write_buffer_size()
            if waiting > limits.CHANNEL_UNREAD:
                self._give_up(f"{limits.CHANNEL_UNREAD // limits.MIB} MiB wait for it")
            elif waiting > limits.STDIN_QUEUE and not self._is_holding:
                self._is_holding = True
                self._hold(True)

    async def drain(self) -> None:
        """Wait until the client has read enough, or is given up."""
        if self._paused is not None:
            await asyncio.shield(self._paused)

    async def close(self) -> None:
        """Write out what waits, as long as the client reads on, and close."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.set_write_buffer_limits(high=0)  # so that the flow resumes when all is written
        while self._paused is not None and not self._is_over:
            waiting = transport.get_write_buffer_size()
            with suppress(TimeoutError):
                async with asyncio.timeout(limits.STOP_EOF):
                    await asyncio.shield(self._paused)
            if self._paused is not None and transport.get_write_buffer_size() >= waiting:
                self.fail()
        self._is_over = True
        self.resume()
        transport.close()

    def pause(self) -> None:
        """More than a MiB waits: watch whether any of it is read."""
        if self._paused is None:
            self._paused = asyncio.get_running_loop().create_future()
            self._watch()

    def resume(self) -> None:
        """Little waits any more."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.set_result(None)
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._is_holding:
            self._is_holding = False
            self._hold(False)

    def fail(self) -> None:
        """The client no longer reads."""
        if not self._is_over:
            self._is_over = True
            self.resume()
            if self._transport is not None:
                self._transport.abort()
            self._lost()

    def _write_directly(self, message: bytes) -> None:
        try:
            view = memoryview(message + b"\n")
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self.fail()

    def _watch(self) -> None:
        if self._transport is not None:
            self._unread = self._transport.get_write_buffer_size()
            self._look = asyncio.get_running_loop().call_later(limits.WRITE_STALLED, self._check)

    def _check(self) -> None:
        """Give the client up unless it has read something since `_watch`; `_unread` grew by what was written since."""
        if self._transport is not None and self._transport.get_write_buffer_size() < self._unread:
            self._watch()
        else:
            self._give_up(f"it has read nothing for {limits.WRITE_STALLED:.0f} s")

    def _give_up(self, why: str) -> None:
        self.why_lost = f"The client does not read its answers and is given up: {why}. Start it again, or ask for less."
        self.fail()


class _Flow(asyncio.BaseProtocol):
    def __init__(self, output: Output) -> None:
        self._output = output

    def pause_writing(self) -> None:
        self._output.pause()

    def resume_writing(self) -> None:
        self._output.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self._output.fail()


class StdioFront:
    """Serves one client on stdio.

    Args:
        relay: what takes the messages on.
        start: starts the task of a request.
    """

    def __init__(self, relay: Relay, start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._line = relay.limits.line
        self._splitter = LineSplitter(self._line)
        self._output = Output(self._leave, self._hold)
        self._input: _Input | None = None
        self._channel = ChannelFront(relay, start, self._output)
        self.end = self._channel.end
        self.stop = self._channel.stop
        self.stray = self._channel.stray

    async def serve(self, stdin: int, stdout: int) -> None:
        """Serve until stdin ends, then answer what is in flight, within `Limits.drain`.

        Args:
            stdin: the file descriptor to read.
            stdout: the file descriptor to write, as `take_stdout` gives it.
        """
        await self._output.open(stdout)
        self._input = await _open_input(stdin, self)
        try:
            await self._channel.serve()
        finally:
            self._input.close()
            await self._output.close()

    @property
    def why_lost(self) -> str:
        """The sentence about a client that was given up because it did not read; empty for any other end."""
        return self._output.why_lost

    def feed(self, data: bytes) -> None:
        """Bytes from the client; none at the end."""
        for line in self._splitter.feed(data) if data else self._splitter.finish():
            if isinstance(line, TooLong):
                self._channel.take(Malformed(INVALID_REQUEST, f"A line may have {self._line} bytes."))
            else:
                self._channel.take(parse(line))
        if not data:
            self._channel.end()

    def _leave(self) -> None:
        self._channel.leave()

    def _hold(self, is_held: bool) -> None:
        """Read no further requests while much waits to be read by the client, whose pipe then fills in its turn."""
        if self._input is not None:
            self._input.hold(is_held)


class _Input(Protocol):
    """Where a client's bytes come from."""

    def hold(self, is_held: bool) -> None:
        """Read nothing for now, or on; nothing happens once it is closed."""

    def close(self) -> None:
        """Read nothing any more."""


async def _open_input(fd: int, front: StdioFront) -> _Input:
    """Feed the front from a file descriptor. Pipes go through the loop, all else through a thread."""
    mode = os.fstat(fd).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return _Thread(fd, front)
    pipe = os.fdopen(os.dup(fd), "rb", 0)
    _, reader = await asyncio.get_running_loop().connect_read_pipe(lambda: _Reader(front), pipe)
    return reader


class _Thread:
    """Reads what the loop can't: a file, a terminal."""

    def __init__(self, fd: int, front: StdioFront) -> None:
        self._fd = fd
        self._front = front
        self._loop = asyncio.get_running_loop()
        self._is_free = threading.Event()
        self._is_free.set()
        self._is_taken = threading.Event()
        threading.Thread(target=self._read, name="isthmus-stdin", daemon=True).start()

    def hold(self, is_held: bool) -> None:
        if is_held:
            self._is_free.clear()
        else:
            self._is_free.set()

    def close(self) -> None:
        """The thread ends with its input, or with the process."""

    def _read(self) -> None:
        data = b"-"
        while data:
            self._is_free.wait()
            try:
                data = os.read(self._fd, _READ)
            except OSError:  # a terminal whose other side is gone says EIO
                data = b""
            self._is_taken.clear()
            try:
                self._loop.call_soon_threadsafe(self._take, data)
            except RuntimeError:  # the loop has closed; nobody listens any more
                return
            if data:
                self._is_taken.wait()

    def _take(self, data: bytes) -> None:
        self._front.feed(data)
        self._is_taken.set()


class _Reader(asyncio.Protocol):
    def __init__(self, front: StdioFront) -> None:
        self._front = front
        self._transport: asyncio.ReadTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        self._front.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.feed(b"")

    def hold(self, is_held: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if is_held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
