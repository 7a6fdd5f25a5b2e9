"""Fronts that the check is a client of: each gives what connects a client to a proxy before a target."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.errors import BackUnavailable
from isthmus.limits import Limits
from isthmus.run import serve_memory
from isthmus.transports import memory
from isthmus.transports.channel import Channel, Connect, Listener, hear
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.serve import Stopping, bind, serve
from isthmus.transports.http_front.sse import SseFront
from isthmus.transports.stdio_front import StdioFront
from isthmus.transports.target import Target
from isthmus.wire.codec import parse
from isthmus.wire.envelope import Envelope, Kind
from tests.fronts.raw import MODERN, Peer, connected, http

Front = Callable[[Target], AbstractAsyncContextManager[Connect]]
BOUNDS: Final = Limits(drain=0.2)
_LIMIT: Final = 1 << 26


class Client:
    """What the clients of all fronts have in common: a task that lives as long as the client is connected.

    `converse` is that task: it sends what is put into `outgoing`, and hands what comes to `hear`.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._leaving = asyncio.Event()
        self._is_told = False
        self._task = asyncio.ensure_future(self._live())

    @property
    def is_alive(self) -> bool:
        return not self._is_told and not self._leaving.is_set()

    def write(self, message: bytes) -> None:
        if not self.is_alive:
            raise BackUnavailable("The client has left.")
        self.outgoing.put_nowait(message)

    async def stop(self) -> None:
        self._leaving.set()
        await asyncio.wait([self._task])

    def hear(self, text: bytes) -> None:
        if not self._leaving.is_set():
            malformed = hear(self._listener, text)
            assert malformed is None, malformed

    async def converse(self) -> None:
        raise NotImplementedError

    async def _live(self) -> None:
        talking = asyncio.ensure_future(self.converse())
        leaving = asyncio.ensure_future(self._leaving.wait())
        try:
            await asyncio.wait([talking, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not talking.done():
                talking.cancel()
            await asyncio.wait([talking])
            self._is_told = True
            self._listener.lost("The front is left." if self._leaving.is_set() else "The front ended by itself.")
        if not talking.cancelled():
            talking.result()


# -- memory -----------------------------------------------------------------------------------------------------------


class MemoryClient(Client):
    """On the streams that an SDK's client would have."""

    def __init__(self, listener: Listener, target: Target) -> None:
        self._target = target
        super().__init__(listener)

    async def converse(self) -> None:
        async with (
            serve_memory(self._target, Settings(limits=BOUNDS)) as (read, write),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(self._send(write))
            async for item in read:
                self.hear(item.message.model_dump_json(by_alias=True, exclude_unset=True).encode())

    async def _send(self, write: Any) -> None:
        while True:
            await write.send(memory._sdk().read(await self.outgoing.get()))


@asynccontextmanager
async def memory_front(target: Target) -> AsyncIterator[Connect]:
    async def connect(listener: Listener) -> Channel:
        return MemoryClient(listener, target)

    yield connect


# -- stdio ------------------------------------------------------------------------------------------------------------


class StdioClient(Client):
    """On a pair of pipes, behind which is a proxy of its own, as it would have a process of its own."""

    def __init__(self, listener: Listener, target: Target) -> None:
        self._target = target
        super().__init__(listener)

    async def converse(self) -> None:
        stdin, to_stdin = os.pipe()
        from_stdout, stdout = os.pipe()
        serving = asyncio.ensure_future(self._serve(stdin, stdout))
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=_LIMIT)
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(from_stdout, "rb", 0)
        )
        writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(to_stdin, "wb", 0))
        sending = asyncio.ensure_future(self._send(writing))
        try:
            while line := await reader.readline():
                self.hear(line[:-1])
        finally:
            sending.cancel()
            writing.close()
            await serving
            reading.close()

    async def _send(self, writing: asyncio.WriteTransport) -> None:
        while True:
            writing.write(await self.outgoing.get() + b"\n")

    async def _serve(self, stdin: int, stdout: int) -> None:
        gateway = Gateway(self._target, Settings(limits=BOUNDS), stray=lambda envelope: front.stray(envelope))
        front = StdioFront(gateway, gateway.tasks.start)
        try:
            await front.serve(stdin, stdout)
        finally:
            os.close(stdin)
            await gateway.close()


@asynccontextmanager
async def stdio_front(target: Target) -> AsyncIterator[Connect]:
    async def connect(listener: Listener) -> Channel:
        return StdioClient(listener, target)

    yield connect


# -- HTTP -------------------------------------------------------------------------------------------------------------


