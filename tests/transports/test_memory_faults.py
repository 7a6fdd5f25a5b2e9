"""Memory when something is wrong: with the server, with the client, with what they say."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from contextvars import ContextVar  # noqa: TID251 - a server's author may have some
from pathlib import Path
from typing import Any

import anyio
import fastmcp
import mcp_types as types
import pytest
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from isthmus import FastMCP, limits
from isthmus.engine.gateway import Gateway
from isthmus.engine.settings import Settings
from isthmus.errors import BackUnavailable, ConfigError
from isthmus.limits import Limits
from isthmus.transports import memory
from isthmus.wire.envelope import Batch, Envelope
from tests.conformance.processes import EVERYTHING, ROOT
from tests.engine.clients import LegacyClient, ModernClient, run, until
from tests.limits_watch import watched
from tests.transports.memory_peers import MODES, build, connected

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


class Ear:
    """A listener that keeps all."""

    def __init__(self) -> None:
        self.heard: list[Envelope] = []
        self.ends: list[str] = []

    def received(self, envelope: Envelope) -> None:
        assert not self.ends
        self.heard.append(envelope)

    def received_batch(self, batch: Batch) -> None:
        raise AssertionError(batch)

    def lost(self, why: str) -> None:
        self.ends.append(why)


class Scripted:
    """A server object that runs a function on its streams."""

    name = "scripted"

    def __init__(self, play: Callable[[Any, Any], Coroutine[Any, Any, None]]) -> None:
        self.play = play

    def create_initialization_options(self) -> None:
        return None

    async def run(self, read: Any, write: Any, options: None) -> None:
        await self.play(read, write)


def test_a_server_that_fails_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """The client's call fails with the sentence, the traceback is logged, and the next client finds it well again."""

    async def scenario() -> None:
        failures = [RuntimeError("no database\nat all")]

        @asynccontextmanager
        async def lifespan(_: Server[Any]) -> AsyncIterator[dict[str, Any]]:
            if failures:
                raise failures.pop()
            yield {}

        server = Server("moody", lifespan=lifespan)
        gateway = Gateway(memory.target_of(server))
        with pytest.raises(Exception, match="'moody' failed with RuntimeError: no database at all"):
            await LegacyClient.open(gateway)
        assert "no database" in caplog.text
        await LegacyClient.open(gateway)
        await gateway.close()

    run(scenario)


def test_a_server_that_ends_by_itself() -> None:
    async def scenario() -> None:
        async def play(read: Any, write: Any) -> None:
            await read.receive()

        ear = Ear()
        channel = await memory.connect_to(Scripted(play))(ear)
        channel.write(b'{"jsonrpc":"2.0","method":"x"}')
        await until(lambda: ear.ends)
        assert not channel.is_alive and "'scripted' ended" in ear.ends[0]
        with pytest.raises(BackUnavailable, match="'scripted' ended"):
            channel.write(b'{"jsonrpc":"2.0","method":"x"}')
        await channel.stop()
        assert len(ear.ends) == 1

    run(scenario)


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_a_server_that_does_not_end(monkeypatch: pytest.MonkeyPatch, is_stubborn: bool) -> None:
    """It is cancelled when its time is over, and left to itself if that is not enough; `stop` comes back."""
    monkeypatch.setattr(memory, "STOP_EOF", 0.05)
    monkeypatch.setattr(memory, "STOP_TERM", 0.05)

    async def scenario() -> None:
        freed, cancelled = asyncio.Event(), asyncio.Event()

        async def play(read: Any, write: Any) -> None:
            try:
                await freed.wait()
            except asyncio.CancelledError:
                cancelled.set()
                if not is_stubborn:
                    raise
                await freed.wait()

        ear = Ear()
        channel = await memory.connect_to(Scripted(play))(ear)
        async with asyncio.timeout(2):
            await asyncio.sleep(0)
            await asyncio.gather(channel.stop(), channel.stop())
        assert cancelled.is_set() and ear.ends == ["The back 'scripted' was stopped."]
        freed.set()
        if isinstance(channel, memory._ServerChannel) and channel._task is not None:
            await asyncio.wait([channel._task], timeout=1)
        assert len(ear.ends) == 1

    run(scenario)


def test_a_server_that_talks_without_end_is_stopped() -> None:
    async def scenario() -> None:
        async def play(read: Any, write: Any) -> None:
            message = types.JSONRPCNotification(jsonrpc="2.0", method="x")
            while True:
                await write.send(memory._sdk().read(message.model_dump_json(exclude_unset=True).encode()))

        ear = Ear()
        channel = await memory.connect_to(Scripted(play))(ear)
        await until(lambda: len(ear.heard) > 100)
        async with asyncio.timeout(limits.STOP_EOF + limits.STOP_TERM):
            await channel.stop()
        assert len(ear.ends) == 1

    run(scenario)


def test_a_server_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STDIN_QUEUE", 100)

    async def scenario() -> None:
        async def play(read: Any, write: Any) -> None:
            await asyncio.Event().wait()

        channel = await memory.connect_to(Scripted(play))(Ear())
        text = b'{"jsonrpc":"2.0","method":"x"}'
        for _ in range(3):
            channel.write(text)
        with pytest.raises(BackUnavailable, match="reads nothing"):
            channel.write(text)
        monkeypatch.setattr(memory, "STOP_EOF", 0.0)
        await channel.stop()

    run(scenario)


