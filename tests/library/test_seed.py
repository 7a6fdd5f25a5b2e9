"""The uses that the seed's page shows first: quick start, sessions, transports, configurations. Each named by its part
of that page."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from isthmus import Client, FastMCP, FastMCPProxy, MCPConfig, ProxyClient, create_proxy
from isthmus.client.transports import (
    PythonStdioTransport,
    SSETransport,
    StdioTransport,
    StreamableHttpTransport,
)
from isthmus.mcp_config import RemoteMCPServer, StdioMCPServer
from tests.conformance.processes import listening
from tests.library.ways import User, every_mode, pid_of, play, small, text_of
from tests.many.servers import heard

OFFICIAL = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("weather server")

@server.tool()
def get_forecast(city: str) -> str:
    return f"Sun in {city}."

@server.resource("weather://icons/sunny")
def sunny() -> str:
    return "an icon"

@server.prompt()
def ask_weather(city: str) -> str:
    return f"How is it in {city}?"

server.run("TRANSPORT", **OPTIONS)
"""
SMALL = """
import json, sys

text = lambda said: {"type": "text", "text": said}
answers = {
    "initialize": lambda said: {"protocolVersion": said["protocolVersion"], "capabilities": {"tools": {},
        "resources": {}, "prompts": {}}, "serverInfo": {"name": "weather server", "version": "1"}},
    "tools/list": lambda said: {"tools": [{"name": "get_forecast", "inputSchema": {"type": "object"}}]},
    "tools/call": lambda said: {"content": [text("Sun in %(city)s." % said["arguments"])]},
    "resources/list": lambda said: {"resources": [{"uri": "weather://icons/sunny", "name": "sunny"}]},
    "resources/read": lambda said: {"contents": [{"uri": said["uri"], "text": "an icon"}]},
    "resources/templates/list": lambda said: {"resourceTemplates": []},
    "ping": lambda said: {},
    "prompts/list": lambda said: {"prompts": [{"name": "ask_weather"}]},
    "prompts/get": lambda said: {"messages": [{"role": "user",
        "content": text("How is it in %(city)s?" % said["arguments"])}]},
}
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        answer, given = answers.get(message["method"]), message.get("params")
        said = {"error": {"code": -32601, "message": "?"}} if answer is None else {"result": answer(given)}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], **said}), flush=True)
"""
PROXY = """
from isthmus import FastMCP
from isthmus.server.proxy import ProxyClient

proxy = FastMCP.as_proxy(ProxyClient(TARGET), name="MyProxy")

if __name__ == "__main__":
    proxy.run(**OPTIONS)
"""


def script_of(path: Path, program: str, **put: Any) -> Path:
    for word, value in put.items():
        program = program.replace(word.upper(), value if word == "transport" else repr(value))
    path.write_text(program, encoding="utf-8")
    return path


@pytest.fixture
def back(tmp_path: Path) -> Path:
    """A server of the older revisions, on stdio, which starts fast: a fresh session is a process of its own."""
    return script_of(tmp_path / "backend_server.py", SMALL)


async def check_weather(client: Client[Any], prefix: str = "", authority: str = "") -> None:
    assert [tool.name for tool in await client.list_tools()] == [f"{prefix}get_forecast"]
    called = await client.call_tool(f"{prefix}get_forecast", {"city": "Rome"})
    assert text_of(called.content[0]) == "Sun in Rome."
    uri = f"weather://{authority}icons/sunny"
    assert [str(resource.uri) for resource in await client.list_resources()] == [uri]
    assert [getattr(each, "text", None) for each in await client.read_resource(uri)] == ["an icon"]
    rendered = await client.get_prompt(f"{prefix}ask_weather", {"city": "Rome"})
    assert text_of(rendered.messages[0].content) == "How is it in Rome?"


# -- quick start ------------------------------------------------------------------------------------------------------


def test_a_program_with_a_proxy_of_a_script(tmp_path: Path) -> None:
    """Quick Start: the whole program, on stdio as a desktop application would start it, before the official SDK."""
    back = script_of(tmp_path / "backend_server.py", OFFICIAL, transport="stdio", options={})
    proxy = script_of(tmp_path / "proxy.py", PROXY, target=str(back), options={})

    async def script() -> None:
        async with Client(proxy) as client:
            assert client.initialize_result.server_info.name == "MyProxy"
            await check_weather(client)

    play(script())


