"""The short way of a modern call over HTTP: whatever becomes of it, there is one answer, as on the long way."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from isthmus.engine.express import ExpressCall
from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.limits import Limits
from isthmus.transports.http_front.front import Front
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.protocol import FrontProtocol
from isthmus.transports.target import HttpTarget

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
HEAD = (
    "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
    "Mcp-Name: {name}\r\nContent-Length: {length}\r\n\r\n"
)
Say = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


def call(id: int, name: str = "plain") -> bytes:
    params = {"name": name, "arguments": {"n": id}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params}).encode()
    return HEAD.format(name=name, length=len(body)).encode() + body


class Back:
    """Answers by the tool's name; counts what it was asked and who left."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hanging = asyncio.Event()
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                message = json.loads(await reader.readexactly(length))
                name = message["params"].get("name", message["method"])
                self.asked.append(name)
                await self.answer(name, message["id"], reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(self, name: str, id: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        result: dict[str, Any] = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "name": name}
        message = json.dumps({"jsonrpc": "2.0", "id": id, "result": result})
        kind, status = "application/json", "200 OK"
        if name == "stream":
            note = '{"jsonrpc":"2.0","method":"notifications/x","params":{}}'
            message, kind = f"data: {note}\n\ndata: {message}\n\n", "text/event-stream"
        elif name == "error":
            message = json.dumps({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}})
            status = "404 Not Found"
        elif name == "other-id":
            message = message.replace(f'"id": {id}', '"id": "other"')
        elif name == "moved":
            status = "303 See Other\r\nLocation: /elsewhere"
        elif name == "page":
            message, kind, status = "<html>", "text/html", "502 Bad Gateway"
        elif name == "die":
            writer.transport.abort()
        elif name == "hang":
            self.hanging.set()
            await reader.read()
            self.left.set()
            raise ConnectionError
        body = message.encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()


class Client:
    """One kept connection to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self) -> tuple[int, bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status = int(head.split()[1])
        if "Transfer-Encoding: chunked" not in head:
            length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
            return status, await self.reader.readexactly(length)
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return status, body

    async def ask(self, id: int, name: str = "plain") -> tuple[int, bytes]:
        self.writer.write(call(id, name))
        return await self.answer()


@asynccontextmanager
async def stage(**bounds: float) -> AsyncIterator[tuple[Back, Gateway, Callable[[], Awaitable[Client]]]]:
    back, limits = Back(), Limits(**bounds)  # type: ignore[arg-type]  # seconds all
    behind = await asyncio.start_server(back.serve, "127.0.0.1", 0)
    target = HttpTarget("back", f"http://127.0.0.1:{behind.sockets[0].getsockname()[1]}/mcp")
    gateway = Gateway(target, Settings(limits=limits))
    handler = Handler(gateway, Guard())
    front = Front(handler.handle, limits, handler.express)
    listening = await asyncio.get_running_loop().create_server(lambda: FrontProtocol(front, set()), "127.0.0.1", 0)
    clients: list[Client] = []

    async def connect() -> Client:
        port = listening.sockets[0].getsockname()[1]
        clients.append(Client(*await asyncio.open_connection("127.0.0.1", port)))
        return clients[-1]

    try:
        yield back, gateway, connect
    finally:
        for client in clients:
            client.writer.close()
        for connection in list(front.connections):
            connection.cut()
        await front.close()
        await gateway.close()
        listening.close()
        behind.close()
        await asyncio.sleep(0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


async def warm(client: Client) -> None:
    """The first calls go the long way: the back's era, the head and a connection have to be known."""
    for id in (1, 2):
        assert (await client.ask(id))[0] == 200


