"""Backs whose server the check plays: each gives a target, and the far ends of what is connected to it."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

from isthmus.testing import FarEnd
from isthmus.transports import memory
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget, Target
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope, Kind

Accept = Callable[[], Awaitable[FarEnd]]
Back = Callable[[], AbstractAsyncContextManager[tuple[Target, Accept]]]
_BRIDGE: Final = str(Path(__file__).with_name("bridge.py"))
_LIMIT: Final = 1 << 26


# -- memory -----------------------------------------------------------------------------------------------------------


class MemoryEnd:
    """What a server object is given, with its end in our hand."""

    def __init__(self, read: Any, write: Any) -> None:
        self._read = read
        self._write = write
        self.over = asyncio.Event()

    async def send(self, message: bytes) -> None:
        await self._write.send(memory._sdk().read(message))

    async def receive(self) -> bytes | None:
        with suppress(StopAsyncIteration):
            item = await anext(self._read)
            return bytes(item.message.model_dump_json(by_alias=True, exclude_unset=True), "utf-8")
        self.over.set()
        return None

    async def close(self) -> None:
        self.over.set()


class ServerObject:
    """What `memory.connect_to` takes for a server of the SDK."""

    name = "back"

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[FarEnd] = asyncio.Queue()

    def create_initialization_options(self) -> None:
        return None

    async def run(self, read: Any, write: Any, options: None) -> None:
        end = MemoryEnd(read, write)
        self.accepted.put_nowait(end)
        await end.over.wait()


@asynccontextmanager
async def memory_back() -> AsyncIterator[tuple[Target, Accept]]:
    server = ServerObject()
    yield memory.target_of(server), server.accepted.get


# -- stdio ------------------------------------------------------------------------------------------------------------


class LineEnd:
    """The socket that a process connects with its stdin and stdout."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, message: bytes) -> None:
        self._writer.write(message + b"\n")
        await self._writer.drain()

    async def receive(self) -> bytes | None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            return (await self._reader.readuntil(b"\n"))[:-1]
        self._writer.close()
        return None

    async def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def stdio_back() -> AsyncIterator[tuple[Target, Accept]]:
    accepted: asyncio.Queue[FarEnd] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        accepted.put_nowait(LineEnd(reader, writer))

    server = await asyncio.start_server(take, "127.0.0.1", 0, limit=_LIMIT)
    try:
        yield Launch("back", (sys.executable, "-I", "-S", _BRIDGE, str(_port(server)))), accepted.get
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


# -- HTTP -------------------------------------------------------------------------------------------------------------


