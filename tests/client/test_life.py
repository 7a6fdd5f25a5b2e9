"""When a client is connected: nested, again, anew, kept open, lost, and not at all."""

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from isthmus import Client, FastMCP
from isthmus.client.transports import PythonStdioTransport
from isthmus.exceptions import McpError
from tests.conformance.processes import EVERYTHING

if TYPE_CHECKING:
    from isthmus.client.connection import Mode

SERVER = """
import os
from mcp.server.mcpserver import MCPServer

server = MCPServer("counting")
count = 0


@server.tool()
def pid() -> int:
    return os.getpid()


@server.tool()
def add_one() -> int:
    global count
    count += 1
    return count


server.run()
"""
WITHIN = 40


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "server.py"
    path.write_text(SERVER, encoding="utf-8")
    return path


async def pid_of(client: Client[Any]) -> int:
    got = (await client.call_tool("pid")).data.result
    assert isinstance(got, int)
    return got


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_nested_and_entered_again(script: Path) -> None:
    async def use() -> None:
        client = Client(script)
        async with asyncio.timeout(WITHIN):
            async with client:
                first = await pid_of(client)
                async with client:
                    assert await pid_of(client) == first
                assert client.is_connected()
                assert await pid_of(client) == first
            assert not client.is_connected()
            assert not is_alive(first)
            async with client as same:
                assert same is client
                assert await pid_of(client) != first

    asyncio.run(use())


def test_entered_by_many_at_once(script: Path) -> None:
    async def use() -> None:
        client = Client(script)

        async def one() -> int:
            async with client:
                return await pid_of(client)

        async with asyncio.timeout(WITHIN):
            assert len(set(await asyncio.gather(*(one() for _ in range(5))))) == 1
        assert not client.is_connected()

    asyncio.run(use())


def test_in_one_loop_after_another(script: Path) -> None:
    client = Client(script)

    async def use() -> int:
        async with asyncio.timeout(WITHIN), client:
            return await pid_of(client)

    assert asyncio.run(use()) != asyncio.run(use())


def test_new_is_another_with_the_same_settings(script: Path) -> None:
    async def use() -> None:
        client = Client(script, roots=["file:///here"])
        async with asyncio.timeout(WITHIN), client:
            other = client.new()
            assert not other.is_connected()
            assert other.handlers == client.handlers
            assert other.transport is client.transport
            async with other:
                assert await pid_of(other) != await pid_of(client)
            assert client.is_connected()

    asyncio.run(use())


@pytest.mark.parametrize("keep_alive", [True, False, None])
def test_a_process_that_is_kept_alive(script: Path, keep_alive: bool | None) -> None:
    async def use() -> None:
        client = Client(PythonStdioTransport(script, keep_alive=keep_alive))
        async with asyncio.timeout(WITHIN):
            async with client:
                first = await pid_of(client)
            assert is_alive(first) is (keep_alive is True)
            async with client:
                assert (await pid_of(client) == first) is (keep_alive is True)
            await client.close()
            assert not client.is_connected()
            assert not is_alive(first)

    asyncio.run(use())


def test_close_ends_what_others_are_in(script: Path) -> None:
    async def use() -> None:
        client = Client(script)
        async with asyncio.timeout(WITHIN), client:
            pid = await pid_of(client)
            await client.close()
            assert not is_alive(pid)
            with pytest.raises(RuntimeError, match="not connected"):
                await client.ping()

    asyncio.run(use())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_server_that_died_is_started_again(script: Path, mode: Any) -> None:
    async def use() -> None:
        async with asyncio.timeout(WITHIN), Client(script, mode=mode) as client:
            pid = await pid_of(client)
            os.kill(pid, signal.SIGKILL)
            while True:
                try:
                    assert await pid_of(client) != pid
                    return
                except McpError:  # the call that was on its way; the next starts the server
                    await asyncio.sleep(0)

    asyncio.run(use())


@pytest.mark.parametrize("mode", ["auto", "legacy", "modern"])
def test_a_server_that_is_not_there(mode: Any) -> None:
    async def use() -> None:
        client = Client("http://127.0.0.1:9/mcp", mode=mode)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"could not connect.*127\.0\.0\.1"):
                await client.__aenter__()
            assert not client.is_connected()

    asyncio.run(use())


def test_a_server_that_says_nothing() -> None:
    async def use() -> None:
        client = Client(["sleep", "60"], init_timeout=0.5)
        with pytest.raises(RuntimeError, match="did not answer in time"):
            await client.__aenter__()

    asyncio.run(use())


def test_cancelled_while_it_connects() -> None:
    async def use() -> None:
        client = Client(["sleep", "60"])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await client.__aenter__()
        assert not client.is_connected()
        await client.close()

    asyncio.run(use())


def test_everything_before_it_is_connected_is_a_sentence() -> None:
    client = Client(EVERYTHING)
    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(client.list_tools())
    with pytest.raises(RuntimeError, match="async with"):
        _ = client.session
    with pytest.raises(RuntimeError, match="async with"):
        _ = client.initialize_result
    assert client.relay is None
    with pytest.raises(ValueError, match="no mode"):
        Client(EVERYTHING, mode="old")  # type: ignore[call-overload]


def test_a_server_of_ours_in_memory() -> None:
    async def use() -> None:
        server = FastMCP.as_proxy(EVERYTHING)
        modes: tuple[Mode, ...] = ("auto", "legacy", "modern")
        for mode in modes:
            async with asyncio.timeout(WITHIN), Client(server, mode=mode) as client:
                assert (await client.call_tool("add", {"a": 1, "b": 2})).data.sum == 3
                assert client.relay is not None

    asyncio.run(use())
