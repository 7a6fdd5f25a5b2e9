"""Proxies: `ProxyClient` reaches a server in the name of the clients in front, `FastMCPProxy` stands before it."""

import inspect
import warnings
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from isthmus.client.client import Client
from isthmus.errors import BackUnavailable, Fault
from isthmus.server.backends import Wishes, specs_of
from isthmus.server.server import FastMCP
from isthmus.server.standing import front_client, stand_of

if TYPE_CHECKING:
    from mcp import types

    from isthmus.client.elicitation import ElicitResult
    from isthmus.client.logging import LogMessage
    from isthmus.engine.member import Spec
    from isthmus.engine.stand import Stand
    from isthmus.pool.policy import Isolation

ClientFactoryT = Callable[[], Client[Any]] | Callable[[], Awaitable[Client[Any]]]
"""Gives the client that a request goes to; `get_http_headers()` within it gives the headers of that request."""


async def default_proxy_roots_handler(context: Any) -> "list[types.Root]":
    """Ask the client in front for its roots; the `context` is that of the question."""
    from mcp import types

    said = await front_client().forward("roots/list", {})
    return types.ListRootsResult.model_validate(said).roots


class ProxyClient(Client[Any]):
    """A client for proxies: what the server wants of a client goes on to the client in front.

    Args:
        transport: the server, as for `Client`.
        more: as for `Client`. A handler answers in the stead of the client in front; None switches the thing off: the
            server is not told that it could ask, no log level is said and no progress asked for.
    """

    isolation: "ClassVar[Isolation | None]" = None
    """Which session a request gets at a server of an older revision; None where the proxy says."""

    def __init__(self, transport: Any, **more: Any) -> None:
        defaults = self._defaults()
        given = {"roots": "roots"} | {
            kind: f"{kind}_handler" for kind in ("sampling", "elicitation", "log", "progress")
        }
        for kind, name in given.items():
            more.setdefault(name, defaults[kind])
        super().__init__(transport, **more)

    def stand(self) -> "Stand":
        """Who does what the server wants of a client."""
        return stand_of(self.handlers, self._defaults(), is_proxy=True)

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        return {
            "roots": default_proxy_roots_handler,
            "sampling": ProxyClient.default_sampling_handler,
            "elicitation": ProxyClient.default_elicitation_handler,
            "log": ProxyClient.default_log_handler,
            "progress": ProxyClient.default_progress_handler,
        }

    @classmethod
    async def default_sampling_handler(
        cls, messages: "list[types.SamplingMessage]", params: "types.CreateMessageRequestParams", context: Any
    ) -> "types.CreateMessageResult":
        """Have the client in front sample."""
        from mcp import types

        asked = _plain(params) | {"messages": [_plain(message) for message in messages]}
        return types.CreateMessageResult.model_validate(await front_client().forward("sampling/createMessage", asked))

    @classmethod
    async def default_elicitation_handler(
        cls, message: str, response_type: Any, params: Any, context: Any
    ) -> "ElicitResult[Any]":
        """Have the client in front ask its user."""
        from isthmus.client.elicitation import ElicitResult

        said = await front_client().forward("elicitation/create", _plain(params) | {"message": message})
        return ElicitResult(action=said["action"], content=said.get("content"))

    @classmethod
    async def default_log_handler(cls, message: "LogMessage") -> None:
        """Give a log message to the client in front."""
        front_client().notify("notifications/message", _plain(message))

    @classmethod
    async def default_progress_handler(cls, progress: float, total: float | None, message: str | None) -> None:
        """Give progress to the client in front."""
        said = {"progress": progress, "total": total, "message": message}
        front_client().notify(
            "notifications/progress", {name: value for name, value in said.items() if value is not None}
        )


class StatefulProxyClient(ProxyClient):
    """A `ProxyClient` that keeps one session with the server for each client session in front (`isolation`)."""

    isolation = "session"

    def new_stateful(self) -> "StatefulProxyClient":
        """The client for the front session at hand: this one, which keeps them apart by itself."""
        return self

    async def clear(self) -> None:
        """Forget the sessions; they end with those in front."""


class FastMCPProxy(FastMCP):
    """A server that stands in front of what a function chooses for each request.

    Args:
        client: deprecated; `client_factory=client.new` does the same.
        client_factory: gives the client that a request goes to, connected or not; called once for each. One that is
            connected is used as it is; one that is not is opened for the request and closed after it.
        settings: as for `FastMCP`.

    Raises:
        ValueError: both are given, or neither.
    """

    def __init__(
        self, client: Client[Any] | None = None, *, client_factory: ClientFactoryT | None = None, **settings: Any
    ) -> None:
        if (client is None) == (client_factory is None):
            raise ValueError("FastMCPProxy needs either client_factory= or, deprecated, client=, and not both.")
        super().__init__(**settings)
        if client is not None:
            warnings.warn(
                "client= is deprecated: give client_factory=client.new, or use FastMCP.as_proxy(client).",
                DeprecationWarning,
                stacklevel=2,
            )
            client_factory = client.new
        assert client_factory is not None
        self.client_factory: ClientFactoryT = client_factory
        self._wishes = Wishes(limits=self._chosen["limits"], name=self.name)
        self._proxied = (self._chosen_one(),)

    @classmethod
    def in_front_of(cls, specs: "tuple[Spec, ...]", **settings: Any) -> "FastMCPProxy":
        """A proxy that stands in front of the same servers for every request."""
        made = cls(client_factory=lambda: _client_of(specs), **settings)
        made._proxied = specs
        return made

    def _chosen_one(self) -> "Spec":
        from isthmus.engine.member import Nested, Spec
        from isthmus.server.backends import PROXIED

        return Spec(name=PROXIED, target=Nested(PROXIED, self._open_chosen))

    def _open_chosen(self, settings: Any) -> Any:
        from isthmus.many.chosen import Chosen

        return Chosen(self._choose, settings)

    async def _choose(self, headers: Mapping[str, str] | None) -> "Spec":
        """The server that the request at hand goes to.

        Raises:
            Fault: the factory failed, or gave no client of one server.
        """
        from isthmus.components.context import http_headers

        try:
            with http_headers(headers):
                client = self.client_factory()
                if inspect.isawaitable(client):
                    client = await client
            (spec,) = specs_of(client, self._wishes)
        except Fault:
            raise
        except Exception as failed:
            raise BackUnavailable(
                f"The client factory of {self.name} failed: {failed or type(failed).__name__}"
            ) from failed
        return spec


def create_proxy(backend: Any, **settings: Any) -> FastMCPProxy:
    """A proxy for a server, or for many; the arguments are those of `FastMCP.as_proxy`."""
    return FastMCP.as_proxy(backend, **settings)


def _client_of(specs: "tuple[Spec, ...]") -> Client[Any]:
    """A client of the servers that a proxy stands before."""
    from isthmus.client.transports import TargetTransport
    from isthmus.many.plan import Plan

    return ProxyClient(TargetTransport(Plan(name=specs[0].name, specs=specs)))


def _plain(model: Any) -> dict[str, Any]:
    said: dict[str, Any] = model.model_dump(by_alias=True, exclude_none=True, mode="json")
    return said
