"""The ways back to an HTTP client: the response to one POST, and the GET stream of a legacy session."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from isthmus import limits
from isthmus.transports.http_front.replay import Replay
from isthmus.transports.http_front.request import Sink, Streams
from isthmus.transports.http_front.stream import STREAM_LINES, Stream
from isthmus.wire.sse import COMMENT, write_event

if TYPE_CHECKING:
    from collections.abc import Callable

JSON_LINES: Final = b"Content-Type: application/json\r\n"


class PostPort:
    """The response to one POST: JSON as long as nothing comes before the answer, server-sent events otherwise.

    Args:
        sink: the response.
        streams: how welcome `text/event-stream` is to the client; if it is refused, only the answer reaches it.
        lines: header lines of every response (CORS, a session's id).
        now: the loop's time.
        among: the ports that are open; it is one of them until it is done.
    """

    __slots__ = ("_among", "_has_begun", "_is_done", "_lines", "_since", "_sink", "_streams", "_wants_stream", "left")

    def __init__(self, sink: Sink, streams: Streams, lines: bytes, now: float, among: "set[PostPort]") -> None:
        self.left: Callable[[], object] | None = None
        self._among = among
        among.add(self)
        self._sink = sink
        self._streams = streams
        self._lines = lines
        self._since = now
        self._has_begun = False
        self._is_done = False
        self._wants_stream = False

    def notify(self, message: bytes) -> None:
        if self._streams and not self._is_done:
            self._begin()
            self._say(message)

    def answer(self, message: bytes, status: int) -> None:
        if self._is_done:
            return
        self.close()
        if self._wants_stream and not self._has_begun and status < 300:
            self._begin()
        if self._has_begun:
            self._say(message)
            self._end()
        else:
            self._sink.respond(status, JSON_LINES + self._lines if self._lines else JSON_LINES, message)

    def stream(self, is_chosen: bool = True) -> None:
        self._wants_stream = self._streams >= (Streams.ACCEPTED if is_chosen else Streams.PREFERRED)

    def abandon(self) -> None:
        if not self._is_done:
            self.close()
            if not self._has_begun and not self._streams:
                self._sink.respond(202, self._lines, b"")
                return
            if not self._has_begun:
                self._sink.begin(200, STREAM_LINES + self._lines)
            self._end()

    def close(self) -> None:
        """Nothing more is to come."""
        self._is_done = True
        self._among.discard(self)
        self.left = None  # it leads to the call, which leads back here: a circle would be left to the garbage collector

    def leave(self) -> None:
        """The client is gone."""
        left = self.left
        self.close()
        if left is not None:
            left()

    async def drain(self) -> None:
        await self._sink.drain()

    def tick(self, now: float) -> None:
        """Keep an idle stream open; a call that takes long becomes a stream, so that it can be kept open."""
        if self._streams and not self._is_done and now - self._since >= limits.KEEP_ALIVE_COMMENT:
            self._begin()
            self._comment()
            self._since = now

    def _begin(self) -> None:
        self._since = asyncio.get_running_loop().time()
        if not self._has_begun:
            self._has_begun = True
            self._sink.begin(200, STREAM_LINES + self._lines)

    def _say(self, message: bytes) -> None:
        self._sink.write(*write_event(message))

    def _comment(self) -> None:
        self._sink.write(COMMENT)

    def _end(self) -> None:
        self._sink.end()


class CallPort(PostPort):
    """The response to a POST in a legacy session. Its stream has ids and can be resumed: see `stream`.

    Args:
        sink: the response.
        streams: how welcome `text/event-stream` is to the client; if it is refused, only the answer reaches it.
        lines: header lines of the response.
        now: the loop's time.
        among: the ports that are open; it is one of them until it is done.
        replay: what is kept of the session.
    """

    __slots__ = ("_replay", "_stream")

    def __init__(
        self, sink: Sink, streams: Streams, lines: bytes, now: float, among: "set[PostPort]", replay: Replay[Stream]
    ) -> None:
        super().__init__(sink, streams, lines, now, among)
        self._replay = replay
        self._stream: Stream | None = None

    def stream(self, is_chosen: bool = True) -> None:
        """Where there are primers the stream begins at once: from then on it can be resumed."""
        super().stream(is_chosen)
        if self._replay.primes and self._wants_stream and not self._is_done:
            self._begin()

    def tick(self, now: float) -> None:
        """As any port's; and what is not answered at once becomes a stream, so that it can be resumed."""
        is_slow = now - self._since >= limits.RESUMABLE and not self._has_begun
        if is_slow and self._replay.primes and self._streams and not self._is_done:
            self._begin()
        super().tick(now)

    async def drain(self) -> None:
        if self._stream is not None:
            await self._stream.drain()

    def finish(self) -> None:
        """Nothing more is to come, answered or not."""
        self.close()
        if self._stream is not None:
            self._end()

    def _begin(self) -> None:
        self._since = asyncio.get_running_loop().time()
        if self._stream is None and not self._sink.is_closed:  # else nobody has an id to come back with
            self._has_begun = True
            self._stream = Stream(self._replay)
            self._stream.begin(self._sink, self._lines)

    def _say(self, message: bytes) -> None:
        if self._stream is not None:
            self._stream.say(message, self._since)

    def _comment(self) -> None:
        if self._stream is not None:
            self._stream.comment()

    def _end(self) -> None:
        if self._stream is None:
            self._sink.end()
        else:
            self._stream.finish(asyncio.get_running_loop().time())


class GetPort:
    """A legacy session's GET stream; what comes while it is closed waits, up to a bound, the oldest dropped first.

    Args:
        replay: what is kept of the session.
    """

    __slots__ = ("_loop", "_replay", "_since", "_stream", "_waiting", "dropped", "opened")

    def __init__(self, replay: Replay[Stream]) -> None:
        self._replay = replay
        self._stream: Stream | None = None
        self._waiting: deque[bytes] = deque()
        self._loop = asyncio.get_running_loop()
        self._since = 0.0
        self.dropped = 0
        self.opened: Callable[[], object] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the client reads the stream now."""
        return self._stream is not None and self._stream.is_open

    def has(self, stream: Stream) -> bool:
        """Whether this is its stream."""
        return stream is self._stream

    async def serve(self, sink: Sink, lines: bytes, after: int | None = None) -> None:
        """The client opens the stream; returns when it is closed from either side, after `limits.LISTEN` at most.

        Args:
            sink: the response.
            lines: header lines of the response.
            after: the number of the last event that the client has had; None if it does not resume.
        """
        self._since = self._loop.time()
        if self.opened is not None:
            self.opened()
        if self._stream is None:
            self._stream = Stream(self._replay)
        last = self._stream.last
        while self._waiting:
            self._stream.say(self._waiting.popleft(), self._since)
        await self._stream.serve(sink, lines, last if after is None else after)

    def close(self) -> None:
        """End the connection, if there is one."""
        if self._stream is not None:
            self._stream.close()

    def notify(self, message: bytes) -> None:
        if self._stream is not None and self._stream.is_open:
            self._since = self._loop.time()
            self._stream.say(message, self._since)
            return
        self._waiting.append(message)
        if len(self._waiting) > limits.PENDING_STRAYS:
            self._waiting.popleft()
            self.dropped += 1

    def answer(self, message: bytes, status: int) -> None:
        """No request is answered here."""

    def stream(self, is_chosen: bool = True) -> None:
        """Nothing to choose here."""

    def abandon(self) -> None:
        """No request is answered here."""

    async def drain(self) -> None:
        if self._stream is not None:
            await self._stream.drain()

    def tick(self, now: float) -> None:
        """Keep the stream open."""
        if self._stream is not None and now - self._since >= limits.KEEP_ALIVE_COMMENT:
            self._stream.comment()
            self._since = now


class BatchPort:
    """One of a batch's requests (2025-03-26): its answers go out together, in an array, when the last is there."""

    def __init__(self, port: PostPort | None, expected: int) -> None:
        self._port = port
        self._missing = expected
        self._answers: list[bytes] = []
        self.status = 200

    def notify(self, message: bytes) -> None:
        if self._port is not None:
            self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        self._answers.append(message)
        self.abandon()

    def stream(self, is_chosen: bool = True) -> None:
        """Nothing to choose here."""

    def abandon(self) -> None:
        self._missing -= 1
        if self._missing or self._port is None:
            return
        if self._answers:
            self._port.answer(b"[" + b",".join(self._answers) + b"]", 200)
        else:
            self._port.abandon()

    async def drain(self) -> None:
        if self._port is not None:
            await self._port.drain()
