"""Where a client finds its server: transport objects, and what is made of anything else that names a server."""

import datetime
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from isthmus.client.base import ClientTransport
from isthmus.client.stdio import (
    FastMCPStdioTransport,
    NodeStdioTransport,
    NpxStdioTransport,
    PythonStdioTransport,
    StdioTransport,
    UvStdioTransport,
    UvxStdioTransport,
)
from isthmus.client.transforms import translated
from isthmus.errors import ConfigError
from isthmus.transports.target import ChannelTarget, HttpTarget, Target, read_target

if TYPE_CHECKING:
    from isthmus.many.plan import Plan

__all__ = [
    "ClientTransport",
    "FastMCPStdioTransport",
    "FastMCPTransport",
    "MCPConfigTransport",
    "NodeStdioTransport",
    "NpxStdioTransport",
    "PythonStdioTransport",
    "SSETransport",
    "StdioTransport",
    "StreamableHttpTransport",
    "TargetTransport",
    "UvStdioTransport",
    "UvxStdioTransport",
    "WSTransport",
    "infer_transport",
    "infer_transport_type_from_url",
]

_SSE: Final = re.compile(r"/sse(/|\?|&|$)")
_SCRIPTS: Final = {
    ".py": PythonStdioTransport,
    ".js": NodeStdioTransport,
    ".mjs": NodeStdioTransport,
    ".cjs": NodeStdioTransport,
}


class _HttpTransport(ClientTransport):
    """What both HTTP transports have in common."""

    _kind: Literal["http", "sse"] = "http"

    def __init__(
        self,
        url: Any,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        sse_read_timeout: datetime.timedelta | float | int | None = None,
        httpx_client_factory: Any = None,
    ) -> None:
        text = str(url)
        if not text.lower().startswith(("http://", "https://", "http+unix://")):
            raise ValueError(f"{text!r} is no URL of a server. Write it as http://HOST:PORT/PATH.")
        self.url = text
        self.headers = dict(headers or {})
        self.auth: Any = None
        self._set_auth(auth)
        if isinstance(sse_read_timeout, int | float):
            sse_read_timeout = datetime.timedelta(seconds=sse_read_timeout)
        self.sse_read_timeout = sse_read_timeout
        self.httpx_client_factory = httpx_client_factory

    def _set_auth(self, auth: Any) -> None:
        if auth == "oauth":
            from isthmus.client.auth import OAuth

            auth = OAuth(self.url)
        self.auth = auth

    @property
    def source(self) -> Target:
        token = self.auth if isinstance(self.auth, str) else getattr(self.auth, "bearer_token", None)
        if self.httpx_client_factory is not None or (self.auth is not None and token is None):
            from isthmus.client.foreign import over_httpx

            return over_httpx(self.url, self._kind, self.headers, self.auth, self.httpx_client_factory)
        headers = [*self.headers.items()]
        if token is not None:
            headers = [(name, each) for name, each in headers if name.lower() != "authorization"]
            headers.append(("Authorization", f"Bearer {token}"))
        return HttpTarget(urlsplit(self.url).hostname or self.url, self.url, tuple(headers), self._kind)

    async def prepare(self) -> None:
        """Let an auth object that logs in do so: it takes the user's time, and not that of a first answer."""
        if hasattr(self.auth, "async_auth_flow") and hasattr(self.auth, "context"):
            from isthmus.client.foreign import log_in

            await log_in(self.url, self.headers, self.auth)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(url={self.url!r})>"


class StreamableHttpTransport(_HttpTransport):
    """A server that listens, over streamable HTTP.

    Args:
        url: its endpoint.
        headers: sent with every request.
        auth: a token, `"oauth"`, or an auth object of httpx2. With such an object the requests are made by the SDK.
        sse_read_timeout: kept, and without effect: a stream may be silent as long as its call may take.
        httpx_client_factory: makes the SDK's HTTP client, which then makes the requests.

    Raises:
        ValueError: the URL is none.
    """


class SSETransport(_HttpTransport):
    """A server that listens, over HTTP+SSE, as of 2024-11-05; its stream is at the URL.

    The arguments are those of `StreamableHttpTransport`.

    Raises:
        ValueError: the URL is none.
    """

    _kind = "sse"


class WSTransport(ClientTransport):
    """WebSockets are no transport of the protocol. FastMCP deprecated them; here is only the name, which refuses
    every `url`.

    Raises:
        ConfigError: always.
    """

    def __init__(self, url: Any) -> None:
        warnings.warn("WSTransport is deprecated: MCP has no WebSockets.", DeprecationWarning, stacklevel=2)
        raise ConfigError(f"{url}: MCP has no WebSockets. Use StreamableHttpTransport.")