def counting(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    taken: list[bool] = []
    express = gateway.express

    def counted(*each: Any) -> Any:
        taken.append(True)
        return express(*each)

    monkeypatch.setattr(gateway, "express", counted)
    return taken


def test_a_known_head_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        async with stage() as (back, gateway, connect):
            client = await connect()
            await warm(client)
            taken = counting(gateway, monkeypatch)
            for id in range(3, 9):
                status, body = await client.ask(id)
                message = json.loads(body)
                assert (status, message["id"], message["result"]["name"]) == (200, id, "plain")
                assert message["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "isthmus"
            assert len(taken) == 6
            assert back.asked.count("plain") == 8

    run(scenario)


def test_many_at_once_get_their_own_answers() -> None:
    async def scenario() -> None:
        async with stage() as (_, _gateway, connect):
            clients = [await connect() for _ in range(20)]

            async def talk(client: Client, base: int) -> None:
                for id in range(base, base + 25):
                    assert json.loads((await client.ask(id))[1])["id"] == id

            await asyncio.gather(*(talk(client, 1000 * at) for at, client in enumerate(clients, 1)))

    run(scenario)


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("error", 404, "no"),
        ("other-id", 200, "another request"),
        ("page", 200, "HTTP 502"),
        ("die", 200, "closed the connection"),
        ("moved", 200, "redirected a POST"),
    ],
)
def test_what_goes_wrong_is_one_answer(name: str, status: int, says: str) -> None:
    async def scenario() -> None:
        async with stage() as (back, _gateway, connect):
            client = await connect()
            await warm(client)
            await client.ask(3, name)
            before = back.asked.count(name)
            await client.ask(4)
            got, body = await client.ask(5, name)
            assert got == status
            message = json.loads(body)
            assert message["id"] == 5
            assert says in message["error"]["message"]
            assert back.asked.count(name) == before + 1
            assert (await client.ask(6))[0] == 200

    run(scenario)


def test_a_stream_goes_on_as_a_stream() -> None:
    async def scenario() -> None:
        async with stage() as (_, _gateway, connect):
            client = await connect()
            await warm(client)
            for id in (3, 4, 5):
                status, body = await client.ask(id, "stream")
                data = [json.loads(line[6:]) for line in body.decode().splitlines() if line.startswith("data: ")]
                assert status == 200
                assert [message.get("id") for message in data] == [None, id]

    run(scenario)


def test_a_client_that_leaves_as_a_stream_begins_frees_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that would read the stream has not had its first step when it is cancelled."""
    begun = ExpressCall.set_result

    def begun_and_left(self: ExpressCall, outcome: Any, /) -> None:
        begun(self, outcome)
        if getattr(outcome, "stream", None) is not None:
            self.leave()
            left.set()

    left = asyncio.Event()

    async def scenario() -> None:
        async with stage() as (_, gateway, connect):
            client = await connect()
            await warm(client)
            await client.ask(3, "stream")
            monkeypatch.setattr(ExpressCall, "set_result", begun_and_left)
            client.writer.write(call(4, "stream"))
            assert gateway.back.client is not None
            await left.wait()
            assert gateway.back.client.statistics().used == 0
            monkeypatch.setattr(ExpressCall, "set_result", begun)
            assert (await (await connect()).ask(5))[0] == 200

    run(scenario)


def test_a_client_that_leaves_cancels_at_the_back() -> None:
    async def scenario() -> None:
        async with stage(call=0.2) as (back, gateway, connect):
            client = await connect()
            await warm(client)
            await client.ask(3, "hang")
            back.left.clear()
            back.hanging.clear()
            client = await connect()
            await client.ask(4)
            client.writer.write(call(5, "hang"))
            await back.hanging.wait()
            began = gateway.back.deadlines.now()
            client.writer.transport.abort()
            await back.left.wait()
            assert gateway.back.deadlines.now() - began < 0.1

    run(scenario)


def test_the_deadline_holds_and_cancels() -> None:
    async def scenario() -> None:
        async with stage(call=0.1) as (back, _gateway, connect):
            client = await connect()
            await warm(client)
            for id in (3, 4, 5):
                back.left.clear()
                _, body = await client.ask(id, "hang")
                assert "did not answer tools/call within 0 s" in json.loads(body)["error"]["message"]
                await back.left.wait()
            assert (await client.ask(6))[0] == 200

    run(scenario)
