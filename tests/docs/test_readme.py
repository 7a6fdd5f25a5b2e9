"""The six uses of README.md: each block is run as it stands there, between a real client and a real server.

What a reader replaces by his own is replaced in `real`, and nowhere else.
"""

import asyncio
import json
import os
import shlex
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import ElicitRequestParams, ElicitResult, ErrorData

from isthmus.transports.http_front.serve import bind
from tests.conformance.client import text_of
from tests.conformance.processes import ENDS_WITHIN, ROOT, free_port, listening, wait_for_port
from tests.docs.pages import blocks_in, use
from tests.fronts.shells import run
from tests.interop.peers import NODE, NPM_EVERYTHING

BIN: Final = str(Path(sys.executable).parent)
PATH: Final = f"{BIN}{os.pathsep}{os.environ['PATH']}"
REMOTE: Final = str(ROOT / "tests" / "docs" / "remote.py")
SERVER: Final = str(ROOT / "examples" / "everything.py")
Mode = Literal["auto", "legacy", "2026-07-28"]
BOTH: Final[list[Mode]] = ["legacy", "2026-07-28"]
HEADERS: Final = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
}


def real(text: str, *, port: int = 0, weather: str = "", sse: str = "", server: str = "") -> str:
    """A block with this machine's ports, URLs and programs in it, each of which it must name."""
    table = {
        ":8080": f":{port}",
        "--http 8080": f"--http {port}",
        "port=8080": f"port={port}",
        "https://weather.example.com/mcp": weather,
        "http://127.0.0.1:9000/sse": sse,
        "npx -y @modelcontextprotocol/server-everything": f"{NODE} {NPM_EVERYTHING} stdio",
        '"server.py"': repr(server),
    }
    for written, meant in table.items():
        text = text.replace(written, meant)
    return text


@contextmanager
def remote(eras: str) -> Iterator[str]:
    """A server elsewhere, behind a token, that speaks both eras or the modern one alone."""
    with listening(lambda port: [sys.executable, REMOTE, eras, str(port)]) as url:
        yield url


@contextmanager
def running(argv: list[str], port: int, **environment: str) -> Iterator[str]:
    """What a block starts, found on the PATH as a user's is, once it listens; its URL."""
    process = subprocess.Popen(argv, env=os.environ | {"PATH": PATH} | environment, cwd=ROOT)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/mcp"
        assert process.poll() is None, f"{argv} ended before its time"
    finally:
        process.terminate()
        process.wait(ENDS_WITHIN)


class Person:
    """Who is asked, and what."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def answer(self, context: Any, params: ElicitRequestParams) -> ElicitResult | ErrorData:
        self.asked.append(params.message)
        fields = getattr(params, "requested_schema", {}).get("properties", {})
        return ElicitResult(action="accept", content={name: "Ann" for name in ("name", "answer") if name in fields})


async def converse(server: Any, mode: Mode, person: Person, tool: str, arguments: dict[str, Any]) -> str:
    """Lists the tools of a server in an era, and calls one; its text."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        async with Client(server, mode=mode, elicitation_callback=person.answer) as client:
            assert (client.protocol_version == "2026-07-28") == (mode == "2026-07-28")
            assert tool in [each.name for each in (await client.list_tools()).tools]
            return text_of(await client.call_tool(tool, arguments))


def call(server: Any, mode: Mode, tool: str, **arguments: Any) -> tuple[str, Person]:
    """The text of a tool, and who was asked meanwhile."""
    person, said = Person(), list[str]()

    async def scenario() -> None:
        said.append(await converse(server, mode, person, tool, arguments))

    run(scenario)
    return said[0], person


@pytest.mark.parametrize("eras", ["dual", "modern"])
@pytest.mark.parametrize("mode", BOTH)
def test_1_a_remote_server_in_claude_desktop(mode: Mode, eras: str) -> None:
    """Started as Claude Desktop does; a client that opens a session meets a server that knows none, too."""
    with remote(eras) as url:
        settings = json.loads(real(use("1."), weather=url))["mcpServers"]["weather"]
        server = StdioServerParameters(**settings, env={"PATH": PATH})
        assert call(server, mode, "echo", text="hello")[0] == "hello"
        text, person = call(server, mode, "ask", question="Who?")
        assert (text, person.asked) == ("accept: Ann", ["Who?"])


