"""Runs the HTTP front: binds the port, and lets uvicorn serve our protocol class until it is told to stop."""

import asyncio
import errno
import logging
import math
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from isthmus.errors import ConfigError
from isthmus.limits import Limits
from isthmus.transports.http_front.front import Front
from isthmus.transports.http_front.handler import Handler
from isthmus.transports.http_front.protocol import FrontProtocol

if TYPE_CHECKING:
    import uvicorn


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on `host:port`, or on a Unix socket where `host` is `unix:` and its path.

    Raises:
        ConfigError: the address can't be had.
    """
    if host.startswith("unix:"):
        return bind_unix(host.removeprefix("unix:"))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(2048)
    except OSError as error:
        bound.close()
        why = error.strerror or str(error)
        hint = (
            "Stop what uses it, or choose another port" if error.errno == errno.EADDRINUSE else "Choose another address"
        )
        raise ConfigError(f"Can't listen on {host}:{port}: {why}. {hint}.") from error
    bound.setblocking(False)
    return bound


def bind_unix(path: str) -> socket.socket:
    """A Unix socket that listens at `path`, for the user alone; what is left of one that nobody serves is removed.

    Raises:
        ConfigError: somebody listens there, something else has this name, it can't be made, or the system has none.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("Python has no Unix sockets on this system. Listen on a port of 127.0.0.1 instead.")
    if not path:
        raise ConfigError("A Unix socket needs a path. Write it as unix:PATH.")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        _remove_stale(path)
        bound.bind(path)
        bound.listen(2048)
    except OSError as error:
        bound.close()
        why = error.strerror or str(error)
        raise ConfigError(f"Can't listen on the Unix socket {path!r}: {why}. Choose another path.") from error
    except ConfigError:
        bound.close()
        raise
    finally:
        os.umask(mask)
    bound.setblocking(False)
    return bound


def _remove_stale(path: str) -> None:
    """Remove a socket's file that its server left behind.

    Raises:
        ConfigError: the server is there, or the file is none of a socket.
        OSError: it can't be removed.
    """
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError(
            f"Can't listen on the Unix socket {path!r}: it is a file of another kind. Choose another path."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its queue of connections is full
            pass
    raise ConfigError(f"Somebody listens on the Unix socket {path!r} already. Stop that, or choose another path.")


@contextmanager
def _listening(bound: socket.socket) -> Iterator[None]:
    """Close a socket at the end, and remove its file, unless that is another's by now."""
    path = bound.getsockname() if bound.family not in (socket.AF_INET, socket.AF_INET6) else None
    number = os.stat(path).st_ino if path else 0
    try:
        with closing(bound):
            yield
    finally:
        if path:
            with suppress(OSError):
                if os.stat(path).st_ino == number:
                    os.unlink(path)


class Stopping:
    """When an endpoint is to stop: calls in flight are waited for when `stop` is called first, not when it is again."""

    def __init__(self) -> None:
        self.soon = asyncio.Event()
        self.now = asyncio.Event()

    def stop(self) -> None:
        """Stop, or stop waiting."""
        (self.now if self.soon.is_set() else self.soon).set()


async def serve(
    bound: socket.socket,
    handler: Handler,
    bounds: Limits,
    start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    end_session: Callable[[Any], Awaitable[None]],
    stopping: Stopping,
) -> None:
    """Serve until told to stop; calls in flight have `Limits.drain` seconds to end, and are refused then.

    Args:
        bound: a listening socket; closed at the end.
        handler: answers the requests.
        bounds: sizes and times of requests.
        start: starts the task of a request.
        end_session: ends a session that has been idle too long.
        stopping: tells when to stop.
    """
    front = Front(handler.handle, bounds, handler.express)
    server = _server(front, handler, bounds, stopping)

    async def ticking() -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            front.tick(loop.time())
            for session in handler.tick(loop.time()):
                start(_ended(session))

    async def _ended(session: Any) -> None:
        await end_session(session)

    async def forcing() -> None:
        await stopping.now.wait()
        server.force_exit = True

    helpers = [start(ticking()), start(forcing())]
    try:
        with _listening(bound):
            await server.serve(sockets=[bound])
    finally:
        for helper in helpers:
            helper.cancel()
        await front.close()
        for connection in list(front.connections):
            connection.cut()


def _server(front: Front, handler: Handler, bounds: Limits, stopping: Stopping) -> "uvicorn.Server":
    import uvicorn

    class Bound(FrontProtocol):
        def __init__(self, server_state: Any, **_: Any) -> None:
            super().__init__(front, server_state.connections)

    class Server(uvicorn.Server):
        """uvicorn's, without its signal handlers: they kill the process again before anything else is closed."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def main_loop(self) -> None:
            await stopping.soon.wait()
            front.is_stopping = True
            handler.drain()

    config = uvicorn.Config(
        _nothing,
        http=Bound,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level=logging.CRITICAL,
        timeout_graceful_shutdown=math.ceil(bounds.drain),
    )
    return Server(config)


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    """uvicorn wants an application; our protocol class never calls it."""