@every_mode
@pytest.mark.parametrize("how", ["ProxyClient", "Client", "path", "text", "transport", "create_proxy"])
def test_what_a_proxy_can_be_made_of(how: str, mode: Any, back: Path) -> None:
    """Quick Start: a transport or whatever one is inferred from works as well, and a plain client."""
    made: dict[str, Any] = {
        "ProxyClient": lambda: FastMCP.as_proxy(ProxyClient(back), name="MyProxy"),
        "Client": lambda: FastMCP.as_proxy(Client(back), name="MyProxy"),
        "path": lambda: FastMCP.as_proxy(back, name="MyProxy"),
        "text": lambda: FastMCP.as_proxy(str(back), name="MyProxy"),
        "transport": lambda: FastMCP.as_proxy(PythonStdioTransport(back), name="MyProxy"),
        "create_proxy": lambda: create_proxy(back, name="MyProxy"),
    }

    async def script() -> None:
        proxy = made[how]()
        assert isinstance(proxy, FastMCPProxy) and isinstance(proxy, FastMCP) and proxy.name == "MyProxy"
        async with Client(proxy, mode=mode) as client:
            await check_weather(client)

    play(script())


# -- sessions ---------------------------------------------------------------------------------------------------------


@every_mode
def test_fresh_sessions(mode: Any, tmp_path: Path) -> None:
    """A disconnected client: each request has a session of its own; nothing is shared by clients or calls."""
    log = tmp_path / "log"

    async def script() -> None:
        client: Client[Any] = ProxyClient(small("legacy", log))
        assert not client.is_connected()
        proxy = FastMCP.as_proxy(client)
        async with Client(proxy, mode=mode) as first, Client(proxy, mode=mode) as second:
            met = await asyncio.gather(*(pid_of(each) for each in (first, second) for _ in range(3)))
        assert not client.is_connected()
        assert len(set(met)) == len(heard(log, "back", "tools/call")) == 6
        assert len(heard(log, "back", "initialize")) >= 6

    play(script())


@every_mode
def test_a_connected_client_lends_its_session(mode: Any, tmp_path: Path) -> None:
    """Session Reuse with Connected Clients: all requests go to the one session, and it outlives the proxy's clients."""
    log = tmp_path / "log"

    async def script() -> None:
        async with Client(small("legacy", log)) as connected:
            proxy = FastMCP.as_proxy(connected)
            met = []
            for _ in range(2):
                async with Client(proxy, mode=mode) as front:
                    met += await asyncio.gather(*(pid_of(front) for _ in range(3)))
            assert connected.is_connected()
            assert {*met} == {await pid_of(connected)}
        assert len(heard(log, "back", "tools/call")) == 7
        assert len(heard(log, "back", "initialize")) == 1

    play(script())


@every_mode
def test_keep_alive_is_a_session_for_each_client(mode: Any, tmp_path: Path) -> None:
    """What a stateful server needs; FastMCP shares the process by default, and between clients."""
    program, *arguments = small("legacy", tmp_path / "log")

    async def script() -> None:
        proxy = FastMCP.as_proxy(StdioTransport(program, arguments, keep_alive=True))
        met = []
        for _ in range(2):
            async with Client(proxy, mode=mode) as front:
                met.append({await pid_of(front) for _ in range(3)})
        assert [len(each) for each in met] == [1, 1]
        assert mode == "modern" or met[0] != met[1]

    play(script())


# -- transports -------------------------------------------------------------------------------------------------------


@contextmanager
def serving(tmp_path: Path, transport: str) -> Iterator[str]:
    """The server of the official SDK over HTTP; its URL."""
    with listening(
        lambda port: [
            sys.executable,
            str(script_of(tmp_path / "remote.py", OFFICIAL, transport=transport, options={"port": port})),
        ]
    ) as url:
        yield url.removesuffix("/mcp") + ("/sse" if transport == "sse" else "/mcp")


@pytest.mark.parametrize("transport", ["sse", "streamable-http"])
def test_a_remote_server_on_stdio(transport: str, tmp_path: Path) -> None:
    """Transport Bridging: a remote SSE server is available locally via stdio."""

    async def script(url: str) -> None:
        proxy = script_of(tmp_path / "proxy.py", PROXY, target=url, options={})
        async with Client(proxy) as client:
            await check_weather(client)

    with serving(tmp_path, transport) as url:
        play(script(url))


@pytest.mark.parametrize("transport", ["http", "sse"])
def test_a_local_server_over_http(transport: str, back: Path, tmp_path: Path) -> None:
    """Transport Bridging, the other way round."""

    async def script(url: str) -> None:
        kind = SSETransport if transport == "sse" else StreamableHttpTransport
        async with Client(kind(url)) as client:
            await check_weather(client)

    def program(port: int) -> list[str]:
        options = {"transport": transport, "host": "127.0.0.1", "port": port}
        return [sys.executable, str(script_of(tmp_path / "proxy.py", PROXY, target=str(back), options=options))]

    with listening(program) as url:
        play(script(url if transport == "http" else url.removesuffix("/mcp") + "/sse"))


