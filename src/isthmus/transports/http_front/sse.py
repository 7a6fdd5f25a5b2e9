"""The front of HTTP+SSE (2024-11-05 basic/transports), for older clients: a stream to GET, a URI to POST messages to.

Each GET is one client, whose messages come as POSTs and are answered on its stream. Who may come in is decided before:
the handler of the endpoint beside which these two paths are served has judged Host, Origin and token.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import parse_qs

from isthmus import limits
from isthmus.transports.channel_front import ChannelFront
from isthmus.transports.http_front.port import JSON_LINES
from isthmus.transports.http_front.request import Request, Sink, is_json
from isthmus.transports.http_front.stream import STREAM_LINES
from isthmus.types import Relay
from isthmus.wire.codec import parse
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_REQUEST, Malformed, error_message
from isthmus.wire.sse import COMMENT, write_event

_MESSAGES: Final = "messages"
_NO_SESSION: Final = "There is no session with this id, or its stream has ended. Open a new stream."


class SseFront:
    """Serves clients of HTTP+SSE.

    Args:
        relay: what takes the messages on.
        start: starts the task of a request.
        path: the path of the stream; messages go to `messages` beside it.
    """

    def __init__(
        self, relay: Relay, start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]], path: str = "/sse"
    ) -> None:
        self._relay = relay
        self._start = start
        self._path = path
        self._messages = message_path(path)
        self._clients: dict[str, _Client] = {}
        self._is_draining = False

    def has(self, path: str) -> bool:
        """Whether this is one of the two paths."""
        return path in (self._path, self._messages)

    async def handle(self, request: Request, sink: Sink, lines: bytes) -> None:
        """Answer one request; a GET returns when the stream is over.

        Args:
            request: a request to one of the two paths, which may come in.
            sink: the response.
            lines: header lines of every response (CORS).
        """
        verb = "GET" if request.path == self._path else "POST"
        if request.verb != verb:
            why = f"{request.verb} is not served here."
            _refuse(sink, 405, INVALID_REQUEST, why, lines + f"Allow: {verb}\r\n".encode())
        elif verb == "POST":
            self._post(request, sink, lines)
        elif self._is_draining or len(self._clients) >= self._relay.limits.sessions:
            why = "There are too many sessions, or the proxy is about to stop. Try again later."
            _refuse(sink, 503, INTERNAL_ERROR, why, lines + b"Retry-After: 5\r\n")
        else:
            await self._serve(request, sink, lines)

    def tick(self, now: float) -> None:
        """To be called every second: keeps streams open, and ends those on which nothing was said for a day."""
        for client in list(self._clients.values()):
            client.outlet.tick(now)
            if now - client.used > limits.LISTEN:
                client.channel.end()

    def drain(self) -> None:
        """The proxy is to stop: what is in flight is answered, then the streams end; new ones are refused."""
        self._is_draining = True
        for client in self._clients.values():
            client.channel.end()

    async def _serve(self, request: Request, sink: Sink, lines: bytes) -> None:
        """One client, from its GET to its leaving.

        Its URI is relative, and to the stream's own directory, so that it is right below whatever prefix an application
        or a proxy in front of this one has put both.
        """
        id = secrets.token_urlsafe(24)
        outlet = _Outlet(sink)
        channel = ChannelFront(self._relay, self._start, outlet, request.headers)
        self._clients[id] = _Client(channel, outlet, request.principal)
        sink.gone = channel.leave
        sink.begin(200, STREAM_LINES + lines, limits.CHANNEL_UNREAD)
        sink.write(f"event: endpoint\ndata: {_MESSAGES}?session_id={id}\n\n".encode())
        if sink.is_closed:
            channel.leave()
        try:
            await channel.serve()
        finally:
            del self._clients[id]
            outlet.close()
            self._start(channel.close())

    def _post(self, request: Request, sink: Sink, lines: bytes) -> None:
        """One message of a client: "legacy SSE POST without session" delivers nothing, nor does one to a stranger's."""
        ids = parse_qs(request.query).get("session_id", [])
        client = self._clients.get(ids[0]) if ids else None
        if len(ids) != 1:
            _refuse(sink, 400, INVALID_REQUEST, "Send messages to the URI that the endpoint event named.", lines)
        elif client is None or client.principal != request.principal:
            _refuse(sink, 404, INVALID_REQUEST, _NO_SESSION, lines)
        elif not is_json(request):
            _refuse(sink, 415, INVALID_REQUEST, "Send the message as Content-Type: application/json.", lines)
        else:
            message = parse(request.body)
            if isinstance(message, Malformed):
                sink.respond(400, JSON_LINES + lines, error_message(message.id, message.code, message.why))
                return
            client.used = asyncio.get_running_loop().time()
            sink.respond(202, lines, b"")
            client.channel.take(message)


def message_path(path: str) -> str:
    """The path for messages beside the path of a stream."""
    return path.rpartition("/")[0] + "/" + _MESSAGES


class _Client:
    """A client, as this front keeps it."""

    __slots__ = ("channel", "outlet", "principal", "used")

    def __init__(self, channel: ChannelFront, outlet: "_Outlet", principal: str | None) -> None:
        self.channel = channel
        self.outlet = outlet
        self.principal = principal
        self.used = asyncio.get_running_loop().time()


class _Outlet:
    """Writes a client's messages as events; nothing more once its stream is over, as the sink then serves another."""

    __slots__ = ("_is_over", "_loop", "_since", "_sink")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._is_over = False
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    def write(self, message: bytes) -> None:
        if not self._is_over:
            self._since = self._loop.time()
            self._sink.write(*write_event(message))

    async def drain(self) -> None:
        if not self._is_over:
            await self._sink.drain()

    def tick(self, now: float) -> None:
        """Keep an idle stream open."""
        if not self._is_over and now - self._since >= limits.KEEP_ALIVE_COMMENT:
            self._since = now
            self._sink.write(COMMENT)

    def close(self) -> None:
        """End the stream."""
        self._is_over = True
        self._sink.end()


def _refuse(sink: Sink, status: int, code: int, why: str, lines: bytes) -> None:
    sink.respond(status, JSON_LINES + lines, error_message(None, code, why))