class HttpClient(Client):
    """A connection for every message; in the legacy era, a session."""

    def __init__(self, listener: Listener, port: int) -> None:
        self._port = port
        self._session: dict[str, str] = {}
        self._posting: dict[Any, asyncio.Task[None]] = {}
        super().__init__(listener)

    async def converse(self) -> None:
        try:
            while True:
                message = await self.outgoing.get()
                parsed = parse(message)
                assert isinstance(parsed, Envelope)
                cancelled = self._cancelled(message, parsed)
                if cancelled is not None:
                    cancelled.cancel()
                else:
                    key = parsed.key if parsed.kind is Kind.REQUEST else object()
                    self._posting[key] = asyncio.ensure_future(self._post(message, parsed))
        finally:
            for task in self._posting.values():
                task.cancel()
            await asyncio.gather(*self._posting.values(), return_exceptions=True)
            if self._session:
                async with connected(self._port) as peer:
                    await peer.ask(http("DELETE", fields=dict(self._session)))

    def _cancelled(self, message: bytes, parsed: Envelope) -> "asyncio.Task[None] | None":
        """The request whose stream is to be closed, where that is what cancels it."""
        if parsed.method != "notifications/cancelled" or self._session:
            return None
        return self._posting[json.loads(message)["params"]["requestId"]]

    async def _post(self, message: bytes, parsed: Envelope) -> None:
        fields: dict[str, str | None] = dict(self._session)
        if b'"io.modelcontextprotocol/protocolVersion"' in message:
            fields = {"MCP-Protocol-Version": MODERN, "Mcp-Method": parsed.method, "Mcp-Name": "check"}
        elif not self._session and parsed.kind is Kind.NOTIFICATION:
            fields = {"MCP-Protocol-Version": MODERN, "Mcp-Method": parsed.method}
        async with connected(self._port) as peer:
            peer.send(http("POST", message, fields=fields))
            status, headers = await peer.head()
            assert status in (200, 202) or parsed.kind is Kind.REQUEST, (status, message)
            if "mcp-session-id" in headers:
                self._session = {"Mcp-Session-Id": headers["mcp-session-id"], "MCP-Protocol-Version": "2025-11-25"}
            if headers.get("content-type", "").startswith("text/event-stream"):
                await hear_events(peer, self.hear)
            elif status != 202:
                self.hear(await peer.reader.readexactly(int(headers["content-length"])))


class SseClient(Client):
    """A stream of events, and a POST after the other."""

    def __init__(self, listener: Listener, port: int) -> None:
        self._port = port
        super().__init__(listener)

    async def converse(self) -> None:
        async with connected(self._port) as stream, connected(self._port) as peer:
            stream.send(http("GET", path="/sse", Accept="text/event-stream"))
            assert (await stream.head())[0] == 200
            endpoint = (await stream.chunk()).decode().strip().partition("data: ")[2]
            sending = asyncio.ensure_future(self._send(peer, "/" + endpoint))
            try:
                await hear_events(stream, self.hear)
            finally:
                sending.cancel()
                await asyncio.wait([sending])

    async def _send(self, peer: Peer, endpoint: str) -> None:
        while True:
            response = await peer.ask(http("POST", await self.outgoing.get(), path=endpoint))
            assert response.status == 202, response


async def hear_events(peer: Peer, hear: Callable[[bytes], None]) -> None:
    """Hand on the messages of a stream until it ends."""
    text = b""
    while piece := await peer.chunk():
        *events, text = (text + piece).split(b"\n\n")
        for event in events:
            data = b"\n".join(line[6:] for line in event.split(b"\n") if line.startswith(b"data: "))
            if data:
                hear(data)


@asynccontextmanager
async def served(target: Target, client: Callable[[Listener, int], Channel]) -> AsyncIterator[Connect]:
    """Both HTTP fronts, for one kind of client."""
    gateway = Gateway(target, Settings(limits=BOUNDS))
    sse = SseFront(gateway, gateway.tasks.start)
    handler = Handler(gateway, Guard((), ()), "/mcp", None, sse)
    stopping, bound = Stopping(), bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    serving = asyncio.ensure_future(serve(bound, handler, BOUNDS, gateway.tasks.start, gateway.end_session, stopping))

    async def connect(listener: Listener) -> Channel:
        return client(listener, port)

    try:
        yield connect
    finally:
        stopping.stop()
        await serving
        await gateway.close()


def http_front(target: Target) -> AbstractAsyncContextManager[Connect]:
    return served(target, HttpClient)


def sse_front(target: Target) -> AbstractAsyncContextManager[Connect]:
    return served(target, SseClient)


FRONTS: Final[dict[str, Front]] = {"stdio": stdio_front, "http": http_front, "sse": sse_front, "memory": memory_front}
