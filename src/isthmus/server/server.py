"""`FastMCP`: a server of local components, mounted servers and proxied ones. It assembles; the engine does the work."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from isthmus.errors import ConfigError
from isthmus.limits import Limits
from isthmus.protocol.names import HEADERS_KEY
from isthmus.server.holding import Holding
from isthmus.server.serving import Served

if TYPE_CHECKING:
    from pathlib import Path

    from isthmus.components.component import Component
    from isthmus.components.local import LocalServer
    from isthmus.components.prompts import Prompt
    from isthmus.components.resources import Resource
    from isthmus.components.templates import ResourceTemplate
    from isthmus.components.tools import Tool
    from isthmus.engine.inner import Inner
    from isthmus.engine.member import Nested, Spec
    from isthmus.engine.settings import Settings
    from isthmus.many.gateway import Many
    from isthmus.many.plan import Plan
    from isthmus.pool.policy import Isolation
    from isthmus.server.middleware import Middleware
    from isthmus.server.proxy import FastMCPProxy
    from isthmus.transports.http_front.access import Access
    from isthmus.transports.target import ChannelTarget, Target

_log: Final = logging.getLogger("isthmus.server")
_T = TypeVar("_T")
_LOCAL: Final = "local components"
_REGISTRIES: Final = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "resourceTemplates": "templates",
}
"""Where local components of each kind are kept."""
_HEEDED: Final = frozenset({"include_tags", "exclude_tags", "mask_error_details"})
_DUPLICATES: Final = {
    "on_duplicate_tools": ("tools",),
    "on_duplicate_resources": ("resources", "resourceTemplates"),
    "on_duplicate_prompts": ("prompts",),
}
_TAKEN_ELSEWHERE: Final = frozenset(
    {"dependencies", "debug", "log_level", "host", "port", "sse_path", "message_path", "streamable_http_path"}
    | {"json_response", "stateless_http", "resource_prefix_format", "include_fastmcp_meta", "tool_serializer"}
    | {"tool_transformations", "cache_expiration_seconds"}
)
"""Settings of FastMCP's that have no meaning here, or are given to `run`; taken so that its programs start."""


