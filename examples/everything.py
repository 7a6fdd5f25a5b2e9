"""Starts the everything server: on stdio, or with `--http PORT` on http://127.0.0.1:PORT/mcp."""

import argparse
import warnings

import anyio
import uvicorn
from everything_server.app import EverythingServer, RecentEvents, build
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning


async def serve_stdio(server: EverythingServer) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve_http(server: EverythingServer, port: int, retry_ms: int) -> None:
    app = server.streamable_http_app(event_store=RecentEvents(), retry_interval=retry_ms)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT", help="serve streamable HTTP instead of stdio")
    parser.add_argument("--page", type=int, default=100, help="items on a page of any list (default 100)")
    parser.add_argument("--retry", type=int, default=100, help="ms an HTTP client waits to reconnect (default 100)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    server = build(options.page)
    if options.http is None:
        anyio.run(serve_stdio, server)
    else:
        serve_http(server, options.http, options.retry)


if __name__ == "__main__":
    main()