@pytest.mark.parametrize("mode", BOTH)
def test_2_a_local_command_as_an_http_endpoint(mode: Mode) -> None:
    port = free_port()
    with running(shlex.split(real(use("2."), port=port)), port) as url:
        assert call(url, mode, "echo", message="hello")[0] == "Echo: hello"


def test_3_an_old_sse_server_for_a_new_client() -> None:
    old, port = free_port(), free_port()
    command = shlex.split(real(use("3."), port=port, sse=f"http://127.0.0.1:{old}/sse"))
    with running([NODE, str(NPM_EVERYTHING), "sse"], old, PORT=str(old)), running(command, port) as url:
        assert call(url, "2026-07-28", "echo", message="hello")[0] == "Echo: hello"
        asked = ask(url, "trigger-elicitation-request")["result"]
        assert asked["resultType"] == "input_required" and asked["requestState"]
        (question,) = asked["inputRequests"].values()
        assert question["params"]["message"] == "Please provide inputs for the following fields:"
        text, person = call(url, "2026-07-28", "trigger-elicitation-request")
        assert len(person.asked) == 1 and "- Name: Ann" in text


def ask(url: str, tool: str) -> Any:
    """What a call of 2026-07-28 is answered, by a client that can be asked; the answer to it as it is on the wire."""
    meta = "io.modelcontextprotocol/"
    capabilities = {meta + "protocolVersion": "2026-07-28", meta + "clientCapabilities": {"elicitation": {}}}
    params = {"name": tool, "arguments": {}, "_meta": capabilities}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    request = urllib.request.Request(url, body, HEADERS | {"Mcp-Name": tool})
    with urllib.request.urlopen(request, timeout=20) as answer:
        text = answer.read().decode()
    return json.loads([line for line in text.splitlines() if line.strip()][-1].removeprefix("data:"))


@pytest.mark.parametrize("mode", BOTH)
def test_4_from_python(mode: Mode) -> None:
    port = free_port()
    with listening(lambda port: [sys.executable, SERVER, "--http", str(port)]) as weather:
        program = real(use("4."), port=port, weather=weather)
        with running([sys.executable, "-c", program], port) as url:
            text, person = call(url, mode, "ask", question="Who?")
            assert (text, person.asked) == ("accept: Ann", ["Who?"])


@pytest.mark.parametrize("mode", BOTH)
def test_6_many_servers_behind_one_endpoint(mode: Mode, tmp_path: Path) -> None:
    port = free_port()
    with remote("dual") as url:
        weather = {"url": url, "headers": {"Authorization": "Bearer TOKEN"}}
        servers = {"everything": {"command": sys.executable, "args": [SERVER]}, "weather": weather}
        file = tmp_path / "mcp.json"
        file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        command = real(use("6."), port=port).replace("mcp.json", str(file))
        with running(shlex.split(command), port) as url:
            assert call(url, mode, "weather_echo", text="hello")[0] == "hello"
            text, person = call(url, mode, "everything_ask", question="Who?")
            assert (text, person.asked) == ("accept: Ann", ["Who?"])


@pytest.mark.parametrize("mode", BOTH)
def test_5_mounted_in_a_fastapi_application(mode: Mode, tmp_path: Path) -> None:
    """Served by uvicorn in this process, so that it is the lifespan that ends the server's processes."""
    server = tmp_path / "server.py"
    server.symlink_to(SERVER)
    names: dict[str, Any] = {}
    exec(real(use("5."), server=str(server)), names)

    async def scenario() -> None:
        bound = bind("127.0.0.1", 0)
        uvicorned = uvicorn.Server(uvicorn.Config(names["app"], lifespan="on", log_config=None))
        serving = asyncio.ensure_future(uvicorned.serve([bound]))
        try:
            person = Person()
            url = f"http://127.0.0.1:{bound.getsockname()[1]}/tools/mcp"
            text = await converse(url, mode, person, "ask", {"question": "Who?"})
            assert (text, person.asked) == ("accept: Ann", ["Who?"])
            assert _processes(str(server))
        finally:
            uvicorned.should_exit = True
            async with asyncio.timeout(10):
                await serving

    run(scenario)
    assert not _processes(str(server))


def test_the_library(tmp_path: Path) -> None:
    (tmp_path / "server.py").symlink_to(SERVER)
    program = blocks_in((ROOT / "README.md").read_text(encoding="utf-8").split("## From Python\n", 1)[1])
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "1.5\n"


def _processes(argument: str) -> list[str]:
    done = subprocess.run(["pgrep", "-f", argument], capture_output=True, text=True, check=False)
    return done.stdout.split()