def test_questions_cross_a_bridge(tmp_path: Path) -> None:
    """Advanced features over two processes and two transports."""
    source = 'from tests.library.ways import features\nfeatures().run(transport="http", port={port})'

    async def script(url: str) -> None:
        user = User()
        proxy = script_of(tmp_path / "proxy.py", PROXY, target=url, options={})
        async with user.client(proxy) as client:
            assert (await client.call_tool("roots")).data == ["file:///home/user"]
            assert (await client.call_tool("sample")).data == "seven"
            assert (await client.call_tool("elicit")).data == "accept Alice"
            await client.call_tool("progress")
            await client.call_tool("log")
        assert [step for step, *_ in user.steps] == [1, 2, 3] and len(user.logged) == 1

    with listening(lambda port: [sys.executable, "-c", source.format(port=port)]) as url:
        play(script(url))


# -- configurations ---------------------------------------------------------------------------------------------------


@every_mode
def test_a_configuration_of_one_server(mode: Any, back: Path) -> None:
    """Configuration-Based Proxies: `default` alone has no prefix."""
    config = {"mcpServers": {"default": {"command": sys.executable, "args": [str(back)]}}}

    async def script() -> None:
        proxy = FastMCP.as_proxy(config, name="Config-Based Proxy")
        async with Client(proxy, mode=mode) as client:
            await check_weather(client)

    play(script())


def test_a_configuration_of_a_remote_server(tmp_path: Path) -> None:
    async def script(url: str) -> None:
        config = {"mcpServers": {"default": {"url": url, "transport": "http"}}}
        async with Client(FastMCP.as_proxy(config)) as client:
            await check_weather(client)

    with serving(tmp_path, "streamable-http") as url:
        play(script(url))


@every_mode
@pytest.mark.parametrize("how", ["dict", "MCPConfig", "built"])
def test_a_configuration_of_many_servers(mode: Any, how: str, back: Path) -> None:
    """Multi-Server Configurations: names become prefixes, of URIs too."""
    each = {"command": sys.executable, "args": [str(back)]}
    config: Any = {"mcpServers": {"weather": each, "calendar": {**each, "env": {"HOME": "/nowhere"}}}}
    if how == "MCPConfig":
        config = MCPConfig.from_dict(config)
    elif how == "built":
        server = StdioMCPServer(command=sys.executable, args=[str(back)])
        config = MCPConfig(mcpServers={"weather": server})
        config.add_server("calendar", server)

    async def script() -> None:
        proxy = FastMCP.as_proxy(config, name="Composite Proxy")
        async with Client(proxy, mode=mode) as client:
            assert {tool.name for tool in await client.list_tools()} == {
                "weather_get_forecast",
                "calendar_get_forecast",
            }
            for name, city in (("weather", "Rome"), ("calendar", "Bonn")):
                called = await client.call_tool(f"{name}_get_forecast", {"city": city})
                assert text_of(called.content[0]) == f"Sun in {city}."
            uris = {str(resource.uri) for resource in await client.list_resources()}
            assert uris == {"weather://weather/icons/sunny", "weather://calendar/icons/sunny"}
            for uri in uris:
                assert [getattr(each, "text", None) for each in await client.read_resource(uri)] == ["an icon"]
            assert {prompt.name for prompt in await client.list_prompts()} == {
                "weather_ask_weather",
                "calendar_ask_weather",
            }
            prompt = await client.get_prompt("calendar_ask_weather", {"city": "Rome"})
            assert text_of(prompt.messages[0].content) == "How is it in Rome?"

    play(script())


def test_a_configuration_mixes_transports(back: Path, tmp_path: Path) -> None:
    async def script(url: str) -> None:
        servers: dict[str, Any] = {
            "far": RemoteMCPServer(url=url),
            "near": StdioMCPServer(command=sys.executable, args=[str(back)]),
        }
        async with Client(FastMCP.as_proxy(MCPConfig(mcpServers=servers))) as client:
            for name in servers:
                called = await client.call_tool(f"{name}_get_forecast", {"city": "Rome"})
                assert text_of(called.content[0]) == "Sun in Rome."

    with serving(tmp_path, "sse") as url:
        play(script(url))


@every_mode
def test_a_configurations_servers_ask_the_client(mode: Any, tmp_path: Path) -> None:
    """Advanced features pass through a proxy of many, of both eras."""
    program, *legacy = small("legacy", tmp_path / "log")
    _, *modern = small("modern", tmp_path / "log")
    servers = {"one": {"command": program, "args": legacy}, "two": {"command": program, "args": modern}}
    asked: list[str] = []

    async def elicit(message: str, *_: Any) -> Any:
        asked.append(message)
        return {}

    async def script() -> None:
        proxy = FastMCP.as_proxy({"mcpServers": servers})
        async with Client(proxy, mode=mode, elicitation_handler=elicit) as client:
            for name in servers:
                called = await client.call_tool(f"{name}_ask")
                assert '"accept"' in text_of(called.content[0])
        assert asked == ["back asks"] * 2

    play(script())
