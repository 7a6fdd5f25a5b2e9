"""The everything server less one era: `one_era.py legacy|modern [PORT]`, on stdio, or on HTTP at /mcp.

The server of the SDK speaks both. What belongs to the era that is left out is answered as a server does that doesn't
know it: a server before 2026-07-28 has no `server/discover`, one from then on no `initialize`.
"""

import json
import subprocess
import sys
import threading
from typing import Any

from tests.conformance.processes import EVERYTHING, ROOT

VERSION_KEY = "io.modelcontextprotocol/protocolVersion"


def refusal(era: str, message: dict[str, Any]) -> dict[str, Any] | None:
    """The error for a message of the other era."""
    params = message.get("params") or {}
    is_modern = message.get("method") == "server/discover" or VERSION_KEY in (params.get("_meta") or {})
    if era == "legacy" and is_modern:
        return {"code": -32601, "message": "Method not found"}
    if era == "modern" and message.get("method") == "initialize":
        data = {"supported": ["2026-07-28"], "requested": params.get("protocolVersion")}
        return {"code": -32022, "message": "Unsupported protocol version", "data": data}
    return None


def serve_stdio(era: str) -> None:
    server = subprocess.Popen(EVERYTHING, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert server.stdin is not None and server.stdout is not None
    writing = threading.Lock()

    def write(line: bytes) -> None:
        with writing:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def copy() -> None:
        assert server.stdout is not None
        for line in server.stdout:
            write(line)

    copying = threading.Thread(target=copy)
    copying.start()
    for line in sys.stdin.buffer:
        message = json.loads(line)
        error = refusal(era, message)
        if error is None:
            server.stdin.write(line)
            server.stdin.flush()
        elif "id" in message:
            write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode() + b"\n")
    server.stdin.close()
    server.wait()
    copying.join()


def serve_http(era: str, port: int) -> None:
    import uvicorn
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    sys.path.insert(0, str(ROOT / "examples"))
    from everything_server.app import RecentEvents, build

    server: ASGIApp = build().streamable_http_app(event_store=RecentEvents(), retry_interval=100)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await server(scope, receive, send)
            return
        body, more = b"", True
        while more:
            piece = await receive()
            body, more = body + piece.get("body", b""), piece.get("more_body", False)
        message = json.loads(body)
        error = refusal(era, message)
        if error is not None:
            text = json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": error}).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(text)).encode())]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": text})
            return
        pieces: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return pieces.pop() if pieces else await receive()

        await server(scope, again, send)

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1)


def main() -> None:
    if len(sys.argv) > 2:
        serve_http(sys.argv[1], int(sys.argv[2]))
    else:
        serve_stdio(sys.argv[1])


if __name__ == "__main__":
    main()
