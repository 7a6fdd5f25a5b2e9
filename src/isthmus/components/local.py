"""`LocalServer`: the tools, resources, templates and prompts of this process, as an SDK server that runs in memory."""

import asyncio
import base64
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import mcp.types as types
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.mcpserver.exceptions import ToolError as OfficialToolError
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged, ServerEvent, ToolsListChanged
from pydantic import AnyUrl, ValidationError

from isthmus.components.asking import Turns, is_modern
from isthmus.components.component import Component, Kind
from isthmus.components.context import Context, Level, Question, http_headers
from isthmus.components.registry import Duplicates as Duplicates
from isthmus.components.registry import Registry
from isthmus.components.resources import Resource
from isthmus.components.tools import Tool, ToolResult
from isthmus.exceptions import NotFoundError, PromptError, ResourceError, ToolError

if TYPE_CHECKING:
    from isthmus.components.prompts import Prompt
    from isthmus.components.templates import ResourceTemplate

C = TypeVar("C", bound=Component)
T = TypeVar("T")
Request = ServerRequestContext[Any, Any]
_log = logging.getLogger("isthmus.components")
_RESOURCE_NOT_FOUND: Final = -32002
"""Until 2025-11-25; from 2026-07-28 on it is "invalid params"."""
_URL_ELICITATION: Final = -32042
_EVENTS: Final[dict[Kind, Callable[[], ServerEvent]]] = {
    "tools": ToolsListChanged,
    "resources": ResourcesListChanged,
    "resourceTemplates": ResourcesListChanged,
    "prompts": PromptsListChanged,
}


class _Line:
    """One session, or one connection of modern clients."""

    def __init__(self, state: Any) -> None:
        self.state = state
        self.id = str(uuid.uuid4())
        self.level: Level = "debug"
        self.session: Any = None
        self.telling: set[asyncio.Task[None]] = set()


class _Port:
    """The way from a function to its client; see `context.Port`."""

    def __init__(self, turns: Turns, tell: Callable[[Kind], None], level: Level) -> None:
        self.level = level
        self.tell = tell
        self._turns = turns

    async def ask(self, context: Context, question: Question, answer: type[T]) -> T:
        return await self._turns.ask(context, question, answer)


