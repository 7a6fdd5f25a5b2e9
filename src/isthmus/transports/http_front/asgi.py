"""The shell for mounting: an ASGI application over the same handler.

A disconnect is noticed only while `receive()` is awaited, so it is awaited beside the handler, from 20 ms on: short
calls never pay for it. After a disconnect `send()` swallows data without end, and one large `send()` is buffered
whole; hence pieces of at most `limits.PIECE_BYTES`.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, Final

from isthmus import limits
from isthmus.limits import Limits
from isthmus.transports.http_front.request import ONCE, Request
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_REQUEST, error_message
from isthmus.wire.headers import Headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WATCH_AFTER: Final = 0.02
_log: Final = logging.getLogger("isthmus.front")


class AsgiFront:
    """One endpoint as an ASGI application (`http` scopes alone; `lifespan` belongs to the application it is part of).

    Args:
        handle: answers a request (`Handler.handle`).
        bounds: sizes and times of requests.
        tick: called about once a second with the loop's time, from the first request on (`Handler.tick`, and the end
            of the sessions that it gives back).
    """

    def __init__(
        self,
        handle: Callable[[Request, "AsgiSink"], Coroutine[Any, Any, None]],
        bounds: Limits,
        tick: Callable[[float], object] | None = None,
    ) -> None:
        self._handle = handle
        self._limits = bounds
        self._tick = tick
        self._ticks_on: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] != "http":
            return
        self._keep_time()
        sink = AsgiSink(send, self._limits)
        request = await self._read(scope, receive, sink)
        if request is None:
            await sink.pump()
            return
        handling = sink.task = asyncio.get_running_loop().create_task(self._handle(request, sink))
        handling.add_done_callback(sink.finish)
        watching = asyncio.ensure_future(_watch(receive, sink))
        try:
            await sink.pump()
        finally:
            sink.leave()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await asyncio.wait([handling])

    def _keep_time(self) -> None:
        """Start the clock on the loop that serves; timers alone, so that nothing has to be ended."""
        loop = asyncio.get_running_loop()
        if self._tick is not None and self._ticks_on is not loop:
            self._ticks_on = loop
            loop.call_later(1.0, self._strike, loop)

    def _strike(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.call_later(1.0, self._strike, loop)
        assert self._tick is not None
        self._tick(loop.time())

    async def _read(self, scope: Scope, receive: Receive, sink: "AsgiSink") -> Request | None:
        refusal = self._judge(scope)
        if refusal is not None:
            sink.refuse(*refusal)
            return None
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._limits.body_time):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        sink.leave()
                        return None
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self._limits.body:
                        sink.refuse(413, f"A message may have {self._limits.body} bytes.")
                        return None
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            sink.refuse(408, "The request did not arrive in time.")
            return None
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        query = scope.get("query_string", b"").decode("latin-1")
        return Request(scope["method"], path, query, _headers(scope), b"".join(pieces))

    def _judge(self, scope: Scope) -> tuple[int, str] | None:
        """What is wrong with a head, by the rules of our own protocol class; servers differ in what they let pass."""
        fields = scope["headers"]
        size = sum(len(name) + len(value) + 4 for name, value in fields)
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > limits.URI_BYTES:
            return 414, f"A request's target may have {limits.URI_BYTES} bytes."
        if len(fields) > limits.HEADER_FIELDS or size > limits.HEADER_BYTES:
            return 431, "The request has too many or too long header fields."
        names = [name.lower() for name, _ in fields]
        if b"host" not in names:
            return 400, "The request has no Host header."
        for name in ONCE:
            if names.count(name.encode()) > 1:
                return 400, f"The header {name} may be given once."
        length = _headers(scope).get("content-length", "")
        if length.isdecimal() and int(length) > self._limits.body:
            return 413, f"A message may have {self._limits.body} bytes."
        return None


def _headers(scope: Scope) -> Headers:
    headers = Headers()
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


async def _watch(receive: Receive, sink: "AsgiSink") -> None:
    await asyncio.sleep(_WATCH_AFTER)
    while (await receive())["type"] != "http.disconnect":
        pass
    sink.leave()


class AsgiSink:
    """The response to one request: what the handler gives is sent by `pump`, in order."""

    def __init__(self, send: Send, bounds: Limits) -> None:
        self._send = send
        self._limits = bounds
        self._waiting: deque[Message] = deque()
        self._size = 0
        self._unread_most = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._sending: asyncio.Timeout | None = None
        self._is_ended = False
        self._has_begun = False
        self._is_left = False
        self.gone: Callable[[], object] | None = None
        self.task: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._is_left or self._is_ended

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole response."""
        if not self._has_begun:
            length = b"" if status in (204, 304) else b"Content-Length: %d\r\n" % len(body)
            self.begin(status, lines + length)
            self.write(body)
            self.end()

    def begin(self, status: int, lines: bytes, unread: int = 0) -> None:
        """Send the head of a response that streams; see `Sink`."""
        if not self._has_begun:
            self._has_begun = True
            self._unread_most = unread or self._limits.result
            pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n") if line]
            headers = [(name.lower(), value) for name, value in pairs]
            self._put({"type": "http.response.start", "status": status, "headers": headers}, 0)

    def write(self, *pieces: bytes) -> None:
        """Send something more of a streaming response."""
        if self._size > self._unread_most:
            self.leave()
        for data in pieces:
            for at in range(0, len(data), limits.PIECE_BYTES):
                piece = data[at : at + limits.PIECE_BYTES]
                self._put({"type": "http.response.body", "body": piece, "more_body": True}, len(piece))

    def end(self) -> None:
        """End a streaming response."""
        if not self._is_ended:
            self._put({"type": "http.response.body", "body": b"", "more_body": False}, 0)
            self._is_ended = True

    async def drain(self) -> None:
        """Wait while more than `Limits.unread` waits to be read; `pump` cuts off a client that reads nothing."""
        while self._size > self._limits.unread and not self._is_left:
            self._less.clear()
            await self._less.wait()

    def refuse(self, status: int, why: str, code: int = INVALID_REQUEST) -> None:
        """Answer with an error that no handler has to see."""
        lines = b"Content-Type: application/json\r\nConnection: close\r\n"
        self.respond(status, lines, error_message(None, code, why))

    def leave(self) -> None:
        """The client is gone, or cut off."""
        if not self._is_left:
            self._is_left = True
            self._more.set()
            self._less.set()
            if self._sending is not None and not self._sending.expired():
                self._sending.reschedule(0.0)
            if self.gone is not None and not self._is_ended:
                self.gone()

    def finish(self, handling: "asyncio.Future[None]") -> None:
        """The handler returned; one that gave no whole response failed."""
        if not handling.cancelled() and (error := handling.exception()) is not None:
            _log.error("A request could not be handled; this is a bug of isthmus.", exc_info=error)
        if self._is_ended or self._is_left:
            return
        if self._has_begun:
            self.leave()
        elif handling.cancelled():
            self.refuse(503, "The proxy is stopping. Try again later.", INTERNAL_ERROR)
        else:
            self.refuse(500, "Internal error.", INTERNAL_ERROR)

    async def pump(self) -> None:
        """Send until the response has ended, the client left, or it has read nothing for `limits.WRITE_STALLED`."""
        while not self._is_left:
            while self._waiting and not self._is_left:
                message = self._waiting.popleft()
                try:
                    async with asyncio.timeout(limits.WRITE_STALLED) as self._sending:
                        await self._send(message)
                except TimeoutError:
                    self.leave()
                self._sending = None
                self._size -= len(message.get("body", b""))
                self._less.set()
            if self._is_ended and not self._waiting:
                return
            self._more.clear()
            if not self._is_left:
                await self._more.wait()

    def _put(self, message: Message, size: int) -> None:
        if not self._is_ended and not self._is_left:
            self._waiting.append(message)
            self._size += size
            self._more.set()
