"""A remote server: the everything server on HTTP behind a token, `remote.py dual|modern PORT`.

With `modern` it knows nothing of what was before 2026-07-28, and refuses it as such a server does.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import uvicorn
from mcp.shared.exceptions import MCPDeprecationWarning
from starlette.responses import JSONResponse

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from everything_server.app import build

TOKEN = "TOKEN"
UNSUPPORTED = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": ["2026-07-28"]}}


class Remote:
    """An application that lets in who brings the token, and speaks the eras that it is told to."""

    def __init__(self, eras: str) -> None:
        self._app = build(100).streamable_http_app()
        self._eras = eras

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = dict(scope["headers"])
            if headers.get(b"authorization") != f"Bearer {TOKEN}".encode():
                await JSONResponse({"error": "invalid_token"}, 401)(scope, receive, send)
                return
            if self._eras == "modern" and headers.get(b"mcp-protocol-version") != b"2026-07-28":
                await JSONResponse({"jsonrpc": "2.0", "id": None, "error": UNSUPPORTED}, 400)(scope, receive, send)
                return
        await self._app(scope, receive, send)


if __name__ == "__main__":
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    app = Remote(sys.argv[1])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", timeout_graceful_shutdown=1)
