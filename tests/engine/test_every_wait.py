"""Every wait on a peer has a limit: conversations of all kinds are driven step by step, and each suspension judged."""

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from isthmus.engine.gateway import Gateway
from isthmus.limits import Limits
from isthmus.transports.http_front.front import Front
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.protocol import FrontProtocol
from isthmus.transports.stdio_front import StdioFront
from tests.engine.clients import META, LegacyClient, ModernClient, gateway, http, stdio
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.engine.test_relay import BACKS, ERAS, proxy_to
from tests.limits_watch import Watch, watched

MODERN = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}
FRONTS = pytest.mark.parametrize("front", ["stdio", "http"])


def bounded(scenario: Callable[[], Awaitable[None]]) -> Watch:
    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    return watched(main)


def test_the_watch_finds_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wait on an event in one of our functions, with a limit and without."""
    monkeypatch.setattr("tests.limits_watch._HOME", os.path.dirname(__file__))

    async def waits_for_ever(event: asyncio.Event) -> None:
        await event.wait()

    async def waits_with_a_limit(event: asyncio.Event) -> None:
        async with asyncio.timeout(5):
            await event.wait()

    async def waits_without_a_moment(event: asyncio.Event) -> None:
        async with asyncio.timeout(None):
            await event.wait()

    async def limits_another_wait(event: asyncio.Event) -> None:
        async with asyncio.timeout(5):
            await asyncio.sleep(0)
        await asyncio.wait([asyncio.ensure_future(event.wait())], timeout=1)
        await event.wait()

    async def scenario() -> None:
        event = asyncio.Event()
        works = (waits_for_ever, waits_with_a_limit, waits_without_a_moment, limits_another_wait)
        tasks = [asyncio.ensure_future(work(event)) for work in works]
        await asyncio.sleep(0.01)
        event.set()
        await asyncio.gather(*tasks)

    found = {name.split(" ")[0].rpartition(".")[2] for name in watched(scenario).unlimited}
    assert found == {"waits_for_ever", "waits_without_a_moment"}


def test_the_watch_finds_a_limit_that_was_taken_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same conversation as below, with the engine's deadlines switched off."""

    monkeypatch.setattr("isthmus.engine.legacy.asyncio.timeout", lambda _: asyncio.timeouts.Timeout(None))

    async def scenario() -> None:
        async with gateway(stdio("legacy", tmp_path / "log")) as proxy:
            client = await LegacyClient.open(proxy)
            await client.call(1, "echo").result()

    assert any("_Pipe._ask" in each for each in bounded(scenario).unlimited)


async def legacy_conversations(proxy: Gateway, *, may_die: bool) -> None:
    client = await LegacyClient.open(proxy, elicitation={})
    await client.request(1, "logging/setLevel", level="info").result()
    await client.request(2, "resources/subscribe", uri="a://b").result()
    await client.call(3, "count", meta={"progressToken": 1}, times=3).result()
    call = client.call(4, "ask")
    await client.reply((await call.box.first("elicitation/create"))["id"], result={})
    await call.result()
    hanging = client.call(5, "hang")
    await asyncio.sleep(0.02)
    await client.notify("notifications/cancelled", requestId=5)
    await asyncio.wait([hanging.task], timeout=2)
    await client.call(6, "hang").error()
    if may_die:
        await client.call(7, "die").error()
        await client.request(8, "tools/list").result()


async def modern_conversations(proxy: Gateway, *, may_die: bool) -> None:
    client = ModernClient(proxy)
    await client.request(1, "server/discover").result()
    await client.call(2, "count", meta={"progressToken": 1}, times=3).result()
    logs = [ModernClient(proxy).call(3, "echo", meta={META + "logLevel": "info"}) for _ in range(3)]
    for each in logs:
        await each.result()
    stream = client.request(4, "subscriptions/listen", notifications={"toolsListChanged": True})
    await stream.box.first("notifications/subscriptions/acknowledged")
    await client.notify("notifications/x/y")
    await stream.cancel()
    hanging = client.call(5, "hang")
    await asyncio.sleep(0.02)
    await hanging.cancel()
    await client.call(6, "hang").error()
    if may_die:
        await client.call(7, "die").error()
        await client.request(8, "tools/list").result()


