"""A server with routes and middleware of Starlette's around it, which costs what Starlette costs."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isthmus.mount import HttpApp
    from isthmus.transports.http_front.asgi import Receive, Scope, Send


class Routed:
    """An application that serves routes, and everything else as a server's own application does.

    Args:
        app: the server's own.
        routes: path, function, and Starlette's arguments of each.
        middleware: Starlette's, around all.
    """

    def __init__(
        self, app: "HttpApp", routes: Sequence[tuple[str, Any, dict[str, Any]]], middleware: Sequence[Any]
    ) -> None:
        from starlette.applications import Starlette
        from starlette.routing import Mount, Route

        own = [Route(path, handler, **how) for path, handler, how in routes]
        self.lifespan = app.lifespan
        self._app = Starlette(routes=[*own, Mount("/", app=app)], middleware=list(middleware), lifespan=app.lifespan)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """The application."""
        await self._app(scope, receive, send)


async def serve_routed(app: Any, bound: socket.socket) -> int:
    """Serve an application on a listening socket until a signal comes; 0."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", ws="none")
    await uvicorn.Server(config).serve(sockets=[bound])
    return 0
