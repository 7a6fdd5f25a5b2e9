"""Serving: on stdio, over HTTP, in memory, or as a part of another application."""

from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Literal

from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.engine.settings import Plan, Settings
    from isthmus.mount import HttpApp
    from isthmus.run import HttpPlace
    from isthmus.transports.http_front.access import Access
    from isthmus.transports.target import Target

Transport = Literal["stdio", "http", "streamable-http", "sse"]


class Served(ABC):
    """What can be served."""

    name: str
    _auth: "Access | None" = None
    _chosen: dict[str, Any]

    @abstractmethod
    def _source(self) -> "Target | Plan":
        """What is served."""

    def run(
        self,
        transport: Transport = "stdio",
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        path: str | None = None,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
    ) -> None:
        """Serve until the client leaves (stdio) or a signal comes (http).

        Args:
            transport: `stdio`, `http` (also called `streamable-http`), or `sse`: HTTP+SSE, beside `http` at `/mcp`.
            host: the address to listen on, or `unix:` and the path of a Unix socket.
            port: the port to listen on.
            path: the endpoint's path; `/mcp` for `http`, `/sse` for `sse` if not given.
            allow_hosts: Host headers that are served beside loopback's.
            allow_origins: web origins whose pages may talk to the proxy.

        Raises:
            ConfigError: the transport or the path is none, the address can't be had or needs `allow_hosts`.
            SystemExit: with 1, over stdio, when the target never answered.
        """
        from isthmus import run

        options = {"host": host, "port": port, "path": path, "allow_hosts": allow_hosts, "allow_origins": allow_origins}
        code = run.run_loop(self._serve(transport, **options))
        if code:
            raise SystemExit(code)

    async def run_async(
        self,
        transport: Transport = "stdio",
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        path: str | None = None,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
    ) -> None:
        """Serve on the running loop; as `run` else."""
        options = {"host": host, "port": port, "path": path, "allow_hosts": allow_hosts, "allow_origins": allow_origins}
        code = await self._serve(transport, **options)
        if code:
            raise SystemExit(code)

    def _serve(self, transport: Transport, **options: Any) -> Coroutine[Any, Any, int]:
        """What serves; the address is taken at once."""
        from isthmus import run

        if transport == "stdio":
            from isthmus.transports.stdio_front import take_stdout

            return run.serve_stdio(self._source(), take_stdout(), self._how())
        from isthmus.transports.http_front.serve import bind

        hosts, origins = options.pop("allow_hosts"), options.pop("allow_origins")
        place = self._place(transport, options.pop("path"), hosts=hosts, origins=origins, **options)
        return run.serve_http(self._source(), bind(options["host"], options["port"]), place, self._how())

    def http_app(
        self,
        path: str | None = None,
        *,
        transport: Transport = "http",
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
    ) -> "HttpApp":
        """An ASGI application that serves the proxy, for mounting.

        Args:
            path: the endpoint's path, below where the application is mounted, as for `run`.
            transport: `http` (also called `streamable-http`), or `sse`, as for `run`.
            allow_hosts: Host headers that are served beside loopback's.
            allow_origins: web origins whose pages may talk to the proxy.
        """
        from isthmus.mount import HttpApp

        place = self._place(transport, path, hosts=allow_hosts, origins=allow_origins)
        return HttpApp(self._source(), place, self._how())

    def _place(
        self,
        transport: Transport,
        path: str | None,
        *,
        host: str = "127.0.0.1",
        port: int = 8000,
        hosts: Sequence[str],
        origins: Sequence[str],
    ) -> "HttpPlace":
        from isthmus.run import HttpPlace

        if transport == "sse":
            paths: dict[str, str] = {"sse": path or "/sse"}
        elif transport in ("http", "streamable-http"):
            paths = {"path": path} if path is not None else {}
        else:
            raise ConfigError(f"There is no transport {transport!r} here; there are 'stdio', 'http' and 'sse'.")
        place = HttpPlace(
            host, port, allow_hosts=tuple(hosts), allow_origins=tuple(origins), access=self._auth, **paths
        )
        place.check()
        return place

    def _how(self) -> "Settings":
        from isthmus.engine.settings import Settings

        return Settings(name=self.name, **self._chosen)

    def memory(self) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        """The proxy for one client in this process: a transport for the MCP SDK's `Client`.

        Entered, it gives the streams that a `ClientSession` reads and writes; left, it ends the client's session and
        what was started for it. Each call gives another, which may be entered once.

        Raises:
            ConfigError: on entering, the SDK is not installed.
        """
        from isthmus.run import serve_memory

        return serve_memory(self._source(), self._how())
