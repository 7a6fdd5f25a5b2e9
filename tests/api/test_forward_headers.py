"""`FastMCP.as_proxy(…, forward_incoming_headers=…)`: which headers of HTTP clients go on, and what is refused."""

import asyncio
import subprocess
import sys
from typing import Any

import pytest

from isthmus import FastMCP
from isthmus.errors import ConfigError
from tests.conformance.processes import ENDS_WITHIN, free_port, wait_for_port
from tests.engine.clients import run
from tests.engine.http_back import http_back
from tests.engine.test_forwarding import MINE, Front_, seen


def started(program: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", program])


@pytest.mark.parametrize(
    ("said", "tenant", "token"),
    [(False, None, None), (True, "red", None), (["x-tenant"], "red", None), (["Authorization"], None, "Bearer hush")],
)
def test_what_goes_on(said: Any, tenant: str | None, token: str | None) -> None:
    async def scenario() -> None:
        async with http_back("modern") as back:
            port = free_port()
            made = f"FastMCP.as_proxy({back.url!r}, forward_incoming_headers={said!r})"
            program = f"from isthmus import FastMCP\n{made}.run(transport='http', port={port})"
            process = started(program)
            client = Front_(port)
            try:
                await asyncio.to_thread(wait_for_port, port, process)
                assert "result" in await client.modern("tools/call", MINE, name="echo", arguments={})
            finally:
                client.close()
                process.terminate()
                await asyncio.to_thread(process.wait, ENDS_WITHIN)
            assert set(seen(back, "x-tenant")) == {tenant} and set(seen(back, "authorization")) == {token}

    run(scenario)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"forward_incoming_headers": ["Host"]}, "belongs to one connection"),
        ({"forward_incoming_headers": True, "isolation": "shared"}, "one client's headers"),
        ({"forward_incoming_headers": True, "backend": ["cat"]}, "for a URL"),
        ({"forward_incoming_headers": ["authorization"], "backend": "http://198.51.100.1/mcp"}, "plain http"),
        ({"headers": {"X-Api-Key": "hush"}, "backend": "http://198.51.100.1/mcp"}, "plain http"),
    ],
)
def test_what_is_refused(said: dict[str, Any], why: str) -> None:
    backend = said.pop("backend", "http://localhost:9/mcp")
    with pytest.raises(ConfigError, match=why) as error:
        FastMCP.as_proxy(backend, **said)
    assert "hush" not in str(error.value)


def test_plain_http_with_a_word() -> None:
    FastMCP.as_proxy("http://198.51.100.1/mcp", headers={"X-Api-Key": "hush"}, insecure=True)
    FastMCP.as_proxy("http://198.51.100.1/mcp", headers={"X-Colour": "red"})
