"""Every key of a configuration, by what `isthmus run FILE` does for it."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import ISTHMUS, ROOT
from tests.cli.test_command import isthmus
from tests.engine.clients import run, until
from tests.engine.http_back import Exchange, HttpBack, answer, http_back
from tests.many.servers import OWN_TOOLS, heard, launch, running

META = "io.modelcontextprotocol/"
WHO = {META + "protocolVersion": "2026-07-28", META + "clientCapabilities": {}}


class Proxy:
    """A running `isthmus run FILE` and its one client, on stdio."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._id = 0

    async def send(self, **message: Any) -> Any:
        """The answer to a message; none is waited for where it has no id."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        while "id" in message:
            said = json.loads(await self.process.stdout.readline())
            if said.get("id") == message["id"] and "method" not in said:
                return said
        return None

    async def ask(self, method: str, **params: Any) -> Any:
        """The answer to a modern request: its result, or its error."""
        self._id += 1
        said = await self.send(id=self._id, method=method, params={**params, "_meta": WHO})
        return said.get("result", said.get("error"))

    async def initialize(self) -> Any:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "c", "version": "1"}}
        said = await self.send(id="i", method="initialize", params=hello)
        await self.send(method="notifications/initialized")
        return said["result"]

    async def tools(self) -> list[str]:
        return [each["name"] for each in (await self.ask("tools/list"))["tools"]]

    async def end(self) -> str:
        """Leave; what was said on stderr."""
        assert self.process.stdin is not None and self.process.stderr is not None
        self.process.stdin.close()
        said = await self.process.stderr.read()
        await self.process.wait()
        return said.decode()


@asynccontextmanager
async def proxy(path: Path, servers: dict[str, Any], **own: Any) -> AsyncIterator[Proxy]:
    file = path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers, "isthmus": own}))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        ISTHMUS, "run", str(file), stdin=pipe, stdout=pipe, stderr=pipe, cwd=ROOT, limit=1 << 24
    )
    made = Proxy(process)
    try:
        yield made
    finally:
        if process.returncode is None:
            await made.end()


def back(era: str, name: str, log: Path, own: dict[str, Any] | None = None, **env: Any) -> dict[str, Any]:
    """A server of a file: a fake back, and our own keys."""
    target = launch(era, name, log, **env)
    said: dict[str, Any] = {"command": target.argv[0], "args": list(target.argv[1:]), "env": dict(target.env)}
    return {**said, "isthmus": own} if own is not None else said


def choosing(path: Path) -> dict[str, Any]:
    tools = {
        "allow": ["echo", "l*"],
        "deny": ["die"],
        "items": {
            "echo": {"rename": "say", "description": "Says.", "arguments": {"text": {"fixed": "fixed"}}},
            "link": {"arguments": {"text": {"hidden": True}}},
        },
    }
    prompts = {"items": {"hello": {"rename": "greet", "description": "Greets."}}}
    resources = {"deny": ["https://*"], "items": {"note://here": {"rename": "memo", "description": "Here."}}}
    own = {"prefix": "p", "tools": tools, "prompts": prompts, "resources": resources}
    return {"a": back("modern", "a", path / "log", own), "b": back("legacy", "b", path / "log")}


def test_choice_and_prefix(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with proxy(tmp_path, choosing(tmp_path)) as one:
            tools = (await one.ask("tools/list"))["tools"]
            assert [each["name"] for each in tools] == ["p_say", "p_link", *(f"b_{each}" for each in OWN_TOOLS)]
            assert tools[0]["description"] == "Says." and "text" not in tools[0]["inputSchema"]["properties"]
            assert "text" not in tools[1]["inputSchema"]["properties"]
            said = await one.ask("tools/call", name="p_say", arguments={"n": 1})
            told = json.loads(said["content"][0]["text"])
            assert (told["tool"], told["given"]) == ("echo", {"n": 1, "text": "fixed"})
            for name in ("p_die", "p_echo", "p_none"):
                assert (await one.ask("tools/call", name=name, arguments={}))["code"] == -32602, name
            prompts = (await one.ask("prompts/list"))["prompts"]
            assert [each["name"] for each in prompts] == ["p_greet", "b_hello"]
            assert prompts[0]["description"] == "Greets."
            got = await one.ask("prompts/get", name="p_greet")
            assert got["messages"][0]["content"]["text"] == "hello of a"
            resources = (await one.ask("resources/list"))["resources"]
            assert [each["uri"] for each in resources] == ["note://p/here", "note://b/here", "https://example.com/b"]
            assert (resources[0]["name"], resources[0]["description"]) == ("p_memo", "Here.")
            read = await one.ask("resources/read", uri="note://p/here")
            assert read["contents"][0]["text"] == "note://here of a"

    run(scenario)


def test_identity_and_instructions_of_a_single_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        for own, name in (({"identity": True}, "a"), ({}, "gate"), ({"identity": True, "prefix": "p"}, "gate")):
            async with proxy(tmp_path, {"a": back("legacy", "a", tmp_path / "log", own)}, name="gate") as one:
                said = await one.initialize()
                assert said["serverInfo"]["name"] == name, own
                assert said["instructions"] == "Use a."

    run(scenario)


def test_identity_is_for_a_single_server(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        servers = {"a": back("legacy", "a", log, {"identity": True}), "b": back("legacy", "b", log)}
        async with proxy(tmp_path, servers) as one:
            assert "can't lend its name" in await one.end() and one.process.returncode == 2

    run(scenario)


def test_the_deadline_is_a_servers_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        servers = {"a": back("mute", "a", log, {"deadline": 0.3}), "b": back("modern", "b", log)}
        async with proxy(tmp_path, servers) as one:
            began = time.monotonic()
            assert await one.tools() == [f"b_{each}" for each in OWN_TOOLS]
            assert time.monotonic() - began < 3
            assert "0.3 s" in (await one.ask("tools/call", name="a_echo", arguments={}))["message"]

    run(scenario)


@pytest.mark.parametrize("said", [{}, {"ttl": 60}, {"ttl": 0}])
@pytest.mark.parametrize("word", [0, 60_000])
def test_ttl_wins_over_the_servers_word(said: dict[str, Any], word: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        servers = {"a": back("modern", "a", log, said, TTL=word), "b": back("modern", "b", log, {"ttl": 60})}
        async with proxy(tmp_path, servers) as one:
            for _ in range(3):
                await one.tools()
            asked = len(heard(log, "a", "tools/list"))
            assert asked == (1 if said.get("ttl", word) else 3)

    run(scenario)


def test_required_ends_the_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        missing = {"command": str(tmp_path / "no-such-command"), "isthmus": {"required": True}}
        async with proxy(tmp_path, {"a": missing, "b": back("modern", "b", log)}) as one:
            assert "no-such-command" in await one.end() and one.process.returncode == 1

    run(scenario)


@pytest.mark.parametrize("options", [(), ("--http", "0")], ids=["stdio", "http"])
def test_a_signal_ends_the_wait_for_what_is_required(options: tuple[str, ...], tmp_path: Path) -> None:
    async def scenario() -> None:
        file, log = tmp_path / "mcp.json", tmp_path / "log"
        servers = {"a": back("mute", "a", log, {"required": True}), "b": back("modern", "b", log)}
        file.write_text(json.dumps({"mcpServers": servers}))
        process = await asyncio.create_subprocess_exec(
            ISTHMUS, "run", str(file), *options, stdin=asyncio.subprocess.PIPE, cwd=ROOT
        )
        await until(lambda: heard(log, "a"))
        process.terminate()
        assert await process.wait() == 0
        assert not running(launch("mute", "a", log))

    run(scenario)


@pytest.mark.parametrize(("isolation", "opened"), [("request", 3), ("session", 1), ("shared", 1)])
def test_isolation_and_warm(isolation: str, opened: int, tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        own = {"isolation": isolation, "warm": 0}
        async with proxy(tmp_path, {"a": back("legacy", "a", log, own)}) as one:
            pids = set()
            for _ in range(3):
                said = await one.ask("tools/call", name="echo", arguments={})
                pids.add(json.loads(said["content"][0]["text"])["pid"])
            assert len(pids) == opened

    run(scenario)


@pytest.mark.parametrize("own", [{"isthmus": {"limits": {"call": 1}}}, {"timeout": 1000}])
def test_limits_and_timeout_end_a_call(own: dict[str, Any], tmp_path: Path) -> None:
    async def scenario() -> None:
        log = tmp_path / "log"
        servers = {"a": {**back("modern", "a", log), **own}, "b": back("modern", "b", log)}
        async with proxy(tmp_path, servers) as one:
            began = time.monotonic()
            said = await one.ask("tools/call", name="a_hang", arguments={})
            assert said["code"] == -32603 and "did not answer" in said["message"]
            assert time.monotonic() - began < 5

    run(scenario)


def test_headers_reach_the_url(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with http_back("modern") as behind:
            target = {"url": behind.url, "headers": {"X-Key": "${KEY:-k}"}, "auth": "token"}
            async with proxy(tmp_path, {"a": target}) as one:
                assert await one.tools() == ["echo"]
            assert {(each.headers["x-key"], each.headers["authorization"]) for each in behind.heard} == {
                ("k", "Bearer token")
            }

    run(scenario)


def test_the_transport_sse_opens_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def handle(behind: HttpBack, exchange: Exchange) -> None:
            if exchange.verb == "GET":
                exchange.begin()
                exchange.chunk(b"event: endpoint\ndata: /messages?session_id=1\n\n")
                behind.gets.append(exchange)
                return
            exchange.respond(202, b"")
            reply = Exchange("POST", {"mcp-session-id": "s"}, exchange.body, behind.gets[-1].writer)
            reply.streams = True
            reply.json = lambda message, status=200, **headers: reply.event(message)  # type: ignore[method-assign]
            reply.respond = lambda *said, **headers: None  # type: ignore[method-assign]
            reply.end = lambda: None  # type: ignore[method-assign]
            behind.sessions.add("s")
            await answer(behind, reply)

        async with http_back("legacy", handle) as behind:
            async with proxy(tmp_path, {"a": {"url": behind.url, "transport": "sse"}}) as one:
                assert await one.tools() == ["echo"]
            assert behind.heard[0].verb == "GET"

    run(scenario)


def test_environment_arguments_and_folder_reach_the_command(tmp_path: Path) -> None:
    """Row 82: what a shell would understand is passed as it is."""

    async def scenario() -> None:
        script = tmp_path / "show.py"
        shown = 'ERA, LOG = "legacy", os.devnull\nNAME = json.dumps([sys.argv[1:], os.getcwd(), os.environ["A"]])'
        source = (ROOT / "tests/many/back.py").read_text().replace("ERA, NAME, LOG = sys.argv[1:4]", shown)
        script.write_text(source)
        odd = ["$(touch x)", "`id`", "a;b", "*", "${HOME:-}$", "&& true"]
        server = {
            "command": sys.executable,
            "args": ["-I", str(script), *odd],
            "cwd": str(tmp_path),
            "env": {"A": "1"},
        }
        async with proxy(tmp_path, {"a": server}) as one:
            said = await one.ask("tools/call", name="echo", arguments={})
            found, folder, value = json.loads(json.loads(said["content"][0]["text"])["from"])
            home = os.environ.get("HOME", "")
            assert (found, folder, value) == ([*odd[:4], f"{home}$", odd[5]], str(tmp_path), "1")

    run(scenario)


def test_an_absent_command_harms_only_itself(tmp_path: Path) -> None:
    """Row 81."""

    async def scenario() -> None:
        log = tmp_path / "log"
        (tmp_path / "plain").write_text("no program")
        servers = {
            "a": {"command": str(tmp_path / "no-such")},
            "b": back("modern", "b", log),
            "c": {"command": str(tmp_path / "plain")},
        }
        async with proxy(tmp_path, servers) as one:
            assert await one.tools() == [f"b_{each}" for each in OWN_TOOLS]
            for name in ("a", "c"):
                began = time.monotonic()
                said = await one.ask("tools/call", name=f"{name}_echo", arguments={})
                assert said["code"] == -32603 and said["message"].startswith(f"{name} is not there"), said
                assert time.monotonic() - began < 1
            assert "content" in await one.ask("tools/call", name="b_echo", arguments={})

    run(scenario)


def test_same_names_get_prefixes_and_prefixes_that_clash_end_it(tmp_path: Path) -> None:
    """Row 87."""

    async def scenario() -> None:
        log = tmp_path / "log"
        servers = {"a": back("modern", "a", log), "b": back("modern", "b", log, {"prefix": "a"})}
        async with proxy(tmp_path, servers) as one:
            said = await one.end()
            assert one.process.returncode == 2 and "'a' of 'a'" in said and '"prefix": "' in said and not log.exists()

    run(scenario)


def test_a_tool_with_an_invalid_annotation_is_left_out(tmp_path: Path) -> None:
    """Row 88."""

    async def scenario() -> None:
        async with http_back("modern") as behind:
            bad = {"type": "object", "properties": {"x": {"type": "string", "x-mcp-header": "not a token"}}}
            behind.tools = [*behind.tools, {"name": "odd", "inputSchema": bad}]
            for servers in ({"a": {"url": behind.url}}, {"a": {"url": behind.url}, "b": {"url": behind.url}}):
                async with proxy(tmp_path, servers) as one:
                    names = await one.tools()
                    assert names == (["echo"] if len(servers) == 1 else ["a_echo", "b_echo"])
                    assert "'odd' was left out" in await one.end()

    run(scenario)


def test_a_tool_that_could_never_be_called_is_left_out_and_said_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with http_back("modern") as behind:
            schema = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
            behind.tools = [{"name": "t", "inputSchema": schema}, *behind.tools]
            own = {"tools": {"items": {"t": {"arguments": {"x": {"hidden": True}}}}}}
            async with proxy(tmp_path, {"a": {"url": behind.url, "isthmus": own}}) as one:
                for _ in range(3):
                    assert await one.tools() == ["echo"]
                said = await one.end()
                assert said.count("The tool 't' is left out") == 1 and "'x'" in said

    run(scenario)


def test_credentials_stay_off_plain_http(tmp_path: Path) -> None:
    """Row 84."""

    async def scenario() -> None:
        target = {"url": "http://198.51.100.1/mcp", "headers": {"Authorization": "Bearer hush"}}
        async with proxy(tmp_path, {"a": target}) as one:
            said = await one.end()
            assert one.process.returncode == 2 and "plain http" in said and "hush" not in said
        async with proxy(tmp_path, {"a": {**target, "isthmus": {"insecure": True}}}) as one:
            await one.end()
            assert one.process.returncode == 0

    run(scenario)


def test_check_tells_each_server_and_which_are_not_there(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "mcp.json"
    servers = {"a": back("modern", "a", log), "b": back("legacy", "b", log, {"prefix": "p"})}
    file.write_text(json.dumps({"mcpServers": servers}))
    done = isthmus("check", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    a, b = done.stdout.split("\nb  ")
    assert "modern   yes: 2026-07-28" in a and "legacy   no" in a and f"{len(OWN_TOOLS)} tools, 2 resources" in a
    assert "modern   no" in b and "legacy   yes: 2025-11-25" in b and "first answer" in b and "ping" in b
    servers["c"] = {"command": str(tmp_path / "no-such")}
    servers["d"] = {"url": "http://127.0.0.1:9/mcp?token=hush", "disabled": False}
    servers["e"] = {"command": str(tmp_path / "no-such"), "disabled": True}
    file.write_text(json.dumps({"mcpServers": servers}))
    done = isthmus("check", str(file))
    assert done.returncode == 1 and "hush" not in done.stdout + done.stderr
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == ["c is not there", "d is not there"]
    assert "no-such" in done.stderr and "Connection refused" in done.stderr and "\ne  " not in done.stdout


def test_list_and_call_take_a_file(tmp_path: Path) -> None:
    log, file = tmp_path / "log", tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {each: back("modern", each, log) for each in "ab"}}))
    done = isthmus("list", str(file))
    assert done.returncode == 0 and "a_echo" in done.stdout and "b_echo" in done.stdout
    done = isthmus("call", str(file), "b_echo", "text=hi")
    assert done.returncode == 0 and json.loads(done.stdout)["from"] == "b"
