"""`get_http_headers` in a local function, behind a real HTTP front, mounted or not, in both eras."""

import asyncio
import socket
from typing import Literal

import pytest

from isthmus import Client, FastMCP, get_http_headers
from isthmus.client.transports import StreamableHttpTransport


def _server(depth: int) -> tuple[FastMCP, str]:
    server, name = FastMCP("inner"), "who"

    @server.tool
    def who() -> str:
        return get_http_headers().get("x-user", "nobody")

    for level in range(depth):
        outer = FastMCP(f"outer{level}")
        outer.mount(server, f"m{level}")
        server, name = outer, f"m{level}_{name}"
    return server, name


@pytest.mark.parametrize("mode", ["modern", "legacy"])
@pytest.mark.parametrize("depth", [0, 2])
def test_a_local_function_sees_the_headers_of_its_own_client(mode: Literal["modern", "legacy"], depth: int) -> None:
    async def scenario() -> None:
        server, tool = _server(depth)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        serving = asyncio.ensure_future(server.run_async("http", port=port))
        try:
            async with asyncio.timeout(20):
                for user in ("ada", "bob"):
                    url = f"http://127.0.0.1:{port}/mcp"
                    transport = StreamableHttpTransport(url, headers={"X-User": user})
                    async with Client(transport, mode=mode) as client:
                        assert (await client.call_tool(tool)).data == user
                async with Client(server, mode=mode) as client:
                    assert (await client.call_tool(tool)).data == "nobody"
        finally:
            serving.cancel()
            await asyncio.wait([serving])

    asyncio.run(scenario())
