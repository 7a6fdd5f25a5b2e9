"""Clients of 2026-07-28 without a token, at a server with sessions: who counts as the same user, and who does not."""

import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from isthmus import FastMCP
from isthmus.run import HttpPlace
from tests.cli.test_command import META
from tests.engine.clients import SCRIPT, run
from tests.fronts.tokens import access

PARAMS = {"name": "echo", "arguments": {}, "_meta": META}
CALL = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": PARAMS}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "echo",
}


@pytest.mark.parametrize(
    ("place", "is_local"),
    [
        (HttpPlace(), True),
        (HttpPlace("::1"), True),
        (HttpPlace("unix:/tmp/x"), True),
        (HttpPlace(allow_hosts=("mcp.example.com",)), False),
        (HttpPlace("unix:/tmp/x", allow_hosts=("mcp.example.com",)), False),
        (HttpPlace("0.0.0.0", allow_hosts=("mcp.example.com",)), False),
        (HttpPlace(access=access()), False),
    ],
)
def test_where_everybody_is_the_user_of_this_machine(place: HttpPlace, is_local: bool) -> None:
    assert place.is_local is is_local


@pytest.mark.parametrize(("host", "hosts"), [("127.0.0.1", []), ("mcp.example.com", ["mcp.example.com"])])
def test_a_mounted_proxy_keeps_strangers_apart(host: str, hosts: list[str], tmp_path: Path) -> None:
    """Their calls run in sessions of their own, where the application is known by a name that others use."""

    async def scenario() -> None:
        command = [sys.executable, SCRIPT, "legacy", str(tmp_path / "log")]
        app: Any = FastMCP.as_proxy(command, isolation="session").http_app(allow_hosts=hosts)
        async with app.lifespan(), httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as client:
            answers = [await client.post(f"http://{host}/mcp", json=CALL, headers=HEADERS) for _ in range(2)]
        one, two = (answer.json()["result"]["pid"] for answer in answers)
        assert (one == two) == (host == "127.0.0.1")

    run(scenario)
