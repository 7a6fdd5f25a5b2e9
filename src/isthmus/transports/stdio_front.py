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
from typing import Any, Final

from isthmus import limits
from isthmus.transports.channel_front import ChannelFront
from isthmus.types import Relay
from isthmus.wire.codec import parse
from isthmus.wire.envelope import (
    INVALID_REQUEST,
    Malformed,
)
from isthmus.wire.lines import LineSplitter, TooLong

_READ: Final = 256 * 1024


def take_stdout() -> int:
    """Keep the real stdout for MCP and send everything else that is printed to stderr; its file descriptor."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    return kept


class Output:
    """Writes lines to a file descriptor; what the client has not read waits in order.

    Args:
        lost: called once when the client no longer reads; what is written from then on goes nowhere.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self._fd = -1
        self._lost = lost
        self._is_over = False
        self._transport: asyncio.WriteTransport | None = None
        self._flow = _Flow(self._fail)

    async def open(self, fd: int) -> None:
        """Write to `fd` from now on: a pipe or a socket through the loop, a file or a terminal directly."""
        self._fd = fd
        mode = os.fstat(fd).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            transport, _ = await asyncio.get_running_loop().connect_write_pipe(
                lambda: self._flow, os.fdopen(self._fd, "wb", 0)
            )
            transport.set_write_buffer_limits(high=limits.MIB)
            self._transport = transport

    def write(self, message: bytes) -> None:
        """One message."""
        if self._is_over:
            return
        if self._transport is not None:
            self._transport.write(message + b"\n")
            if self._transport.get_write_buffer_size() > limits.STDIN_QUEUE:
                self._fail()
            return
        try:
            view = memoryview(message + b"\n")
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            self._fail()

    async def drain(self) -> None:
        """Wait until the client has read enough; one that reads nothing for `limits.WRITE_STALLED` is given up."""
        while self._flow.paused is not None and not await self._is_read(limits.WRITE_STALLED):
            pass

    async def close(self) -> None:
        """Write out what waits, as long as the client reads on, and close."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.set_write_buffer_limits(high=0)  # so that the flow resumes when all is written
        while transport.get_write_buffer_size() and not self._is_over and not await self._is_read(limits.STOP_EOF):
            pass
        self._is_over = True
        transport.close()

    async def _is_read(self, seconds: float) -> bool:
        """Whether enough was read within some seconds; the client is given up if it read nothing at all."""
        assert self._transport is not None
        waiting = self._transport.get_write_buffer_size()
        try:
            async with asyncio.timeout(seconds):
                if self._flow.paused is not None:
                    await asyncio.shield(self._flow.paused)
                return True
        except TimeoutError:
            if self._transport.get_write_buffer_size() >= waiting:
                self._fail()
            return self._is_over

    def _fail(self) -> None:
        if not self._is_over:
            self._is_over = True
            if self._transport is not None:
                self._transport.abort()
            self._lost()


class _Flow(asyncio.BaseProtocol):
    def __init__(self, lost: Callable[[], None]) -> None:
        self._lost = lost
        self.paused: asyncio.Future[None] | None = None

    def pause_writing(self) -> None:
        self.paused = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self.paused is not None and not self.paused.done():
            self.paused.set_result(None)
        self.paused = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.resume_writing()
        self._lost()


class StdioFront:
    """Serves one client on stdio.

    Args:
        relay: what takes the messages on.
        start: starts the task of a request.
    """

    def __init__(self, relay: Relay, start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._line = relay.limits.line
        self._splitter = LineSplitter(self._line)
        self._output = Output(self._leave)
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
        reading = await _open_input(stdin, self)
        try:
            await self._channel.serve()
        finally:
            reading()
            await self._output.close()

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


async def _open_input(fd: int, front: StdioFront) -> Callable[[], None]:
    """Feed the front from a file descriptor; what stops it. Pipes go through the loop, all else through a thread."""
    loop = asyncio.get_running_loop()
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        transport, _ = await loop.connect_read_pipe(lambda: _Reader(front), os.fdopen(os.dup(fd), "rb", 0))
        return transport.close

    taken = threading.Event()

    def take(data: bytes) -> None:
        front.feed(data)
        taken.set()

    def read() -> None:
        while True:
            try:
                data = os.read(fd, _READ)
            except OSError:  # a terminal whose other side is gone says EIO
                data = b""
            taken.clear()
            try:
                loop.call_soon_threadsafe(take, data)
            except RuntimeError:  # the loop has closed; nobody listens any more
                return
            if not data:
                return
            taken.wait()

    threading.Thread(target=read, name="isthmus-stdin", daemon=True).start()
    return lambda: None


class _Reader(asyncio.Protocol):
    def __init__(self, front: StdioFront) -> None:
        self._front = front

    def data_received(self, data: bytes) -> None:
        self._front.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.feed(b"")