class Exchange:
    """One request, and its response."""

    def __init__(self, writer: asyncio.StreamWriter, message: Envelope | None) -> None:
        self._writer = writer
        self.message = message
        self._streams = False
        self.is_over = False

    def respond(self, status: int, body: bytes = b"", headers: str = "") -> None:
        self.is_over = True
        kind = "Content-Type: application/json\r\n" if body else ""
        self._writer.write(f"HTTP/1.1 {status} X\r\n{kind}{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def event(self, message: bytes, *, is_last: bool) -> None:
        if not self._streams:
            self._streams = True
            head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            self._writer.write(head)
        event = b"data: " + message + b"\n\n"
        self._writer.write(b"%x\r\n%b\r\n" % (len(event), event) + (b"0\r\n\r\n" if is_last else b""))
        self.is_over = is_last

    def answer(self, message: bytes, headers: str) -> None:
        if self._streams:
            self.event(message, is_last=True)
        else:
            self.respond(200, message, headers)


class HttpEnd:
    """One legacy session of a server on HTTP, or one modern request, which stands alone."""

    def __init__(self, server: "HttpServer", session: str = "") -> None:
        self._server = server
        self.session = session
        self.came: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.waiting: dict[Any, Exchange] = {}

    async def send(self, message: bytes) -> None:
        """An answer ends the response of its request; what else is said goes on the stream of the call it is about."""
        parsed = parse(message)
        assert isinstance(parsed, Envelope)
        if parsed.kind is Kind.ANSWER:
            exchange = self.waiting.pop(parsed.key, None)
            if exchange is not None:
                exchange.answer(message, f"Mcp-Session-Id: {self.session}\r\n" if self.session else "")
        else:
            token = json.loads(message)["params"].get("progressToken")
            about = [each for each in self.waiting.values() if each.message and token in (None, token_of(each.message))]
            about[-1].event(message, is_last=False)

    async def receive(self) -> bytes | None:
        return await self.came.get()

    async def close(self) -> None:
        self._server.die()


def token_of(request: Envelope) -> Any:
    """The progress token of a request."""
    return json.loads(bytes(request.members["params"])).get("_meta", {}).get("progressToken")


class HttpServer:
    """A server on streamable HTTP, of both eras."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[FarEnd] = asyncio.Queue()
        self._ends: dict[str, HttpEnd] = {}
        self._writers: set[asyncio.StreamWriter] = set()
        self._minted = 0

    def die(self) -> None:
        """Forget all and cut every connection; whoever connects next finds it well again."""
        for end in self._ends.values():
            end.came.put_nowait(None)
        self._ends.clear()
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        exchange: Exchange | None = None
        end: HttpEnd | None = None
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                exchange, end = self._take(first.split()[0], headers, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            if exchange is not None and end is not None and not exchange.is_over and exchange.message is not None:
                self._left(exchange.message, end)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _take(
        self, verb: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter
    ) -> tuple[Exchange, HttpEnd | None]:
        message = parse(body) if body else None
        exchange = Exchange(writer, message if isinstance(message, Envelope) else None)
        end = self._end_of(headers, exchange.message)
        if end is None:
            exchange.respond(404)
        elif verb == "DELETE":
            exchange.respond(200)
            end.came.put_nowait(None)
        elif verb == "GET":
            exchange.respond(405)
        else:
            end.came.put_nowait(body)
            if exchange.message is not None and exchange.message.kind is Kind.REQUEST:
                end.waiting[exchange.message.key] = exchange
            else:
                exchange.respond(202)
        return exchange, end

    def _end_of(self, headers: dict[str, str], message: Envelope | None) -> HttpEnd | None:
        is_modern = headers.get("mcp-protocol-version", "") > "2026"
        if not is_modern and (message is None or message.method != "initialize"):
            return self._ends.get(headers.get("mcp-session-id", "none"))
        self._minted += 1
        key = f"s{self._minted}"
        self._ends[key] = HttpEnd(self, "" if is_modern else key)
        self.accepted.put_nowait(self._ends[key])
        return self._ends[key]

    def _left(self, request: Envelope, end: HttpEnd) -> None:
        """The client closed the stream of a request: in the modern era that is how it cancels."""
        if end.waiting.pop(request.key, None) is not None and not end.session:
            told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request.key}}
            end.came.put_nowait(json.dumps(told).encode())


@asynccontextmanager
async def http_back() -> AsyncIterator[tuple[Target, Accept]]:
    back = HttpServer()
    server = await asyncio.start_server(back.serve, "127.0.0.1", 0, limit=_LIMIT)
    try:
        yield HttpTarget("back", f"http://127.0.0.1:{_port(server)}/mcp", kind="http"), back.accepted.get
    finally:
        server.close()
        back.die()


# -- HTTP+SSE ---------------------------------------------------------------------------------------------------------


class SseEnd:
    """One client's stream of events, and what it sends."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.came: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def send(self, message: bytes) -> None:
        event = b"event: message\ndata: " + message + b"\n\n"
        self._writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await self._writer.drain()

    async def receive(self) -> bytes | None:
        return await self.came.get()

    async def close(self) -> None:
        self._writer.transport.abort()


class SseServer:
    """A server of 2024-11-05: GET opens a stream, POST sends to the client whose number is in the query."""

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[FarEnd] = asyncio.Queue()
        self.writers: set[asyncio.StreamWriter] = set()
        self._ends: list[SseEnd] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        end: SseEnd | None = None
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                verb, target, _ = head.split(" ", 2)
                lengths = [
                    line.split(": ")[1] for line in head.lower().split("\r\n") if line.startswith("content-length")
                ]
                body = await reader.readexactly(int(lengths[0]) if lengths else 0)
                if verb == "GET":
                    end = self._open(writer)
                else:
                    self._ends[int(target.rpartition("=")[2])].came.put_nowait(body)
                    writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            if end is not None:
                end.came.put_nowait(None)
        finally:
            self.writers.discard(writer)
            writer.transport.abort()

    def _open(self, writer: asyncio.StreamWriter) -> SseEnd:
        end = SseEnd(writer)
        event = b"event: endpoint\ndata: /messages?session=%d\n\n" % len(self._ends)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%b\r\n" % (len(event), event))
        self._ends.append(end)
        self.accepted.put_nowait(end)
        return end


@asynccontextmanager
async def sse_back() -> AsyncIterator[tuple[Target, Accept]]:
    back = SseServer()
    server = await asyncio.start_server(back.serve, "127.0.0.1", 0, limit=_LIMIT)
    try:
        yield HttpTarget("back", f"http://127.0.0.1:{_port(server)}/sse", kind="sse"), back.accepted.get
    finally:
        server.close()
        for writer in back.writers:
            writer.transport.abort()


def _port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


BACKS: Final[dict[str, Back]] = {"stdio": stdio_back, "http": http_back, "sse": sse_back, "memory": memory_back}
