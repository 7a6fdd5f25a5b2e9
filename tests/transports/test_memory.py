"""Memory as front and as back: the SDK's clients before any back, server objects behind any front."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import fastmcp
import pytest
from fastmcp.client.transports.base import ClientTransport
from mcp import ClientSession
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from isthmus import FastMCP
from isthmus.engine.gateway import Gateway
from isthmus.transports import memory
from isthmus.transports.target import ChannelTarget
from tests.conformance.processes import EVERYTHING, ROOT, everything, listening
from tests.engine.clients import LegacyClient, run, until
from tests.transports.memory_peers import MODES, Heard, Mode, build, connected, said

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(everything) as url:
        yield url


@pytest.fixture(params=["memory", "stdio", "http"])
def target(request: pytest.FixtureRequest, url: str) -> object:
    kinds: dict[str, Callable[[], object]] = {"memory": build, "stdio": lambda: EVERYTHING, "http": lambda: url}
    return kinds[request.param]()


@pytest.mark.parametrize("mode", MODES)
def test_an_sdk_client_in_front_of_any_back(target: object, mode: Mode) -> None:
    """Calls, 1 MB, progress, logs, both questions, an error."""

    async def scenario() -> None:
        heard = Heard()
        async with connected(target, mode, heard) as client:
            assert client.server_info is not None and client.server_info.name == "mine"
            assert client.protocol_version == {"legacy": "2025-11-25", "auto": "2026-07-28"}[mode]
            assert await said(client, "echo", text='naïve \U0001f30d "\\ \u2028') == 'naïve \U0001f30d "\\ \u2028'
            assert len(await said(client, "big", size=1 << 20)) == 1 << 20
            assert await said(client, "ask", question="Why?") == "accept: Why?"
            assert await said(client, "ask_model", prompt="Capital?") == "m: Paris"
            assert await said(client, "log_at", level="error", message="loud")
            await until(lambda: heard.logs == ["loud"])
            await client.call_tool("slow", {"seconds": 0.01, "steps": 3}, progress_callback=heard.on_progress)
            assert heard.progress == [0, 1, 2, 3]
            with pytest.raises(MCPError, match="Unknown tool"):
                await said(client, "nonsense")
            assert len((await client.list_tools()).tools) > 10

    run(scenario)


@pytest.mark.parametrize("mode", MODES)
def test_a_cancelled_call_is_cancelled_at_the_server(target: object, mode: Mode) -> None:
    async def scenario() -> None:
        async with connected(target, mode) as client:
            before = json.loads(await said(client, "stats"))["cancelled"]
            begun = anyio.Event()

            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                begun.set()

            async with anyio.create_task_group() as group:
                work = {"seconds": 60, "steps": 2}
                group.start_soon(lambda: client.call_tool("slow", work, progress_callback=on_progress))
                await begun.wait()
                group.cancel_scope.cancel()
            while json.loads(await said(client, "stats"))["cancelled"] == before:
                pass

    run(scenario)


@pytest.mark.parametrize("mode", MODES)
def test_many_clients_of_one_server_object(mode: Mode) -> None:
    """Each has its own session; one that leaves takes nothing from the others."""

    async def scenario() -> None:
        server = build()
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(server, mode)) for _ in range(5)]
            answers = await asyncio.gather(*(said(each, "echo", text=str(n)) for n, each in enumerate(clients)))
            assert answers == [str(n) for n in range(5)]
            async with connected(server, mode) as leaving:
                assert await said(leaving, "echo", text="bye") == "bye"
            assert await said(clients[0], "ask", question="Still?") == "accept: Still?"

    run(scenario)


def high_level() -> MCPServer:
    server = MCPServer("high", instructions="Be kind.")

    @server.tool()
    def double(n: int) -> int:
        return 2 * n

    return server


def of_fastmcp() -> Any:
    server: Any = fastmcp.FastMCP("fast", instructions="Be kind.")

    @server.tool  # type: ignore[untyped-decorator]  # fastmcp is not followed
    def double(n: int) -> int:
        return 2 * n

    return server


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [high_level, of_fastmcp])
def test_a_high_level_server_object(make: Callable[[], Any], mode: Mode) -> None:
    async def scenario() -> None:
        server = make()
        async with connected(server, mode) as first, connected(server, mode) as second:
            assert first.instructions == "Be kind."
            assert [await said(each, "double", n=21) for each in (first, second)] == ["42", "42"]

    run(scenario)


def test_a_lifespan_for_all_sessions() -> None:
    """FastMCP has one: it is up from the first session to the last, and again for the next."""

    async def scenario() -> None:
        told: list[str] = []

        @asynccontextmanager
        async def lifespan(_: Any) -> AsyncIterator[dict[str, Any]]:
            told.append("up")
            yield {}
            told.append("down")

        server: Any = fastmcp.FastMCP("fast", lifespan=lifespan)

        @server.tool  # type: ignore[untyped-decorator]  # fastmcp is not followed
        def state() -> str:
            return " ".join(told)

        gateway = Gateway(memory.target_of(server))
        for states in ("up", "up down up"):
            first, second = await LegacyClient.open(gateway), await LegacyClient.open(gateway)
            await gateway.end_session(first.session)
            result = await second.call(1, "state").result()
            assert result["content"][0]["text"] == states
            await gateway.end_session(second.session)
        assert told == ["up", "down"] * 2
        await gateway.close()

    run(scenario)


def test_a_target_on_a_transport_of_ones_own() -> None:
    async def scenario() -> None:
        async with connected(ChannelTarget("own", memory.connect_to(build())), "auto") as client:
            assert await said(client, "echo", text="x") == "x"

    run(scenario)


class FastMcpTransport(ClientTransport):
    """What FastMCP's `Client` wants, on the proxy's streams."""

    def __init__(self, proxy: FastMCP) -> None:
        self._proxy = proxy

    @asynccontextmanager
    async def connect_session(self, *, transport_options: Any = None, **more: Any) -> AsyncIterator[ClientSession]:
        async with self._proxy.memory() as (read, write), ClientSession(read, write, **more) as session:
            yield session


def test_a_fastmcp_client(target: object) -> None:
    async def scenario() -> None:
        client: Any = fastmcp.Client(FastMcpTransport(FastMCP.as_proxy(target)))
        async with client:
            assert (await client.call_tool("echo", {"text": "é"})).content[0].text == "é"

    run(scenario)


def test_a_session_on_the_streams() -> None:
    """As without the SDK's `Client`; the session is over when the context is left."""

    async def scenario() -> None:
        async with FastMCP.as_proxy(build()).memory() as (read, write), ClientSession(read, write) as session:
            assert (await session.initialize()).server_info.name == "isthmus"
            assert (await session.call_tool("echo", {"text": "x"})).content
        with pytest.raises((anyio.ClosedResourceError, anyio.BrokenResourceError)):
            await write.send(None)

    run(scenario)


LEGACY_SDK = ROOT / ".venvs" / "legacy" / "bin" / "python"
OLD_CLIENT = """
import asyncio, sys
from mcp import ClientSession
from mcp.server.fastmcp import FastMCP as Server
from isthmus import FastMCP
from isthmus.engine.gateway import Gateway
from isthmus.transports import memory
from isthmus.transports.target import ChannelTarget

server = Server("old")

@server.tool()
def double(n: int) -> int:
    return 2 * n

async def main():
    for target in (server, sys.argv[1:]):
        async with FastMCP.as_proxy(target).memory() as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tool, given = ("double", {"n": 21}) if target is server else ("echo", {"text": "42"})
            print((await session.call_tool(tool, given)).content[0].text)

asyncio.run(main())
"""


def test_the_sdk_of_version_1(tmp_path: Path) -> None:
    """Both its client and its server object: their messages are other classes."""
    for package in ("msgspec", "httptools"):
        home = __import__(package).__file__
        assert home is not None
        (tmp_path / package).symlink_to(Path(home).parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT / "src")))}
    done = subprocess.run(
        [str(LEGACY_SDK), "-c", OLD_CLIENT, *EVERYTHING], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["42", "42"], done.stderr