class FastMCPTransport(ClientTransport):
    """A server object in this process.

    Args:
        mcp: a `FastMCP` of this library, an `MCPServer` or a lowlevel `Server` of the SDK.
        raise_exceptions: kept, and without effect: what a server fails with is answered, in memory as elsewhere.

    Raises:
        ConfigError: it is none of these.
    """

    def __init__(self, mcp: Any, raise_exceptions: bool = False) -> None:
        self.server = mcp
        self.raise_exceptions = raise_exceptions
        self._target: Any = mcp if callable(getattr(mcp, "memory", None)) else _memory_target(mcp)

    @property
    def source(self) -> Any:
        return self._target

    def __repr__(self) -> str:
        return f"<FastMCPTransport(server={getattr(self.server, 'name', None)!r})>"


class MCPConfigTransport(ClientTransport):
    """The servers of a configuration: one as it is, many behind their prefixes.

    Args:
        config: an `MCPConfig`, or the same as a dict; see `docs/reference/configuration.md`.
        name_as_prefix: kept; many servers without prefixes can't be told apart, and are refused.

    Raises:
        ConfigError: the configuration can't work.
    """

    def __init__(self, config: Any, name_as_prefix: bool = True) -> None:
        self.config = config
        self._name_as_prefix = name_as_prefix
        self._plan = self._read()

    @property
    def source(self) -> "Target | Plan":
        """What the configuration meant when the transport was made."""
        return self._plan

    def _read(self) -> "Plan":
        from isthmus.config.load import from_mapping
        from isthmus.many.plan import Plan

        said: Mapping[str, Any] = self.config if isinstance(self.config, Mapping) else self.config.to_dict()
        if "mcpServers" not in said and "servers" not in said:
            said = {"mcpServers": said}
        key = "mcpServers" if "mcpServers" in said else "servers"
        if not isinstance(said[key], Mapping):
            raise ConfigError(f"The configuration's {key!r} is no object of servers by their names.")
        servers = translated(said[key])
        foreign = {name: self._take_auth(server) for name, server in servers.items() if _has_foreign_auth(server)}
        config = from_mapping({**said, key: servers})
        if len(config.specs) > 1 and not self._name_as_prefix:
            raise ConfigError(
                "name_as_prefix=False is for a single server: of many, nobody could tell whose a name is. Leave it out."
            )
        specs = (replace(spec, target=foreign.get(spec.name, spec.target)) for spec in config.specs)
        return Plan(name=config.name, specs=tuple(specs))

    def _take_auth(self, server: dict[str, Any]) -> Target:
        """The target of a server with credentials that are no token; they are taken out of what is said of it."""
        auth = server.pop("auth")
        kind = server.get("transport") or infer_transport_type_from_url(server["url"])
        made = SSETransport if kind == "sse" else StreamableHttpTransport
        return made(server["url"], server.get("headers"), auth).source

    def __repr__(self) -> str:
        return f"<MCPConfigTransport({', '.join(spec.name for spec in self._plan.specs)})>"


class TargetTransport(ClientTransport):
    """A target of the engine: a command as a list, a Unix socket, a transport of the user's own, or many servers."""

    def __init__(self, target: "Target | Plan") -> None:
        self._target = target

    @property
    def source(self) -> "Target | Plan":
        return self._target

    def __repr__(self) -> str:
        return f"<TargetTransport({self._target.name!r})>"


def infer_transport(transport: Any) -> Any:
    """What anything that names a server means, as a transport.

    Args:
        transport: see `Client`.

    Raises:
        ConfigError: it names none.
        ValueError, FileNotFoundError: a URL or a script that is none.
    """
    if isinstance(transport, ClientTransport):
        return transport
    if isinstance(transport, Mapping) or hasattr(transport, "mcpServers"):
        return MCPConfigTransport(transport)
    if isinstance(transport, ChannelTarget | HttpTarget):
        return TargetTransport(transport)
    text = str(transport)
    if type(transport).__name__ in ("AnyUrl", "AnyHttpUrl", "HttpUrl") or _is_url(transport):
        return (SSETransport if infer_transport_type_from_url(text) == "sse" else StreamableHttpTransport)(text)
    if isinstance(transport, str | Path) and Path(transport).suffix in _SCRIPTS:
        return _SCRIPTS[Path(transport).suffix](transport)
    if isinstance(transport, str | Sequence):
        return TargetTransport(read_target(transport))
    return FastMCPTransport(transport)


def infer_transport_type_from_url(url: Any) -> Literal["http", "sse"]:
    """Which of the two HTTP transports a URL is for, by its path: `sse` where one of its parts is that.

    Raises:
        ValueError: it is no URL.
    """
    text = str(url)
    if not text.lower().startswith("http"):
        raise ValueError(f"{text!r} is no URL of a server. Write it as http://HOST:PORT/PATH.")
    return "sse" if _SSE.search(urlsplit(text).path) else "http"


def _is_url(said: object) -> bool:
    return isinstance(said, str) and said.lower().startswith(("http://", "https://", "http+unix://"))


def _has_foreign_auth(server: Any) -> bool:
    auth = server.get("auth") if isinstance(server, Mapping) and "url" in server else None
    return auth == "oauth" or not isinstance(auth, str | None)


def _memory_target(server: Any) -> ChannelTarget:
    from isthmus.transports.memory import target_of

    return target_of(server)