def test_what_the_sdk_refuses_is_an_error_at_once() -> None:
    """A lone surrogate, which JSON allows and pydantic does not."""

    async def scenario() -> None:
        gateway = Gateway(memory.target_of(build()))
        client = ModernClient(gateway)
        error = await client.call(1, "echo", text="\ud800").error(5)
        assert "The MCP SDK can't read this message" in error["message"]
        assert await client.call(2, "echo", text="well").result()
        await gateway.close()

    run(scenario)


def test_an_answer_that_the_sdk_refuses_is_an_error_for_the_client() -> None:
    async def scenario() -> None:
        script = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    result = {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
    if message["method"] != "initialize":
        result = {"odd": "\\ud800"}
    if "id" in message:
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
        async with connected([sys.executable, "-I", "-S", "-c", script], "legacy") as client:
            with pytest.raises(MCPError, match="The MCP SDK can't read this message"):
                await client.list_tools()

    run(scenario)


def test_the_servers_context_is_not_the_clients() -> None:
    """Who is called first must not leave its context variables to the calls of others."""

    async def scenario() -> None:
        user = ContextVar("user", default="nobody")
        server = MCPServer("whose")

        @server.tool()
        def who() -> str:
            return user.get()

        gateway = Gateway(memory.target_of(server))
        user.set("Ada")
        result = await ModernClient(gateway).call(1, "who").result()
        assert result["content"][0]["text"] == "nobody"
        await gateway.close()

    run(scenario)


def test_leaving_ends_what_was_started(tmp_path: Path) -> None:
    """Also with a call in flight, and also when a cancel scope around the client is what ends it."""
    ledger = tmp_path / "pids"
    script = f"import os; open({str(ledger)!r}, 'a').write(f'{{os.getpid()}} '); import runpy, sys; " + (
        f"sys.path.insert(0, {str(ROOT / 'examples')!r}); sys.argv = ['x']; "
        f"runpy.run_path({str(ROOT / 'examples' / 'everything.py')!r}, run_name='__main__')"
    )

    async def scenario() -> None:
        begun = anyio.Event()

        async def on_progress(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async def converse() -> None:
            async with connected([sys.executable, "-c", script], "legacy") as client:
                await client.call_tool("slow", {"seconds": 60, "steps": 2}, progress_callback=on_progress)

        async with anyio.create_task_group() as group:
            group.start_soon(converse)
            await begun.wait()
            group.cancel_scope.cancel()
        pids = [int(pid) for pid in ledger.read_text().split()]
        assert pids
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    run(scenario)


def test_a_client_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; then its streams end."""
    monkeypatch.setattr(memory, "CHANNEL_UNREAD", 1 << 20)

    async def scenario() -> None:
        async with FastMCP.as_proxy(build()).memory() as (read, write):
            sdk = memory._sdk()
            params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}

            def request(id: int, method: str, params: Any) -> Any:
                return sdk.read(json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).encode())

            await write.send(request(0, "initialize", params))
            await read.receive()
            for id in range(1, 4):
                await write.send(request(id, "tools/call", {"name": "big", "arguments": {"size": 1 << 19}}))
            await until(lambda: read.waiting > 1 << 20)
            got = [each async for each in read]
            assert 2 <= len(got) <= 3
            with pytest.raises(anyio.BrokenResourceError):
                await write.send(request(9, "ping", {}))

    run(scenario)


def test_the_back_is_made_to_wait_for_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """`drain` comes back when the client has read enough, or is given up."""

    async def scenario() -> None:
        gateway = Gateway(memory.target_of(build()), Settings(limits=Limits(unread=100)))
        front = memory.MemoryFront(gateway, gateway.tasks.start)
        serving = gateway.tasks.start(front.serve())
        read, _ = front.streams
        for _ in range(5):
            front.write(b'{"jsonrpc":"2.0","method":"x"}')
        draining = asyncio.ensure_future(front.drain())
        await asyncio.sleep(0)
        await read.receive()
        await asyncio.sleep(0)
        assert not draining.done()
        await read.receive()
        await asyncio.wait_for(draining, 1)
        front.write(b'{"jsonrpc":"2.0","method":"y"}')
        monkeypatch.setattr(memory, "WRITE_STALLED", 0.05)
        await asyncio.wait_for(front.drain(), 1)
        await asyncio.wait_for(serving, 1)
        assert len([each async for each in read]) == 4
        await gateway.close()

    run(scenario)


def test_every_wait_has_a_limit() -> None:
    """In the front, in the back, and in what a FastMCP server shares."""

    async def scenario() -> None:
        async with asyncio.timeout(30):
            for target in (build(), fastmcp.FastMCP("fast"), EVERYTHING):
                for mode in MODES:
                    async with connected(target, mode) as client:
                        await client.list_tools()

    watch = watched(scenario)
    assert watch.unlimited == set()
    assert {"Inbox.receive", "_SharedLifespan._hold"} <= watch.seen


def test_what_is_no_server_is_refused() -> None:
    for wrong in (7, object(), build):
        with pytest.raises(ConfigError, match="can't be a target"):
            FastMCP.as_proxy(wrong)
    with pytest.raises(ConfigError, match="headers="):
        FastMCP.as_proxy(build(), headers={"X": "y"})


def test_memory_is_not_imported_by_others() -> None:
    code = (
        "import isthmus.run, isthmus.server, isthmus.transports.memory, sys; print({'mcp', 'anyio'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "set()"