class LocalServer:
    """Components of this process.

    `server` is the SDK's server of them, a target for the engine. `heard` are called with the kind when what there is
    of it changes. `apart` tells the components that are neither listed nor run here, because the one who holds this
    does both.

    Args:
        name: what it calls itself.
        owner: what a `Context` has as `fastmcp`; this, if not given.
        instructions: what clients are told of its use.
        version: its version.
        duplicates: by kind, what is done with a second component of a name; `warn` if not given.
        mask_error_details: whether clients are only told that something failed, unless it was said by raising a
            `ToolError`, `ResourceError` or `PromptError`.
        include_tags: only components with one of these are there; None for all.
        exclude_tags: components with one of these are not there.
    """

    def __init__(
        self,
        name: str,
        owner: Any = None,
        *,
        instructions: str | None = None,
        version: str = "",
        duplicates: Mapping[str, Duplicates] | None = None,
        mask_error_details: bool = False,
        include_tags: Collection[str] | None = None,
        exclude_tags: Collection[str] | None = None,
    ) -> None:
        self.name = name
        self.owner = owner if owner is not None else self
        self.state: Any = {}
        """What `Context.request_context.lifespan_context` is."""
        self.heard: list[Callable[[Kind], object]] = []
        self.apart: Callable[[Component], bool] = lambda component: False
        self.headers_of: Callable[[Request], Mapping[str, str] | None] = lambda request: None
        """What `get_http_headers` finds while a request's function runs; None where it has to look itself."""
        self._mask = mask_error_details
        self._included = frozenset(include_tags) if include_tags is not None else None
        self._excluded = frozenset(exclude_tags or ())
        said = duplicates or {}
        self.tools: Registry[Tool] = Registry("tools", said.get("tools", "warn"), self._changed)
        self.resources: Registry[Resource] = Registry("resources", said.get("resources", "warn"), self._changed)
        self.templates: Registry[ResourceTemplate] = Registry(
            "resourceTemplates", said.get("resourceTemplates", "warn"), self._changed
        )
        self.prompts: Registry[Prompt] = Registry("prompts", said.get("prompts", "warn"), self._changed)
        self._lines: set[_Line] = set()
        self._listeners: dict[object, Callable[[ServerEvent], None]] = {}
        self.turns = Turns()
        """The calls of modern clients; its `wait` is how long these may take to answer."""
        self.server = self._make_server(instructions, version)

    # -- what there is ------------------------------------------------------------------------------------------------

    def add(self, component: C) -> C:
        """Add a component of any kind; see `Registry.add`."""
        registries: dict[str, Registry[Any]] = {each.kind: each for each in self._registries()}
        added: C = registries[component.kind].add(component)
        return added

    def shows(self, component: Component) -> bool:
        """Whether clients see it: it is enabled, and chosen by its tags."""
        is_chosen = self._included is None or bool(self._included & component.tags)
        return component.enabled and is_chosen and not self._excluded & component.tags

    def has(self, kind: str, shown: str) -> bool:
        """Whether clients find a thing of a kind under a name or URI here; a resource also by a template."""
        if kind in ("resources", "resourceTemplates"):
            return self._find_resource(shown) is not None or self._find(self.templates, shown) is not None
        registry: Registry[Any] = self.tools if kind == "tools" else self.prompts
        return self._find(registry, shown) is not None

    def hidden(self) -> frozenset[tuple[str, str]]:
        """The kinds and keys of what is here and switched off: it also hides what stands behind it."""
        return frozenset(
            (each.kind, key) for each in self._registries() for key, one in each.all().items() if not self.shows(one)
        )

    def close(self) -> None:
        """End the functions that wait for answers."""
        self.turns.close()

    def _registries(self) -> "tuple[Registry[Any], ...]":
        return (self.tools, self.resources, self.templates, self.prompts)

    def _here(self, registry: Registry[C]) -> dict[str, C]:
        return {key: each for key, each in registry.all().items() if self.shows(each) and not self.apart(each)}

    def _find(self, registry: Registry[C], key: str) -> C | None:
        return self._here(registry).get(key)

    def _find_resource(self, uri: str) -> "Resource | tuple[ResourceTemplate, dict[str, Any]] | None":
        found = self._find(self.resources, uri) or self._find(self.resources, _normal(uri))
        if found is not None:
            return found
        for template in self._here(self.templates).values():
            if (arguments := template.matches(uri)) is not None:
                return template, arguments
        return None

    # -- what changes -------------------------------------------------------------------------------------------------

    def _changed(self, kind: Kind) -> None:
        for heard in self.heard:
            heard(kind)
        self.tell(kind)

    def tell(self, kind: Kind) -> None:
        """Tell clients that what is listed of a kind is other than before."""
        event = _EVENTS[kind]()
        for listener in list(self._listeners.values()):
            listener(event)
        for line in self._lines:
            if line.session is not None:
                session = line.session
                how = {"tools": session.send_tool_list_changed, "prompts": session.send_prompt_list_changed}
                self._start(line, how.get(kind, session.send_resource_list_changed))

    def _start(self, line: _Line, send: Callable[[], Awaitable[None]]) -> None:
        try:
            task = asyncio.get_running_loop().create_task(_send(send))
        except RuntimeError:
            return
        line.telling.add(task)
        task.add_done_callback(line.telling.discard)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """See the SDK's `SubscriptionBus`."""
        token = object()
        self._listeners[token] = listener
        return lambda: (self._listeners.pop(token, None), None)[1]

    async def publish(self, event: ServerEvent) -> None:
        """See the SDK's `SubscriptionBus`."""
        for listener in list(self._listeners.values()):
            listener(event)

    # -- the SDK's server ---------------------------------------------------------------------------------------------

    def _make_server(self, instructions: str | None, version: str) -> Server[_Line]:
        server: Server[_Line] = _Server(
            self.name,
            version=version,
            instructions=instructions,
            lifespan=self._line,
            on_list_tools=self._list_tools,
            on_call_tool=self._call_tool,
            on_list_resources=self._list_resources,
            on_list_resource_templates=self._list_templates,
            on_read_resource=self._read_resource,
            on_list_prompts=self._list_prompts,
            on_get_prompt=self._get_prompt,
            on_subscriptions_listen=ListenHandler(self),
        )
        server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, self._set_level)
        server.middleware.append(cast(Any, self._meet))
        return server

    @asynccontextmanager
    async def _line(self, _: Server[_Line]) -> AsyncIterator[_Line]:
        line = _Line(self.state)
        self._lines.add(line)
        try:
            yield line
        finally:
            self._lines.discard(line)
            for task in line.telling:
                task.cancel()

    async def _meet(self, request: Request, call_next: CallNext) -> HandlerResult:
        """From its `notifications/initialized` on, a session is told of changes."""
        if request.method == "notifications/initialized":
            request.lifespan_context.session = request.session
        return await call_next(request)

    async def _set_level(self, request: Request, params: types.SetLevelRequestParams) -> types.EmptyResult:
        request.lifespan_context.level = params.level
        return types.EmptyResult()

    def _context(self, request: Request) -> Context:
        line: _Line = request.lifespan_context
        port = _Port(self.turns, self.tell, line.level)
        shown = replace(request, lifespan_context=self.state)
        return Context(self.owner, shown, port, None if is_modern(request) else line.id)

    @asynccontextmanager
    async def _around(self, context: Context) -> AsyncIterator[None]:
        """What is there while user code runs."""
        headers = self.headers_of(context.request_context)
        with http_headers(headers) if headers is not None else nullcontext():
            async with context:
                yield

    async def _list_tools(self, _: Request, __: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[each.to_mcp_tool(name=key) for key, each in self._here(self.tools).items()])

    async def _list_resources(self, _: Request, __: Any) -> types.ListResourcesResult:
        return types.ListResourcesResult(
            resources=[each.to_mcp_resource(uri=key) for key, each in self._here(self.resources).items()]
        )

    async def _list_templates(self, _: Request, __: Any) -> types.ListResourceTemplatesResult:
        listed = [each.to_mcp_template(uri_template=key) for key, each in self._here(self.templates).items()]
        return types.ListResourceTemplatesResult(resource_templates=listed)

    async def _list_prompts(self, _: Request, __: Any) -> types.ListPromptsResult:
        return types.ListPromptsResult(
            prompts=[each.to_mcp_prompt(name=key) for key, each in self._here(self.prompts).items()]
        )

    async def _call_tool(
        self, request: Request, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        context = self._context(request)

        async def work(context: Context) -> types.CallToolResult:
            try:
                async with self._around(context):
                    given = await self.call_tool(params.name, params.arguments or {})
            except ToolError as error:
                return types.CallToolResult(content=[types.TextContent(text=str(error))], is_error=True)
            return types.CallToolResult(content=given.content, structured_content=given.structured_content)

        return await self.turns.take(context, params, ("tools/call", params.name), work)

    async def _read_resource(
        self, request: Request, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult | types.InputRequiredResult:
        context, uri = self._context(request), str(params.uri)

        async def work(context: Context) -> types.ReadResourceResult:
            try:
                async with self._around(context):
                    contents = await self.read_resource(uri)
            except NotFoundError as error:
                code = types.INVALID_PARAMS if is_modern(request) else _RESOURCE_NOT_FOUND
                raise MCPError(code, str(error), {"uri": uri}) from None
            except ResourceError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error), {"uri": uri}) from None
            return types.ReadResourceResult(contents=[_contents(uri, each) for each in contents])

        return await self.turns.take(context, params, ("resources/read", uri), work)

    async def _get_prompt(
        self, request: Request, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        context = self._context(request)

        async def work(context: Context) -> types.GetPromptResult:
            try:
                async with self._around(context):
                    return await self.get_prompt(params.name, params.arguments)
            except NotFoundError as error:
                raise MCPError(types.INVALID_PARAMS, str(error)) from None
            except PromptError as error:
                raise MCPError(types.INTERNAL_ERROR, str(error)) from None

        return await self.turns.take(context, params, ("prompts/get", params.name), work)

    # -- what is run --------------------------------------------------------------------------------------------------

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        """Run a tool as clients do.

        Raises:
            ToolError: there is none that they see, or it failed.
            McpError: the client has to visit a URL first.
        """
        tool = self._find(self.tools, name)
        if tool is None:
            raise ToolError(f"Unknown tool: {name!r}. List the tools for those that there are.")
        try:
            return await tool.run(arguments)
        except (ToolError, OfficialToolError) as error:
            raise ToolError(str(error)) from error
        except Exception as error:
            raise self._said(ToolError, f"Error calling tool {name!r}", error) from error

    async def read_resource(self, uri: str) -> list[ReadResourceContents]:
        """Read a resource as clients do.

        Raises:
            NotFoundError: there is none that they see.
            ResourceError: it failed.
        """
        found = self._find_resource(uri)
        if found is None:
            raise NotFoundError(f"Unknown resource: {uri!r}. List the resources for those that there are.")
        try:
            if isinstance(found, Resource):
                return [ReadResourceContents(await found.read(), found.mime_type)]
            resource = await found[0].create_resource(uri, found[1])
            return [ReadResourceContents(await resource.read(), resource.mime_type)]
        except ResourceError:
            raise
        except Exception as error:
            raise self._said(ResourceError, f"Error reading resource {uri!r}", error) from error

    async def get_prompt(self, name: str, arguments: dict[str, Any] | None = None) -> types.GetPromptResult:
        """Render a prompt as clients do.

        Raises:
            NotFoundError: there is none that they see.
            PromptError: it failed.
        """
        prompt = self._find(self.prompts, name)
        if prompt is None:
            raise NotFoundError(f"Unknown prompt: {name!r}. List the prompts for those that there are.")
        try:
            return types.GetPromptResult(description=prompt.description, messages=await prompt.render(arguments))
        except PromptError:
            raise
        except Exception as error:
            raise self._said(PromptError, f"Error rendering prompt {name!r}", error) from error

    async def _mcp_read_resource(self, uri: str) -> list[ReadResourceContents]:
        """What `Context.read_resource` reads, where this has no other owner."""
        return await self.read_resource(uri)

    def _said(self, kind: type[Exception], what: str, error: Exception) -> Exception:
        """What clients are told of an exception, which the log tells whole."""
        if isinstance(error, MCPError) and error.error.code == _URL_ELICITATION:
            return error
        if isinstance(error, ValidationError):
            _log.info("%s: %d values are not of the types that were declared.", what, error.error_count())
        else:
            _log.error("%s", what, exc_info=error)
        return kind(what if self._mask else f"{what}: {error}")


class _Server(Server[_Line]):
    """The SDK's server; it says that its lists may change."""

    def create_initialization_options(self, *_: Any, **__: Any) -> Any:
        return super().create_initialization_options(NotificationOptions(True, True, True))


def _normal(uri: str) -> str:
    """A URI as `AnyUrl` writes it: `https://Example.com` is `https://example.com/`."""
    try:
        return str(AnyUrl(uri))
    except ValidationError:
        return uri


async def _send(send: Callable[[], Awaitable[None]]) -> None:
    try:
        await send()
    except Exception as error:
        _log.debug("A client could not be told of a change: %r", error)


def _contents(uri: str, read: ReadResourceContents) -> types.TextResourceContents | types.BlobResourceContents:
    if isinstance(read.content, bytes):
        blob = base64.b64encode(read.content).decode()
        return types.BlobResourceContents(uri=uri, blob=blob, mime_type=read.mime_type)
    return types.TextResourceContents(uri=uri, text=read.content, mime_type=read.mime_type)
