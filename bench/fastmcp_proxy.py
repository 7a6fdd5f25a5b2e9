"""FastMCP as a proxy, run by the interpreter of its own environment.

    fastmcp_proxy.py default|reuse|many modern|legacy http:PORT|stdio URL…|COMMAND…

`default` is `create_proxy(target)`: a fresh session for every call. `reuse` is what its documentation names for one
session that all calls share: a connected `Client` given to `create_proxy`. The era is that of the shared client; by
default FastMCP takes that of the call. `many` is its proxy of several servers: each URL is one, called s0, s1, ….
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport, StreamableHttpTransport
from fastmcp.server import create_proxy


async def serve(proxy: Any, front: str) -> None:
    if front == "stdio":
        await proxy.run_async(transport="stdio", show_banner=False, log_level="ERROR")
    else:
        port = int(front.partition(":")[2])
        settings = {"host": "127.0.0.1", "port": port, "show_banner": False, "log_level": "ERROR"}
        await proxy.run_async(transport="http", uvicorn_config={"access_log": False}, **settings)


async def main(mode: str, era: str, front: str, target: list[str]) -> None:
    back: Any
    if mode == "many":
        servers = {f"s{number}": {"url": url} for number, url in enumerate(target)}
        await serve(create_proxy({"mcpServers": servers}), front)
        return
    if target[0].startswith("http"):
        back = StreamableHttpTransport(target[0])
    else:
        back = StdioTransport(command=target[0], args=target[1:])
    if mode == "default":
        await serve(create_proxy(back), front)
        return
    async with Client(back, mode="2026-07-28" if era == "modern" else "legacy") as client:
        await serve(create_proxy(client), front)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]))
