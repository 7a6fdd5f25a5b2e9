"""What a back answered: a whole response, a stream of events, or the reason why there is neither."""

import asyncio
from collections import deque
from typing import Final, Protocol

from isthmus.errors import BackFault
from isthmus.limits import STREAM_PIECE, STREAM_QUEUE
from isthmus.wire.sse import Event, EventParser, EventTooLong

_PIECE_COST: Final = 64
"""What a queued piece costs beside its bytes."""


class Failure:
    """Why there is no response.

    `stale`: the connection was closed before a byte of one came; `unsent`: and before a byte of the request was sent.
    """

    __slots__ = ("error", "stale", "unsent", "why")

    def __init__(self, why: str, *, stale: bool = False, unsent: bool = False, error: Exception | None = None) -> None:
        self.why = why
        self.unsent = unsent
        self.stale = stale
        self.error = error


class Response:
    """What a back answered.

    `headers` have lower-case names, repeated ones are joined by ", ". `stream` is there where the status is 200 and the
    content is `text/event-stream`; then `body` is empty, and whoever has the response must read the stream to its end
    or close it. Otherwise `body` is complete.
    """

    __slots__ = ("body", "headers", "status", "stream")

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self.body = b""
        self.stream: EventStream | None = None


class Source(Protocol):
    """The connection that a stream of events is read from."""

    def pause(self) -> None:
        """Make the back wait."""

    def resume(self) -> None:
        """Read on."""

    def abandon(self) -> None:
        """Close it at once."""


class EventStream:
    """The events of one response, to be read by one task.

    What is not read waits, up to `limits.STREAM_QUEUE`; then the back is made to wait.
    """

    __slots__ = ("_bound", "_connection", "_ended", "_name", "_parser", "_pieces", "_size", "_waker", "_why")

    def __init__(self, connection: Source, name: str, bound: int) -> None:
        self._connection: Source | None = connection
        self._name = name
        self._bound = bound
        self._parser = EventParser(bound)
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._why: str | None = None
        self._waker: asyncio.Future[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to be read, and nothing will come."""
        return self._ended and not self._pieces

    async def events(self) -> list[Event]:
        """The next events, at least one; [] when the stream has ended or was closed. The caller bounds the wait.

        Raises:
            BackFault: the stream was cut without a proper end, or an event is larger than `Limits.result`.
        """
        while True:
            while self._pieces:
                events = self._take()
                if events:
                    return events
            if self._why is not None:
                raise BackFault(self._why)
            if self._ended:
                return []
            self._waker = asyncio.get_running_loop().create_future()
            try:
                await self._waker
            finally:
                self._waker = None

    def close(self) -> None:
        """Close the connection at once, unless the stream had ended already. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self._pieces.clear()
        self._size = 0
        self._why = None
        self._ended = True
        self._wake()

    def push(self, data: bytes) -> None:
        """For the connection: content came."""
        for at in range(0, len(data), STREAM_PIECE):
            self._pieces.append(data if len(data) <= STREAM_PIECE else data[at : at + STREAM_PIECE])
            self._size += _PIECE_COST
        self._size += len(data)
        if self._size >= STREAM_QUEUE and self._connection is not None:
            self._connection.pause()
        self._wake()

    def end(self, why: str | None = None) -> None:
        """For the connection: nothing more will come; `why` where that is not a proper end."""
        self._connection = None
        self._ended = True
        self._why = why
        self._wake()

    def _take(self) -> list[Event]:
        piece = self._pieces.popleft()
        self._size -= len(piece) + _PIECE_COST
        if self._size < STREAM_QUEUE // 2 and self._connection is not None:
            self._connection.resume()
        try:
            return self._parser.feed(piece)
        except EventTooLong:
            self.close()
        raise BackFault(
            f"{self._name} sent an event of more than {self._bound} bytes; raise the limit for results if it may."
        )

    def _wake(self) -> None:
        if self._waker is not None and not self._waker.done():
            self._waker.set_result(None)
