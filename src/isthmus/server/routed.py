"""A server with routes and middleware of Starlette's around it, which costs what Starlette costs."""

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from isthmus.mount import HttpApp


def with_routes(
    app: "HttpApp", routes: Sequence[tuple[str, Any, dict[str, Any]]], middleware: Sequence[Any]
) -> "Starlette":
    """An application that serves the routes, and everything else as `app` does.

    Args:
        app: the server's own.
        routes: path, function, and Starlette's arguments of each.
        middleware: Starlette's.
    """
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    own = [Route(path, handler, **how) for path, handler, how in routes]
    made = Starlette(routes=[*own, Mount("/", app=app)], middleware=list(middleware), lifespan=app.lifespan)
    made.lifespan = app.lifespan  # type: ignore[attr-defined]
    return made


async def serve_routed(app: Any, bound: socket.socket) -> int:
    """Serve an application on a listening socket until a signal comes; 0."""
    import uvicorn

    config = uvicorn.Config(app, log_level="warning", ws="none")
    await uvicorn.Server(config).serve(sockets=[bound])
    return 0