class FastMCP(Holding, Served):
    """A server.

    Args:
        name: what it calls itself.
        instructions: what it says of its use; of a proxy, instead of what the server behind it says.
        version: of the server.
        auth: whom the HTTP front lets in; on stdio the client is whoever started the process.
        lifespan: a context that is entered while local components are served, as the SDK's servers have it.
        tools: local tools, or functions that are made into some.
        middleware: functions around every request (`add_middleware`).
        include_tags: local components without one of these tags are not shown.
        exclude_tags: local components with one of these tags are not shown.
        mask_error_details: whether clients hear no more of a component's exception than that there was one.
        on_duplicate_tools: `warn`, `error`, `replace` or `ignore`, when a local tool of this name is there already.
        on_duplicate_resources: the same for resources and templates.
        on_duplicate_prompts: the same for prompts.
        limits: times and sizes.
        isolation: which session a request gets at a proxied server of an older revision (`as_proxy`).
        more: settings of FastMCP's that have no meaning here.

    Raises:
        TypeError: there is no such setting.
        ConfigError: `auth` is no `Access`.
    """

    def __init__(
        self,
        name: str | None = None,
        instructions: str | None = None,
        *,
        version: str | None = None,
        auth: "Access | None" = None,
        lifespan: Callable[..., Any] | None = None,
        tools: "Sequence[Tool | Callable[..., Any]] | None" = None,
        limits: Limits | None = None,
        isolation: "Isolation" = "request",
        **more: Any,
    ) -> None:
        if auth is not None and not hasattr(auth, "verifier"):
            raise ConfigError(
                "auth= wants an Access: Access(verifier, resource=URL, authorization_servers=[URL]). A verifier alone "
                "does not say which URL it guards, nor where tokens come from."
            )
        self.name = name or "isthmus"
        self.instructions = instructions
        self.version = version
        self._auth = auth
        self._chosen: dict[str, Any] = {"limits": limits or Limits(), "isolation": isolation}
        self._lifespan = lifespan
        self._middleware: list[Middleware] = list(more.pop("middleware", None) or ())
        self._options = _own_options(more)
        self._routes = []
        self._made: LocalServer | None = None
        self._mounts: list[tuple[FastMCP, Spec]] = []
        self._proxied: tuple[Spec, ...] = ()
        self._serving: WeakSet[Many] = WeakSet()
        self._nested: Nested | None = None
        for each in tools or ():
            if callable(each):
                self.tool(each)
            else:
                self.add_tool(each)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # -- local components -------------------------------------------------------------------------------------------

    @property
    def _local(self) -> "LocalServer":
        if self._made is None:
            from isthmus.components.local import LocalServer
            from isthmus.server.compose import is_apart

            self._made = LocalServer(self.name, self, version=self.version or "", **self._options)
            self._made.apart = is_apart
            self._made.headers_of = _headers_of
            self._made.heard.append(lambda kind: self._changed())
        return self._made

    def add_middleware(self, middleware: "Middleware") -> None:
        """Put one more function around every request, within those that are there (`server.middleware`)."""
        self._middleware.append(middleware)

    # -- what there is ----------------------------------------------------------------------------------------------

    async def get_tools(self) -> "dict[str, Tool]":
        """All tools by name: local ones, those of mounted servers, mirrored ones; the first of a name wins."""
        return await self._inventory("tools")

    async def get_resources(self) -> "dict[str, Resource]":
        """All resources by URI, as `get_tools`."""
        return await self._inventory("resources")

    async def get_resource_templates(self) -> "dict[str, ResourceTemplate]":
        """All templates by their text, as `get_tools`."""
        return await self._inventory("resourceTemplates")

    async def get_prompts(self) -> "dict[str, Prompt]":
        """All prompts by name, as `get_tools`."""
        return await self._inventory("prompts")

    async def get_tool(self, key: str) -> "Tool":
        """One tool.

        Args:
            key: its name here.

        Raises:
            NotFoundError: there is none.
        """
        return _one(await self.get_tools(), key, "tool")

    async def get_resource(self, key: str) -> "Resource":
        """One resource; `key` is its URI. As `get_tool` else."""
        return _one(await self.get_resources(), key, "resource")

    async def get_resource_template(self, key: str) -> "ResourceTemplate":
        """One template; `key` is its text. As `get_tool` else."""
        return _one(await self.get_resource_templates(), key, "resource template")

    async def get_prompt(self, key: str) -> "Prompt":
        """One prompt; `key` is its name. As `get_tool` else."""
        return _one(await self.get_prompts(), key, "prompt")

    def own_components(self, kind: str) -> "Mapping[str, Component]":
        """Its own components of a kind: local ones, and copies of mirrored ones."""
        return getattr(self._made, _REGISTRIES[kind]).all() if self._made is not None else {}

    def mounted_servers(self) -> "list[tuple[FastMCP, Spec]]":
        """The mounted servers, the latest first, and how each is shown."""
        return [(server, spec) for server, spec in reversed(self._mounts)]

    def proxied_servers(self) -> "tuple[Spec, ...]":
        """The servers that it stands in front of."""
        return self._proxied

    async def _inventory(self, kind: str) -> dict[str, Any]:
        from isthmus.server.inventory import inventory

        return await inventory(self, kind)

    # -- other servers ----------------------------------------------------------------------------------------------

    def mount(
        self,
        server: "FastMCP",
        prefix: str | None = None,
        as_proxy: bool | None = None,
        *,
        namespace: str | None = None,
        **separators: str | None,
    ) -> None:
        """Show another server's things too, under a prefix; what it gets later is shown as well.

        Args:
            server: the other one.
            prefix: before its names, and in its URIs; None for none.
            as_proxy: taken as FastMCP does; here everything mounted is spoken to as a server of its own.
            namespace: another word for `prefix`.
            separators: taken as FastMCP does, which has given them up; names are joined by `_`.
        """
        from isthmus.server import compose

        under = prefix if prefix is not None else namespace
        spec = compose.mounted(self._name_for(server, under), under, server.nested(), self._how())
        self._mounts.append((server, spec))
        self._changed()

    async def import_server(self, server: "FastMCP", prefix: str | None = None, **separators: str | None) -> None:
        """Copy what another server has now, under a prefix; what it gets later is not seen.

        Args:
            server: the other one.
            prefix: as for `mount`.
            separators: as for `mount`.
        """
        from isthmus.server import compose

        names: dict[str, list[str]] = {
            "tools": list(await server.get_tools()),
            "prompts": list(await server.get_prompts()),
            "resources": [*await server.get_resources(), *await server.get_resource_templates()],
        }
        choice = compose.snapshot(names)
        spec = compose.mounted(self._name_for(server, prefix), prefix, server.nested(), self._how(), choice)
        self._mounts.append((server, spec))
        self._changed()

    def _name_for(self, server: "FastMCP", prefix: str | None) -> str:
        taken = {spec.name for spec in (*(spec for _, spec in self._mounts), *self._proxied)}
        name = base = prefix or server.name
        number = 2
        while name in taken:
            name, number = f"{base} {number}", number + 1
        return name

    @classmethod
    def as_proxy(
        cls,
        backend: "str | Path | Sequence[str] | dict[str, Any] | ChannelTarget | object",
        *,
        name: str = "isthmus",
        headers: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        cwd: str | None = None,
        isolation: "Isolation | None" = None,
        forward_incoming_headers: bool | Sequence[str] = False,
        insecure: bool = False,
        **settings: Any,
    ) -> "FastMCPProxy":
        """A proxy for a server, or for many.

        Args:
            backend: a `ProxyClient` or `Client`, a `FastMCP`, a server object of the MCP SDK in this process, a
                transport, a URL, a `.py` or `.js` file, a command with its arguments as a sequence, an `MCPConfig` or a
                dict like it, or a `ChannelTarget` on a transport of your own.
            name: what the proxy calls itself.
            headers: sent with every request to a URL.
            env: variables for a command, beyond the few it inherits.
            cwd: the folder a command starts in.
            isolation: which session a request gets at a back of an older revision: `request`, one that nobody used
                before it (the default); `session`, its client's; `shared`, one for all (the default of a client that
                is connected).
            forward_incoming_headers: which headers of HTTP clients go on to a URL: the names of some, or True for all
                that may but those that say who may what or where a request came from (`Authorization`, `Origin`,
                `X-Forwarded-*` and the like go on only by name).
            insecure: whether credentials may go to an `http://` URL of another machine.
            settings: as for `FastMCP`.

        Raises:
            ConfigError: the backend is none of these, or does not exist; `auth` is no `Access`; headers can't be
                forwarded, or would be readable by others.
        """
        from isthmus.server.backends import Wishes, specs_of
        from isthmus.server.proxy import FastMCPProxy

        wishes = Wishes(
            headers=tuple((headers or {}).items()),
            env=env,
            cwd=cwd,
            isolation=isolation,
            forwards=forward_incoming_headers,
            insecure=insecure,
            limits=settings.get("limits") or Limits(),
            name=name,
        )
        return FastMCPProxy.in_front_of(specs_of(backend, wishes), name=name, **settings)

    # -- serving ----------------------------------------------------------------------------------------------------

    def nested(self) -> "Nested":
        """This server as a member of another front (`engine.member.Nested`)."""
        from isthmus.engine.member import Nested

        if self._nested is None:
            self._nested = Nested(self.name, self._open)
        return self._nested

    def _open(self, settings: "Settings") -> "Inner":
        from dataclasses import replace

        from isthmus.run import open_relay

        relay = open_relay(self._source(), replace(self._how(), is_local=settings.is_local))
        return relay

    def _how(self) -> "Settings":
        from isthmus.engine.settings import Settings

        return Settings(name=self.name, instructions=self.instructions, **self._chosen)

    def _source(self) -> "Target | Plan":
        from isthmus.many.plan import Plan

        return Plan(name=self.name, specs=tuple(self._specs()), attach=self._attach)

    def _attach(self, many: "Many") -> "Inner":
        from isthmus.server.between import Between

        self._serving.add(many)
        many.reload(self._specs(), self._hidden())
        return Between(many, self._middleware)

    def _specs(self) -> "list[Spec]":
        from isthmus.server import compose

        others = [*(spec for _, spec in reversed(self._mounts)), *self._proxied]
        if self._made is None and others:
            return others
        made = self._local
        own: list[Any] = [each for kind in _REGISTRIES for each in self.own_components(kind).values()]
        apart = [each for each in own if compose.is_apart(each)]
        copies, abroad = compose.copies(apart, self._proxied, made.shows)
        rest = [*copies, *others, *abroad]
        is_local = len(apart) < len(own) or not rest
        return [compose.local(_LOCAL, made, self._how()), *rest] if is_local else rest

    def _hidden(self) -> frozenset[tuple[str, str]]:
        """What is disabled, so that nothing of the same name behind it shows either."""
        return self._made.hidden() if self._made is not None else frozenset()

    def _changed(self) -> None:
        """There is something else than before: those who are served hear of it."""
        for many in tuple(self._serving):
            if _is_within(many.loop):  # what is asked next has to find it so
                self._update(many)
            elif not many.loop.is_closed():
                many.loop.call_soon_threadsafe(self._update, many)

    def _update(self, many: "Many") -> None:
        many.reload(self._specs(), self._hidden())
        many.refresh(_LOCAL)


def _is_within(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether this code runs on a loop."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _one(there: dict[str, _T], key: str, what: str) -> _T:
    from isthmus.exceptions import NotFoundError

    if key not in there:
        raise NotFoundError(f"There is no {what} {key!r}.")
    return there[key]


def _headers_of(context: Any) -> "Mapping[str, str] | None":
    """The HTTP headers that came with a request to a local component; None where its transport has none."""
    said: Mapping[str, str] | None = (context.meta or {}).get(HEADERS_KEY)
    return said


def _own_options(more: dict[str, Any]) -> dict[str, Any]:
    """The settings that local components heed."""
    unknown = more.keys() - _HEEDED - _DUPLICATES.keys() - _TAKEN_ELSEWHERE
    if unknown:
        raise TypeError(f"FastMCP has no setting {', '.join(sorted(unknown))}.")
    heeded = {name: value for name, value in more.items() if name in _HEEDED and value is not None}
    duplicates = {kind: more[name] for name, kinds in _DUPLICATES.items() if more.get(name) for kind in kinds}
    return heeded | ({"duplicates": duplicates} if duplicates else {})
