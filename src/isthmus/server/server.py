"""`FastMCP`: a proxy as a Python object. A few lines over the engine."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from isthmus.errors import ConfigError
from isthmus.limits import Limits
from isthmus.transports.target import ChannelTarget, Target, read_target

if TYPE_CHECKING:
    from isthmus.engine.settings import Settings
    from isthmus.mount import HttpApp
    from isthmus.pool.policy import Isolation
    from isthmus.run import HttpPlace
    from isthmus.transports.http_front.access import Access

Transport = Literal["stdio", "http", "streamable-http", "sse"]


class FastMCP:
    """A server that stands in front of another one. Made by `as_proxy`."""

    def __init__(
        self,
        name: str = "isthmus",
        *,
        target: Target,
        limits: Limits | None = None,
        auth: "Access | None" = None,
        isolation: "Isolation" = "request",
    ) -> None:
        if auth is not None and not hasattr(auth, "verifier"):
            raise ConfigError(
                "auth= wants an Access: Access(verifier, resource=URL, authorization_servers=[URL]). A verifier alone "
                "does not say which URL it guards, nor where tokens come from."
            )
        self.name = name
        self._auth = auth
        self._target = target
        self._chosen: dict[str, Any] = {"limits": limits or Limits(), "isolation": isolation}

    @classmethod
    def as_proxy(
        cls,
        backend: str | Path | Sequence[str] | ChannelTarget | object,
        *,
        name: str = "isthmus",
        headers: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        limits: Limits | None = None,
        auth: "Access | None" = None,
        isolation: "Isolation" = "request",
    ) -> "FastMCP":
        """A proxy for a server.

        Args:
            backend: a URL, a `.py` or `.js` file, a command with its arguments as a sequence, a server object of the
                MCP SDK in this process, or a `ChannelTarget` on a transport of your own.
            name: what the proxy calls itself.
            headers: sent with every request to a URL.
            env: variables for a command, beyond the few it inherits.
            cwd: the folder a command starts in.
            limits: times and sizes.
            auth: whom the HTTP front lets in; on stdio the client is whoever started the process.
            isolation: which session a request gets at a back of an older revision: `request`, one that nobody used
                before it; `session`, its client's; `shared`, one for all.

        Raises:
            ConfigError: the backend is none of these, or does not exist; `auth` is no `Access`.
        """
        target = _read_backend(backend, tuple((headers or {}).items()), env, cwd)
        return cls(name, target=target, limits=limits, auth=auth, isolation=isolation)

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

        if transport == "stdio":
            from isthmus.transports.stdio_front import take_stdout

            work = run.serve_stdio(self._target, take_stdout(), self._how())
        else:
            from isthmus.transports.http_front.serve import bind

            place = self._place(transport, path, host=host, port=port, hosts=allow_hosts, origins=allow_origins)
            work = run.serve_http(self._target, bind(host, port), place, self._how())
        code = run.run_loop(work)
        if code:
            raise SystemExit(code)

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
        return HttpApp(self._target, place, self._how())

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

        return serve_memory(self._target, self._how())


def _read_backend(
    backend: object, headers: tuple[tuple[str, str], ...], env: dict[str, str] | None, cwd: str | None
) -> Target:
    if isinstance(backend, str | Path | Sequence):
        target = str(backend) if isinstance(backend, Path) else backend
        return read_target(target, headers=headers, env=env, cwd=cwd)
    if headers or env or cwd:
        raise ConfigError("headers=, env= and cwd= are for a URL or a command; what runs in this process has none.")
    if isinstance(backend, ChannelTarget):
        return backend
    from isthmus.transports.memory import target_of

    return target_of(backend)
