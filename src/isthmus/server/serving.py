"""Serving: on stdio, over HTTP, in memory, or as a part of another application."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from isthmus.errors import ConfigError

if TYPE_CHECKING:
    from isthmus.engine.settings import Settings
    from isthmus.many.plan import Plan
    from isthmus.mount import HttpApp
    from isthmus.run import HttpPlace
    from isthmus.server.routed import Routed
    from isthmus.transports.http_front.access import Access
    from isthmus.transports.target import Target

Transport = Literal["stdio", "http", "streamable-http", "sse"]


_Handler = TypeVar("_Handler", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where to serve over HTTP: the options of `run`.

    `host`: the address to listen on, or `unix:` and the path of a Unix socket. `port`: the port to listen on. `path`:
    the endpoint's; `/mcp` for `http`, `/sse` for `sse` if not given. `allow_hosts`: Host headers that are served beside
    loopback's. `allow_origins`: web origins whose pages may talk to the server. `middleware`: Starlette's, around all.
    `log_level`, `uvicorn_config`, `stateless_http` and `json_response` are taken as FastMCP does and mean nothing here.
    """

    host: str | None = None
    port: int | None = None
    path: str | None = None
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    middleware: Sequence[Any] | None = None
    log_level: str | None = None
    uvicorn_config: dict[str, Any] | None = None
    stateless_http: bool | None = None
    json_response: bool | None = None


class Served(ABC):
    """What can be served."""

    name: str
    """What it calls itself."""
    _auth: "Access | None" = None
    _chosen: dict[str, Any]
    _routes: list[tuple[str, Any, dict[str, Any]]]

    @abstractmethod
    def _source(self) -> "Target | Plan":
        """What is served."""

    def run(self, transport: Transport | None = None, show_banner: bool = True, **options: Any) -> None:
        """Serve until the client leaves (stdio) or a signal comes (http).

        Args:
            transport: `stdio` (the default), `http` (also called `streamable-http`), or `sse`: HTTP+SSE, beside `http`
                at `/mcp`.
            show_banner: taken as FastMCP does; there is no banner.
            options: of the HTTP transports, see `Place`.

        Raises:
            ConfigError: the transport or the path is none, the address can't be had or needs `allow_hosts`.
            SystemExit: with 1, over stdio, when the target never answered.
        """
        from isthmus import run
        from isthmus.limits import POLL_MOST

        code = run.run_loop(self._serve(transport, options), POLL_MOST)
        if code:
            raise SystemExit(code)

    async def run_async(self, transport: Transport | None = None, show_banner: bool = True, **options: Any) -> None:
        """Serve on the running loop; as `run` else."""
        code = await self._serve(transport, options)
        if code:
            raise SystemExit(code)

    async def run_stdio_async(self, show_banner: bool = True) -> None:
        """Serve on stdio, on the running loop; `show_banner` as of `run`."""
        await self.run_async("stdio")

    async def run_http_async(self, show_banner: bool = True, transport: Transport = "http", **options: Any) -> None:
        """Serve over HTTP, on the running loop; the options are those of `run`."""
        await self.run_async(transport, **options)

    def _serve(self, transport: Transport | None, options: dict[str, Any]) -> Coroutine[Any, Any, int]:
        """What serves; the address is taken at once."""
        from isthmus import run

        if transport is None or transport == "stdio":
            if any(value is not None for value in options.values()):
                raise ConfigError(
                    f"{', '.join(options)}: these are for HTTP, and on stdio nobody could be reached there."
                )
            from isthmus.transports.stdio_front import take_stdout

            return run.serve_stdio(self._source(), take_stdout(), self._how())
        from isthmus.transports.http_front.serve import bind

        said = Place(**options)
        place = self._place(transport, said)
        bound = bind(place.host, place.port)
        if not self._routes and not said.middleware:
            return run.serve_http(self._source(), bound, place, self._how())
        from isthmus.server.routed import serve_routed

        return serve_routed(self._application(place, said.middleware), bound)

    def http_app(
        self,
        path: str | None = None,
        middleware: Sequence[Any] | None = None,
        json_response: bool | None = None,
        stateless_http: bool | None = None,
        transport: Transport = "http",
        *,
        allow_hosts: Sequence[str] = (),
        allow_origins: Sequence[str] = (),
    ) -> "HttpApp | Routed":
        """An ASGI application that serves the proxy, for mounting; its `lifespan` is for the application it is put in.

        Args:
            path: the endpoint's path, below where the application is mounted, as for `run`.
            middleware: Starlette's `Middleware` around it.
            json_response: taken as FastMCP does; the form of an answer is the server's and the client's choice.
            stateless_http: taken as FastMCP does; `isolation` says how sessions are kept apart.
            transport: `http` (also called `streamable-http`), or `sse`, as for `run`.
            allow_hosts: Host headers that are served beside loopback's.
            allow_origins: web origins whose pages may talk to the proxy.
        """
        place = self._place(transport, Place(path=path, allow_hosts=allow_hosts, allow_origins=allow_origins))
        return self._application(place, middleware)

    def _application(self, place: "HttpPlace", middleware: Sequence[Any] | None) -> "HttpApp | Routed":
        from isthmus.mount import HttpApp

        app = HttpApp(self._source(), place, self._how())
        if not self._routes and not middleware:
            return app
        from isthmus.server.routed import Routed

        return Routed(app, self._routes, middleware or ())

    def custom_route(
        self, path: str, methods: list[str], name: str | None = None, include_in_schema: bool = True
    ) -> Callable[[_Handler], _Handler]:
        """Serve something else over HTTP too: `@server.custom_route("/health", methods=["GET"])`.

        The function takes Starlette's `Request` and gives a `Response`. Nobody is asked for a token there.

        Args:
            path: of the route, with `{parameters}` as Starlette has them.
            methods: that it takes.
            name: of the route, for Starlette's reverse look-up.
            include_in_schema: whether it is in Starlette's schema.
        """

        def keep(handler: _Handler) -> _Handler:
            self._routes.append(
                (path, handler, {"methods": methods, "name": name, "include_in_schema": include_in_schema})
            )
            return handler

        return keep

    def _place(self, transport: Transport, said: Place) -> "HttpPlace":
        from isthmus.run import HttpPlace

        if transport == "sse":
            paths: dict[str, str] = {"sse": said.path or "/sse"}
        elif transport in ("http", "streamable-http"):
            paths = {"path": said.path} if said.path is not None else {}
        else:
            raise ConfigError(f"There is no transport {transport!r} here; there are 'stdio', 'http' and 'sse'.")
        place = HttpPlace(
            said.host or "127.0.0.1",
            8000 if said.port is None else said.port,
            allow_hosts=tuple(said.allow_hosts),
            allow_origins=tuple(said.allow_origins),
            access=self._auth,
            **paths,
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
