"""The server object: the protocol's methods over the registries."""

import itertools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import mcp_types as types
from mcp.server import Server
from mcp.server.caching import CacheableMethod, CacheHint
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.models import InitializationOptions
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

from . import content, suite_tools, tools  # noqa: F401
from .core import Call, Context, World, session_key
from .media import ICON
from .registry import PROMPTS, TOOLS

T = TypeVar("T")
NAME = "everything"
TOGGLED_TOOL = types.Tool(
    name="toggled", description="Here while `toggle_tool` has it so.", input_schema={"type": "object"}
)
CACHEABLE: tuple[CacheableMethod, ...] = (
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "resources/read",
)
CACHE_HINTS: Mapping[CacheableMethod, CacheHint] = {
    method: CacheHint(ttl_ms=1000, scope="public") for method in CACHEABLE
}
EVENTS_KEPT = 10_000


class EverythingServer(Server[dict[str, Any]]):
    """A server that announces list changes to legacy clients too, on each of its transports."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> InitializationOptions:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities, extensions
        )


@dataclass
class Handlers:
    world: World
    page: int

    def _page(self, items: Sequence[T], params: types.PaginatedRequestParams | None) -> tuple[list[T], str | None]:
        cursor = params.cursor if params is not None else None
        if cursor is not None and not (cursor.isdecimal() and int(cursor) < len(items)):
            raise MCPError(types.INVALID_PARAMS, f"Unknown cursor: {cursor}")
        start = int(cursor or 0)
        end = start + self.page
        return list(items[start:end]), str(end) if end < len(items) else None

    async def list_tools(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        listed = [entry.tool for entry in TOOLS.values()]
        page, cursor = self._page(listed + [TOGGLED_TOOL] * self.world.extra_tool, params)
        return types.ListToolsResult(tools=page, next_cursor=cursor)

    async def call_tool(
        self, ctx: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        self.world.calls += 1
        if params.name == TOGGLED_TOOL.name and self.world.extra_tool:
            return types.CallToolResult(content=[types.TextContent(text="toggled")])
        entry = TOOLS.get(params.name)
        if entry is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        return await entry(Call(self.world, ctx, params), params.arguments or {})

    async def list_prompts(self, ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        listed = [entry.prompt for entry in PROMPTS.values()]
        page, cursor = self._page(listed + [content.TOGGLED_PROMPT] * self.world.extra_prompt, params)
        return types.ListPromptsResult(prompts=page, next_cursor=cursor)

    async def get_prompt(
        self, ctx: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        entry = PROMPTS.get(params.name)
        if entry is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        return await entry(Call(self.world, ctx, params), params.arguments or {})

    async def list_resources(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        page, cursor = self._page(content.RESOURCES, params)
        return types.ListResourcesResult(resources=page, next_cursor=cursor)

    async def list_templates(
        self, ctx: Context, params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        page, cursor = self._page(content.TEMPLATES, params)
        return types.ListResourceTemplatesResult(resource_templates=page, next_cursor=cursor)

    async def read_resource(self, ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[content.read(self.world, str(params.uri))])

    async def subscribe(self, ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
        self.world.watchers.setdefault(str(params.uri), set()).add(session_key(ctx))
        return types.EmptyResult()

    async def unsubscribe(self, ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        self.world.watchers.get(str(params.uri), set()).discard(session_key(ctx))
        return types.EmptyResult()

    async def set_level(self, ctx: Context, params: types.SetLevelRequestParams) -> types.EmptyResult:
        self.world.levels[session_key(ctx)] = params.level
        return types.EmptyResult()

    async def complete(self, ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
        return types.CompleteResult(completion=content.complete(params))


def build(page: int = 100) -> EverythingServer:
    world = World()
    handlers = Handlers(world, page)
    server = EverythingServer(
        NAME,
        version="1.0.0",
        title="Everything",
        description="Every feature of the protocol",
        instructions="Call `echo` to see that it works; each tool says what it shows.",
        website_url="https://modelcontextprotocol.io",
        icons=[ICON],
        cache_hints=CACHE_HINTS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_subscribe_resource=handlers.subscribe,
        on_unsubscribe_resource=handlers.unsubscribe,
        on_subscriptions_listen=ListenHandler(world.bus),
        on_completion=handlers.complete,
    )
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, handlers.set_level)
    server.middleware.append(world.remember)
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=NAME))
    return server


@dataclass
class RecentEvents(EventStore):
    """The last events of all streams, for clients that reconnect."""

    events: OrderedDict[str, tuple[str, types.JSONRPCMessage | None]] = field(default_factory=OrderedDict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        event_id = str(next(self.numbers))
        self.events[event_id] = (stream_id, message)
        if len(self.events) > EVENTS_KEPT:
            self.events.popitem(last=False)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        known = self.events.get(last_event_id)
        if known is None:
            return None
        stream_id = known[0]
        later = [
            EventMessage(message, event_id)
            for event_id, (stream, message) in self.events.items()
            if stream == stream_id and message is not None and int(event_id) > int(last_event_id)
        ]
        for event in later:
            await send_callback(event)
        return stream_id
