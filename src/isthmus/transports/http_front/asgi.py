"""The shell for mounting: an ASGI application over the same handler.

A disconnect is noticed only while `receive()` is awaited, so it is awaited beside the handler, from 20 ms on: short
calls never pay for it. After a disconnect `send()` swallows data without end, and one large `send()` is buffered
whole; hence pieces of at most `limits.PIECE_BYTES`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextlib import suppress
from typing import Any, Final

from isthmus import limits
from isthmus.limits import Limits
from isthmus.transports.http_front.request import Request
from isthmus.wire.envelope import INVALID_REQUEST, error_message

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_WATCH_AFTER: Final = 0.02


class AsgiFront:
    """One endpoint as an ASGI application (`http` scopes; `lifespan` is answered where nobody else does).

    Args:
        handle: answers a request (`Handler.handle`).
        bounds: sizes and times of requests.
    """

    def __init__(self, handle: Callable[[Request, "AsgiSink"], Coroutine[Any, Any, None]], bounds: Limits) -> None:
        self._handle = handle
        self._limits = bounds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] != "http":
            return
        sink = AsgiSink(send, self._limits)
        request = await self._read(scope, receive, sink)
        if request is not None:
            handling = asyncio.ensure_future(self._handle(request, sink))
            handling.add_done_callback(lambda _: sink.finish())
            watching = asyncio.ensure_future(_watch(receive, sink))
            try:
                await sink.pump()
            finally:
                sink.leave()
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching
                await asyncio.wait([handling])
            return
        await sink.pump()

    async def _read(self, scope: Scope, receive: Receive, sink: "AsgiSink") -> Request | None:
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1").strip(" \t")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
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
        return Request(
            scope["method"], path, scope.get("query_string", b"").decode("latin-1"), headers, b"".join(pieces)
        )


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
        self._waiting: list[Message] = []
        self._size = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self._is_ended = False
        self._has_begun = False
        self._is_left = False
        self.gone: Callable[[], object] | None = None

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

    def begin(self, status: int, lines: bytes) -> None:
        """Send the head of a response that streams."""
        if not self._has_begun:
            self._has_begun = True
            pairs = [line.split(b": ", 1) for line in lines.split(b"\r\n") if line]
            headers = [(name.lower(), value) for name, value in pairs]
            self._put({"type": "http.response.start", "status": status, "headers": headers}, 0)

    def write(self, data: bytes) -> None:
        """Send a piece of a streaming response."""
        for at in range(0, len(data), limits.PIECE_BYTES):
            piece = data[at : at + limits.PIECE_BYTES]
            self._put({"type": "http.response.body", "body": piece, "more_body": True}, len(piece))
        if self._size > self._limits.result + len(data):
            self.leave()

    def end(self) -> None:
        """End a streaming response."""
        if not self._is_ended:
            self._put({"type": "http.response.body", "body": b"", "more_body": False}, 0)
            self._is_ended = True

    async def drain(self) -> None:
        """Wait while more than `Limits.unread` waits to be read; cuts the client off after `limits.WRITE_STALLED`."""
        try:
            async with asyncio.timeout(limits.WRITE_STALLED):
                while self._size > self._limits.unread and not self._is_left:
                    self._less.clear()
                    await self._less.wait()
        except TimeoutError:
            self.leave()

    def refuse(self, status: int, why: str) -> None:
        """Answer with an error that no handler has to see."""
        self.respond(status, b"Content-Type: application/json\r\n", error_message(None, INVALID_REQUEST, why))

    def leave(self) -> None:
        """The client is gone, or cut off."""
        if not self._is_left:
            self._is_left = True
            self._more.set()
            self._less.set()
            if self.gone is not None and not self._is_ended:
                self.gone()

    def finish(self) -> None:
        """The handler returned."""
        if not self._has_begun and not self._is_left:
            self.refuse(500, "Internal error.")
        self.end()

    async def pump(self) -> None:
        """Send until the response has ended or the client left."""
        while not self._is_left:
            while self._waiting and not self._is_left:
                message = self._waiting.pop(0)
                self._size -= len(message.get("body", b""))
                self._less.set()
                await self._send(message)
            if self._is_ended and not self._waiting:
                return
            self._more.clear()
            await self._more.wait()

    def _put(self, message: Message, size: int) -> None:
        if not self._is_ended and not self._is_left:
            self._waiting.append(message)
            self._size += size
            self._more.set()
