"""A stream of server-sent events in a legacy session: it outlives the connection that carries it.

"Disconnection SHOULD NOT be interpreted as the client cancelling its request" (2025-11-25 basic/transports): what is
said while nobody listens is kept (`replay`); who comes back with a `Last-Event-ID` gets what came after it, and then
what comes.

**One reader.** "the server MUST send each of its JSON-RPC messages on only one of the connected streams", so a client
that comes back replaces whatever connection was there before: it knows sooner than we do that a connection is broken.

**Behind or live.** While a reader that came back is behind, messages are only kept; the loop in `_catch_up` alone
writes, at the reader's pace. Once it has found nothing more to send, in the same turn of the loop, the stream is live.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from isthmus import limits
from isthmus.transports.http_front.replay import Replay, Track
from isthmus.transports.http_front.request import Sink
from isthmus.wire.sse import COMMENT, write_event, write_primer

STREAM_LINES: Final = (
    b"Content-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\n"
)
_log: Final = logging.getLogger("isthmus.front")


class Stream(Track):
    """One stream of a session.

    Args:
        replay: what is kept of the session.
    """

    __slots__ = ("_is_behind", "_primes", "_sink", "_waiting", "is_missed")

    def __init__(self, replay: "Replay[Stream]") -> None:
        super().__init__(replay)
        self._primes = replay.primes
        self._sink: Sink | None = None
        self._waiting: asyncio.Future[None] | None = None
        self._is_behind = False
        self.is_missed = False
        """Whether it ended while nobody listened, and nobody has had its end since."""

    @property
    def is_open(self) -> bool:
        """Whether somebody listens now."""
        return self._sink is not None and not self._sink.is_closed

    def begin(self, sink: Sink, lines: bytes) -> None:
        """The stream begins, as the response to a POST.

        "The server SHOULD immediately send an SSE event consisting of an event ID and an empty `data` field"
        (2025-11-25); clients of older revisions take such an event for a broken message.
        """
        self._sink = sink
        sink.begin(200, STREAM_LINES + lines)
        if self._primes:
            sink.write(self._primer())

    def say(self, message: bytes, now: float) -> None:
        """Send a message to whoever listens, and keep it."""
        id = self.keep(message, now)
        if self._sink is not None and not self._is_behind:
            self._sink.write(*write_event(message, id))

    def comment(self) -> None:
        """Keep the connection open."""
        if self._sink is not None:
            self._sink.write(COMMENT)

    def finish(self, now: float) -> None:
        """Nothing more is said: the connection ends when its reader has everything."""
        if not self.is_over:
            self.end(now)
            self.is_missed = not self.is_open
            if not self._is_behind:
                self.close()

    def close(self) -> None:
        """End the connection, not the stream."""
        sink, self._sink = self._sink, None
        waiting, self._waiting = self._waiting, None
        if sink is not None:
            sink.end()
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def drain(self) -> None:
        """Wait until whoever listens has read enough."""
        if self._sink is not None:
            await self._sink.drain()

    async def serve(self, sink: Sink, lines: bytes, after: int) -> None:
        """A client comes (back) with a GET; returns when the connection is over, after `limits.LISTEN` at most.

        Args:
            sink: the response.
            lines: header lines of the response.
            after: the number of the last event that the client has.
        """
        if self.is_over and self.after(after) is None:
            # "a client can be told to stop reconnecting using the HTTP 204 No Content response code" (WHATWG HTML §9.2)
            sink.respond(204, lines, b"")
            return
        if after < self.lost:
            _log.warning("A stream is resumed whose next events had to be dropped: its client misses them.")
        self.close()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sink, self._waiting, self._is_behind = sink, waiting, True
        sink.gone = lambda: None if waiting.done() else waiting.set_result(None)
        sink.begin(200, STREAM_LINES + lines)
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.LISTEN):
                await self._catch_up(sink, after)
                await waiting
        if self._sink is sink:
            self.close()
            self._is_behind = False

    async def _catch_up(self, sink: Sink, after: int) -> None:
        """Send what came after an event, until the stream is live or the reader is gone."""
        begun = after
        while self._sink is sink and not sink.is_closed and (found := self.after(after)) is not None:
            after, message = found
            sink.write(*write_event(message, self.id(after)))
            await sink.drain()
        if self._sink is not sink or sink.is_closed:
            return
        self._is_behind = False
        if self.is_over:
            self.is_missed = False
            self.close()
        elif self._primes and after == begun:
            sink.write(self._primer())

    def _primer(self) -> bytes:
        return write_primer(self.mint(), int(limits.RETRY_TOLD * 1000))
