"""Hand-written HTTP servers for the client's tests, and the loop that notices what was left behind."""

import asyncio
import gc
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias

import pytest
import uvloop

from isthmus.limits import MIB, Limits
from isthmus.transports.http_client import HttpClient

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
Runner = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def make_runner(loop_name: str) -> Runner:
    """Runs a scenario for at most 30 s; whatever reached the loop's handler, or stayed open, fails the test."""

    def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        complaints: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            async with asyncio.timeout(30):
                await scenario()

        factory = uvloop.new_event_loop if loop_name == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
        gc.collect()
        assert not complaints, complaints

    return run


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    return make_runner(request.param)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUEST_METHOD", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Peer:
    """A server that does with each connection what `script` says. `heads` are the requests' heads in their order."""

    def __init__(self, script: "Script") -> None:
        self.script = script
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.gone = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    async def read(self, reader: Reader) -> bool:
        """One request; False where the client has gone."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
            body = await reader.readexactly(int(length[1]) if length else 0)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return False
        self.heads.append(head)
        self.bodies.append(body)
        return True

    async def watch(self, reader: Reader) -> None:
        """Until the client closes the connection."""
        with suppress(ConnectionError):
            while await reader.read(65536):
                pass
        self.gone.set()

    async def handle(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, RuntimeError, asyncio.CancelledError):  # RuntimeError: uvloop, after a close
                await self.script(self, reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Script = Callable[[Peer, Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def serve(script: Script, **options: Any) -> AsyncIterator[Peer]:
    """A peer that listens on a free port of the loopback."""
    peer = Peer(script)
    server = await asyncio.start_server(peer.handle, "127.0.0.1", 0, **options)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()
        await peer.stop()


async def part(writer: Writer) -> None:
    """Close after everything was written; a bare close, and the abort that follows it, may cut."""
    writer.close()
    await writer.wait_closed()


def saying(answer: bytes, *, close: bool = False) -> Script:
    """A handler that gives every request the same answer."""

    async def handler(peer: Peer, reader: Reader, writer: Writer) -> None:
        while await peer.read(reader):
            writer.write(answer)
            await writer.drain()
            if close:
                await part(writer)
                return

    return handler


@asynccontextmanager
async def use(url: str, *, headers: list[tuple[str, str]] | None = None, **limits: Any) -> AsyncIterator[HttpClient]:
    """A client that is closed afterwards and must then hold nothing."""
    client = HttpClient(url, name="notes", headers=headers or [], limits=Limits(**{"result": MIB, **limits}))
    try:
        yield client
    finally:
        await client.close()
        assert client.statistics()[:2] == (0, 0)
        assert not client._sockets


async def until(condition: Callable[[], bool], within: float = 5.0) -> None:
    """Wait for a condition that no event announces."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.005)
