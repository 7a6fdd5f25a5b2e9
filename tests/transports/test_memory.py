"""Memory as front and as back: the SDK's clients before any back, server objects behind any front."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar  # noqa: TID251 - a server's author may have some
from pathlib import Path
from typing import Any, Literal

import anyio
import fastmcp
import mcp_types as types
import pytest
from fastmcp.client.transports.base import ClientTransport
from mcp import Client, ClientSession
from mcp.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

from isthmus import FastMCP, limits
from isthmus.engine.gateway import Gateway
from isthmus.errors import BackUnavailable, ConfigError
from isthmus.transports import memory
from isthmus.wire.envelope import Batch, Envelope
from tests.conformance.processes import EVERYTHING, ROOT, everything, listening
from tests.engine.clients import LegacyClient, ModernClient, run, until

sys.path.insert(0, str(ROOT / "examples"))
from everything_server.app import build

Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, ...] = ("legacy", "auto")
pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(everything) as url:
        yield url


@pytest.fixture(params=["memory", "stdio", "http"])
def target(request: pytest.FixtureRequest, url: str) -> object:
    kinds: dict[str, Callable[[], object]] = {"memory": build, "stdio": lambda: EVERYTHING, "http": lambda: url}
    return kinds[request.param]()


class Heard:
    """What a client was told and asked."""

    def __init__(self) -> None:
        self.logs: list[Any] = []
        self.progress: list[float] = []

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(params.data)

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append(progress)

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"answer": params.message})

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Paris"), model="m")


@asynccontextmanager
async def connected(
    target: object, mode: Mode, heard: Heard | None = None, name: str = "mine"
) -> AsyncIterator[Client]:
    heard = heard or Heard()
    proxy = FastMCP.as_proxy(target, name=name)
    async with Client(
        proxy.memory(),
        mode=mode,
        log_level="info" if mode == "auto" else None,
        read_timeout_seconds=20,
        elicitation_callback=heard.elicit,
        sampling_callback=heard.sample,
        logging_callback=heard.on_log,
    ) as client:
        yield client


async def said(client: Client, tool: str, /, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, types.CallToolResult)
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))


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


# -- what goes wrong --------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr(memory, "STDIN_QUEUE", 1 << 20)

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