@ERAS
@BACKS
def test_conversations_with_backs(kind: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log", call=0.5) as (proxy, _):
            await (modern_conversations if era == "modern" else legacy_conversations)(proxy, may_die=True)

    watch = bounded(scenario)
    assert watch.unlimited == set()
    expected = "_Pipe._ask" if kind == "stdio" else "HttpClient.request"
    assert expected in watch.seen


def lines_of(era: str) -> list[dict[str, Any]]:
    call = {"jsonrpc": "2.0", "method": "tools/call"}
    if era == "modern":
        return [
            call | {"id": 1, "params": {"name": "echo", "_meta": MODERN}},
            call | {"id": 2, "params": {"name": "hang", "_meta": MODERN}},
        ]
    client = {"name": "c", "version": "1"}
    opening = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client}
    return [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": opening},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        call | {"id": 2, "params": {"name": "echo"}},
        call | {"id": 3, "params": {"name": "hang"}},
    ]


@ERAS
@BACKS
def test_stdio_front(kind: str, era: str, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log", call=0.5) as (proxy, _):
            front = StdioFront(proxy, proxy.tasks.start)
            (theirs_in, ours_in), (ours_out, theirs_out) = os.pipe(), os.pipe()
            serving = asyncio.ensure_future(front.serve(theirs_in, theirs_out))
            for line in lines_of(era):
                os.write(ours_in, json.dumps(line).encode() + b"\n")
            answers = len([line for line in lines_of(era) if "id" in line])
            os.set_blocking(ours_out, False)
            read = b""
            while read.count(b"\n") < answers:
                await asyncio.sleep(0.01)
                with suppress(BlockingIOError):
                    read += os.read(ours_out, 65536)
            os.close(ours_in)
            async with asyncio.timeout(5):
                await serving
            os.close(theirs_in)
            os.close(ours_out)

    assert bounded(scenario).unlimited == set()


@ERAS
@BACKS
def test_http_front(kind: str, era: str, tmp_path: Path) -> None:
    """The shell on sockets, without uvicorn's server around it."""

    async def scenario() -> None:
        async with proxy_to(kind, era, tmp_path / "log", call=0.5) as (proxy, _):
            handler = Handler(proxy, Guard((), ()), "/mcp")
            front = Front(handler.handle, Limits())
            server = await asyncio.get_running_loop().create_server(lambda: FrontProtocol(front, set()), "127.0.0.1", 0)
            address = server.sockets[0].getsockname()
            session: dict[str, str] = {}
            for line in lines_of(era):
                if era == "modern":
                    session = {
                        "MCP-Protocol-Version": "2026-07-28",
                        "Mcp-Method": "tools/call",
                        "Mcp-Name": line["params"]["name"],
                    }
                head = await post(address, line, session)
                if era == "legacy" and not session:
                    session = {"Mcp-Session-Id": head[head.lower().index("mcp-session-id: ") + 16 :].split("\r\n")[0]}
            if era == "legacy":
                reader, writer = await asyncio.open_connection(*address)
                lines = f"Mcp-Session-Id: {session['Mcp-Session-Id']}\r\nAccept: text/event-stream\r\n"
                writer.write(f"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n".encode())
                assert b"200" in await reader.readline()
                writer.close()
            server.close()
            await front.close()

    assert bounded(scenario).unlimited == set()


async def post(address: tuple[str, int], message: Any, headers: dict[str, str]) -> str:
    reader, writer = await asyncio.open_connection(*address)
    body = json.dumps(message).encode()
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    fixed = "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\nConnection: close\r\n"
    head = f"POST /mcp HTTP/1.1\r\nHost: localhost\r\n{fixed}{lines}Content-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    return answer.decode()


def test_streams_that_are_cut_and_backs_that_are_deaf() -> None:
    async def scenario() -> None:
        async def handle(back: HttpBack, exchange: Exchange) -> None:
            if exchange.verb == "POST" and exchange.message["method"] == "tools/call":
                exchange.event(None, id="1", retry=20)
                exchange.cut()
            elif exchange.verb == "GET":
                exchange.respond(503, b"")
            else:
                await answer(back, exchange)

        async with http_back("legacy", handle) as back, gateway(http(back.url), call=0.3) as proxy:
            await (await LegacyClient.open(proxy)).call(1, "echo").error()
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/mcp"
            async with gateway(http(url), call=0.3) as proxy:
                await ModernClient(proxy).call(1, "echo").error()

    assert bounded(scenario).unlimited == set()
