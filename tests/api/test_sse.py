"""HTTP+SSE from Python, by the official SDK's client: run, mounted below a prefix, behind one that strips it."""

import asyncio
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.shared.exceptions import MCPDeprecationWarning

from isthmus import FastMCP
from isthmus.errors import ConfigError
from tests.cli.test_command import BACK, ISTHMUS
from tests.conformance.processes import free_port, listening

RUN = """
import sys
from isthmus import FastMCP

FastMCP.as_proxy(sys.argv[1]).run(transport="sse", port=int(sys.argv[2]))
"""
ELSEWHERE = RUN.replace('"sse"', '"sse", path="/down/here"')
MOUNTED = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from isthmus import FastMCP

proxy = FastMCP.as_proxy(sys.argv[1]).http_app(transport="sse")
app = Starlette(routes=[Mount("/one/two", app=proxy)], lifespan=proxy.lifespan)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", timeout_graceful_shutdown=1)
"""
STRIPPED = """
import sys
import uvicorn
from isthmus import FastMCP

proxy = FastMCP.as_proxy(sys.argv[1]).http_app(transport="sse")

async def app(scope, receive, send):
    if scope["type"] == "http":  # as a proxy in front does that tells nobody
        path = scope["path"].removeprefix("/outside")
        scope = scope | {"path": path, "raw_path": path.encode()}
    await proxy(scope, receive, send)

uvicorn.run(app, port=int(sys.argv[2]), log_level="warning", timeout_graceful_shutdown=1)
"""


async def list_tools(url: str) -> Sequence[str]:
    async with asyncio.timeout(20), Client(sse_client(url), mode="legacy") as client:
        return [tool.name for tool in (await client.list_tools()).tools]


@pytest.mark.parametrize(
    ("program", "path"),
    [(RUN, "/sse"), (ELSEWHERE, "/down/here"), (MOUNTED, "/one/two/sse"), (STRIPPED, "/outside/sse")],
    ids=["run", "elsewhere", "mounted", "stripped"],
)
def test_a_client_finds_where_messages_go(program: str, path: str, tmp_path: Path) -> None:
    back = tmp_path / "back.py"
    back.write_text(BACK.replace('"a"}', '"a", "inputSchema": {"type": "object"}}').replace(', {"name": "b"}', ""))
    with (
        listening(lambda port: [sys.executable, "-c", program, str(back), str(port)]) as url,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", MCPDeprecationWarning)
        assert asyncio.run(list_tools(url.removesuffix("/mcp") + path)) == ["a"]


def test_streamable_http_is_served_beside_it(tmp_path: Path) -> None:
    back = tmp_path / "back.py"
    back.write_text(BACK)
    with listening(lambda port: [sys.executable, "-c", RUN, str(back), str(port)]) as url:
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(url, timeout=10)
        checked = subprocess.run([ISTHMUS, "check", url], capture_output=True, text=True, timeout=30, check=True)
        assert "modern   yes" in checked.stdout


@pytest.mark.parametrize("path", ["/mcp", "/messages", "sse", "/a b"])
def test_paths_that_can_not_be(path: str) -> None:
    with pytest.raises(ConfigError, match=r"all must differ|must begin with a slash"):
        FastMCP.as_proxy("http://127.0.0.1:9/mcp").http_app(path, transport="sse")


def test_a_transport_that_an_application_has_not() -> None:
    with pytest.raises(ConfigError, match="There is no transport 'stdio' here"):
        FastMCP.as_proxy("http://127.0.0.1:9/mcp").http_app(transport="stdio")


def test_the_command_says_where(tmp_path: Path) -> None:
    back = tmp_path / "back.py"
    back.write_text(BACK)
    port = free_port()
    process = subprocess.Popen(
        [ISTHMUS, "run", "--http", str(port), "--sse", str(back)], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        said = f"http://127.0.0.1:{port}/mcp, over HTTP+SSE at http://127.0.0.1:{port}/sse\n"
        assert process.stderr.readline().endswith(said)
    finally:
        process.terminate()
        process.communicate(timeout=10)
    done = subprocess.run([ISTHMUS, "run", "--sse", str(back)], capture_output=True, text=True, timeout=10, check=False)
    assert (done.returncode, done.stderr.count("need --http")) == (2, 1)
