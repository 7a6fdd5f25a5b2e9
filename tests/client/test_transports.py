"""What names a server, and what each transport makes of it; configurations; credentials."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.server.mcpserver import MCPServer
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import JSONRPCRequest
from pydantic import AnyUrl

from isthmus import Client
from isthmus.client import transports
from isthmus.client.auth import BearerAuth, OAuth
from isthmus.client.connection import Mode
from isthmus.client.foreign import _stamped
from isthmus.client.transports import (
    FastMCPTransport,
    MCPConfigTransport,
    NodeStdioTransport,
    NpxStdioTransport,
    PythonStdioTransport,
    SSETransport,
    StdioTransport,
    StreamableHttpTransport,
    TargetTransport,
    UvStdioTransport,
    UvxStdioTransport,
    infer_transport,
)
from isthmus.errors import ConfigError
from isthmus.exceptions import McpError
from isthmus.many.plan import Plan
from isthmus.mcp_config import MCPConfig, RemoteMCPServer, StdioMCPServer, update_config_file
from isthmus.transports.target import HttpTarget
from tests.client.backs import EVERYTHING_HTTP, MODES, opened
from tests.conformance.processes import EVERYTHING, ROOT

EXAMPLE = str(ROOT / "examples" / "everything.py")
WITHIN = 40


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("http://127.0.0.1:1/mcp", StreamableHttpTransport),
        ("http://127.0.0.1:1/sse", SSETransport),
        ("http://127.0.0.1:1/sse/x?y", SSETransport),
        ("http://127.0.0.1:1/sselect", StreamableHttpTransport),
        (AnyUrl("https://example.com/mcp"), StreamableHttpTransport),
        (EXAMPLE, PythonStdioTransport),
        (Path(EXAMPLE), PythonStdioTransport),
        (EVERYTHING, TargetTransport),
        ("unix:/run/x.sock", TargetTransport),
        (MCPServer("x"), FastMCPTransport),
        ({"a": {"url": "http://127.0.0.1:1/mcp"}}, MCPConfigTransport),
        (MCPConfig.from_dict({"mcpServers": {"a": {"command": "x"}}}), MCPConfigTransport),
    ],
)
def test_what_names_a_server(target: Any, kind: type) -> None:
    made = infer_transport(target)
    assert type(made) is kind
    assert infer_transport(made) is made
    assert Client(target).source is not None


@pytest.mark.parametrize("target", ["nowhere", "ftp://x", [], ["no-such-command-anywhere"], 3, None, {}])
def test_what_names_none(target: Any) -> None:
    with pytest.raises(ConfigError):
        Client(target)


@pytest.mark.parametrize("script", ["nowhere.py", "nowhere.js"])
def test_a_script_that_is_not_there(script: str) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Client(script)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.js").touch()
    (tmp_path / "npx").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "npx").chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    folder = str(tmp_path)
    made: list[tuple[StdioTransport, list[str]]] = [
        (StdioTransport("cat", ["-u"]), ["cat", "-u"]),
        (PythonStdioTransport(EXAMPLE, ["--page", "3"]), [sys.executable, EXAMPLE, "--page", "3"]),
        (PythonStdioTransport(EXAMPLE, python_cmd="python"), ["python", EXAMPLE]),
        (NodeStdioTransport(tmp_path / "x.js", node_cmd="bun"), ["bun", str((tmp_path / "x.js").resolve())]),
        (
            UvStdioTransport("serve", ["-v"], True, folder, "3.12", ["a", "b"], "r.txt"),
            [
                *f"uv run --directory {folder} --python 3.12 --with a --with b".split(),
                *["--with-requirements", "r.txt", "--module", "serve", "-v"],
            ],
        ),
        (
            UvxStdioTransport("tool", ["-v"], None, "3.12", ["a"], "pack"),
            ["uvx", "--python", "3.12", "--from", "pack", "--with", "a", "tool", "-v"],
        ),
        (NpxStdioTransport("pack", ["-v"]), ["npx", "--prefer-offline", "pack", "-v"]),
        (NpxStdioTransport("pack", use_package_lock=False), ["npx", "pack"]),
    ]
    for transport, argv in made:
        assert list(transport.source.argv) == argv
        assert not transport.keeps_open
    with pytest.raises(NotADirectoryError):
        UvxStdioTransport("x", project_directory=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="is no script of this kind"):
        PythonStdioTransport(tmp_path / "x.js")
    env = UvxStdioTransport("x", env_vars={"A": "1"}).source.env
    assert env["A"] == "1"
    assert env["PATH"] == os.environ["PATH"]
    assert StdioTransport("x", [], env={"A": "1"}, cwd=folder).source.env == {"A": "1"}


def test_urls_headers_and_tokens() -> None:
    made = StreamableHttpTransport("https://h/mcp", headers={"X": "1", "authorization": "old"}, auth="abc")
    assert made.source == HttpTarget("h", "https://h/mcp", (("X", "1"), ("Authorization", "Bearer abc")), "http")
    assert SSETransport("https://h/sse", auth=BearerAuth("abc")).source == HttpTarget(
        "h", "https://h/sse", (("Authorization", "Bearer abc"),), "sse"
    )
    assert Client("https://h/mcp", auth="abc").source.headers == (("Authorization", "Bearer abc"),)
    with pytest.raises(ValueError, match="no URL"):
        StreamableHttpTransport("h/mcp")
    with pytest.raises(ConfigError, match="auth= is for a URL"):
        Client(EVERYTHING, auth="abc")


class Stamp(httpx2.Auth):
    """Credentials of a kind that only code can make."""

    def __init__(self) -> None:
        self.count = 0

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        self.count += 1
        request.headers["X-Stamp"] = str(self.count)
        yield request


class Older:
    """The same of another library."""

    def __init__(self) -> None:
        self.count = 0

    def auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        self.count += 1
        yield request


@pytest.mark.parametrize("kind", [Stamp, Older])
@pytest.mark.parametrize("mode", MODES)
def test_an_auth_object_sees_every_request(mode: Mode, kind: Any) -> None:
    async def elicit(message: str, response_type: Any, params: Any, context: Any) -> dict[str, str]:
        return {"answer": "Ada"}

    async def use(url: str) -> None:
        auth = kind()
        async with asyncio.timeout(WITHIN), Client(url, elicitation_handler=elicit, auth=auth, mode=mode) as client:
            before = auth.count
            assert (await client.call_tool("add", {"a": 1, "b": 2})).data.sum == 3
            assert auth.count > before
            assert (await client.call_tool("ask")).content[0].text == "accept: Ada"  # type: ignore[union-attr]

    with opened(EVERYTHING_HTTP) as url:
        asyncio.run(use(url))


def test_what_is_no_auth_object() -> None:
    with pytest.raises(TypeError, match="no auth object"):
        _ = Client("http://127.0.0.1:1/mcp", auth=3).source


def test_a_login_comes_back(tmp_path: Path) -> None:
    async def visit(port: int, path: str) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        return answer.split(b"\r\n")[0]

    async def use() -> None:
        auth = OAuth("https://h/mcp", scopes=["a", "b"], token_storage_cache_dir=tmp_path / "kept")
        assert auth.context.client_metadata.scope == "a b"
        async with asyncio.timeout(WITHIN):
            waiting = asyncio.ensure_future(auth.callback_handler())
            await asyncio.sleep(0)
            while True:
                try:
                    assert await visit(auth.redirect_port, "/favicon.ico") == b"HTTP/1.1 404 Not Found"
                    break
                except ConnectionRefusedError:
                    await asyncio.sleep(0)
            assert await visit(auth.redirect_port, "/callback?code=c&state=s") == b"HTTP/1.1 200 OK"
            got = await waiting
            assert (got.code, got.state) == ("c", "s")
            waiting = asyncio.ensure_future(auth.callback_handler())
            await asyncio.sleep(0.05)
            await visit(auth.redirect_port, "/callback?error=access_denied")
            with pytest.raises(RuntimeError, match="access_denied"):
                await waiting

    asyncio.run(use())


def test_kept_tokens_are_for_nobody_else(tmp_path: Path) -> None:
    from mcp.shared.auth import OAuthToken

    async def use(folder: Path | None) -> None:
        storage = OAuth("https://h/mcp", token_storage_cache_dir=folder).context.storage
        assert await storage.get_tokens() is None
        for token in ("abc", "def"):
            await storage.set_tokens(OAuthToken(access_token=token))
        again = OAuth("https://h/mcp", token_storage_cache_dir=folder).context.storage
        kept = await (again if folder else storage).get_tokens()
        assert kept is not None
        assert kept.access_token == "def"

    asyncio.run(use(None))
    asyncio.run(use(tmp_path / "kept"))
    files = list((tmp_path / "kept").iterdir())
    assert [file.stat().st_mode & 0o777 for file in files] == [0o600]


def test_one_server_of_a_configuration_has_no_prefix_and_many_have() -> None:
    server = {"command": EVERYTHING[0], "args": EVERYTHING[1:]}

    async def use(config: Any, tool: str) -> None:
        async with asyncio.timeout(WITHIN), Client(config) as client:
            assert (await client.call_tool(tool, {"a": 1, "b": 2})).data.sum == 3

    asyncio.run(use({"mcpServers": {"one": server}}, "add"))
    asyncio.run(use(MCPConfig.from_dict({"one": server, "two": server}), "two_add"))
    with pytest.raises(ConfigError, match="name_as_prefix"):
        MCPConfigTransport({"one": server, "two": server}, name_as_prefix=False)


def test_tools_that_a_configuration_changes() -> None:
    tools = {
        "echo": {"name": "say", "description": "Says it"},
        "add": {"enabled": False},
        "slow": {"arguments": {"steps": {"hide": True, "default": 1}, "seconds": {"hide": True}}},
    }
    config = MCPConfig.from_dict({"one": {"command": EVERYTHING[0], "args": EVERYTHING[1:], "tools": tools}})

    async def use(target: Any) -> None:
        async with asyncio.timeout(WITHIN), Client(target) as client:
            found = {tool.name: tool for tool in await client.list_tools()}
            assert found["say"].description == "Says it"
            assert not {"echo", "add"} & set(found)
            assert not found["slow"].input_schema.get("properties")
            assert (await client.call_tool("say", {"text": "hi"})).content[0].text == "hi"  # type: ignore[union-attr]
            with pytest.raises(McpError):
                await client.call_tool("add", {"a": 1, "b": 2})

    asyncio.run(use(config))
    asyncio.run(use(config.mcpServers["one"].to_transport()))


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"include_tags": ["a"]}, "no tags"),
        ({"tools": {"a": {"title": "x"}}}, "title"),
        ({"tools": {"a": {"arguments": {"b": {"name": "c"}}}}}, "argument 'b'"),
        ({"tools": {"a": {"arguments": {"b": {"default": 1}}}}}, "only be hidden"),
    ],
)
def test_changes_that_there_are_not(said: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        MCPConfigTransport({"one": {"command": "x", **said}})


def test_configurations_as_files(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "servers.json"
    config = MCPConfig.from_dict({"mcpServers": {"a": {"command": "x", "more": 1}}, "other": True})
    config.add_server("b", RemoteMCPServer(url="https://h/sse"))
    config.write_to_file(path)
    read = MCPConfig.from_file(path)
    assert read == config
    assert read.to_dict()["other"] is True
    assert isinstance(read.mcpServers["a"], StdioMCPServer)
    assert isinstance(read.mcpServers["b"].to_transport(), SSETransport)
    update_config_file(path, "a", StdioMCPServer(command="y"))
    assert MCPConfig.from_file(path).to_dict()["mcpServers"]["a"] == {
        "command": "y", "more": 1, "args": [], "env": {}, "transport": "stdio",
    }  # fmt: skip
    for missing in (tmp_path / "nowhere.json", tmp_path / "empty.json"):
        (tmp_path / "empty.json").touch()
        with pytest.raises(ValueError, match="Write the servers"):
            MCPConfig.from_file(missing)


def test_credentials_of_a_configured_server() -> None:
    auth = Stamp()
    plan = MCPConfigTransport(
        {"a": {"url": "https://h/mcp", "auth": auth}, "b": {"url": "https://h/mcp", "auth": "abc"}}
    )
    source = plan.source
    assert isinstance(source, Plan)
    assert not isinstance(source.specs[0].target, HttpTarget)
    assert isinstance(source.specs[1].target, HttpTarget)
    assert source.specs[1].target.headers == (("Authorization", "Bearer abc"),)


def test_nothing_heavy_is_loaded_to_hold_a_client() -> None:
    script = (
        "import sys; from isthmus import Client; Client('http://127.0.0.1:1/mcp', auth='x').source; "
        "print(sorted(sys.modules))"
    )
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT, timeout=30
    ).stdout
    for heavy in ("'uvicorn'", "'mcp'", "'mcp_types'", "'pydantic'", "'starlette'", "'anyio'", "'httpx2'"):
        assert heavy not in modules


def test_names_of_the_module() -> None:
    for name in transports.__all__:
        assert hasattr(transports, name)


def test_messages_of_a_session_say_its_revision() -> None:
    """2025-11-25 basic/transports, Protocol Version Header: a client MUST send it on all requests after initialize."""
    request = SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=1, method="tools/list"))
    stamped = _stamped(request, ["2025-11-25"]).metadata
    assert isinstance(stamped, ClientMessageMetadata)
    assert stamped.headers == {"mcp-protocol-version": "2025-11-25"}
    assert _stamped(request, []).metadata is None
