"""The everything server on HTTP+SSE: `everything_sse.py PORT` serves http://127.0.0.1:PORT/sse."""

import sys
from pathlib import Path

import uvicorn
from mcp.server.sse import SseServerTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
from everything_server.app import build

PAGE = 7
server = build(PAGE)
sse = SseServerTransport("/messages/")


async def serve(request: Request) -> Response:
    async with sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
        await server.run(read, write, server.create_initialization_options())
    return Response()


if __name__ == "__main__":
    app = Starlette(routes=[Route("/sse", serve), Mount("/messages/", app=sse.handle_post_message)])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=1)
