"""The matrix' server, made with SDK 2.x: an object for one of the eras, or for both."""

import logging
import os
import sys
import warnings
from typing import Any, Literal

import anyio
import mcp_types as types
from mcp.server import Server, ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.lowlevel.server import NotificationOptions
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

from . import content
from .calls import Call, Json, NeedsInput, Problem

Context = ServerRequestContext[Any, Any]
Era = Literal["legacy", "modern", "dual"]
EVENTS: dict[str, ServerEvent] = {
    "tools": ToolsListChanged(),
    "prompts": PromptsListChanged(),
    "resources": ResourcesListChanged(),
}
CACHED = {"tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}


class Anything(BaseModel, extra="allow"):
    """Params or a result, as they are."""


class Request(types.Request[Json, str]):
    """A question, as it is."""


class World:
    """The sessions of legacy clients, what each wants, and the bus of the modern ones."""

    def __init__(self) -> None:
        self.bus = InMemorySubscriptionBus()
        self.sessions: dict[int, Any] = {}
        self.levels: dict[int, str] = {}
        self.watched: dict[int, set[str]] = {}

    async def announce(self, kind: str, uri: str | None) -> None:
        if uri is not None:
            await self.bus.publish(ResourceUpdated(uri=uri))
            keys = [key for key, uris in self.watched.items() if any(uri.startswith(each) for each in uris)]
            told: Any = types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=uri))
        else:
            await self.bus.publish(EVENTS[kind])
            keys = list(self.sessions)
            told = {
                "tools": types.ToolListChangedNotification(),
                "prompts": types.PromptListChangedNotification(),
                "resources": types.ResourceListChangedNotification(),
            }[kind]
        for key in keys:
            with anyio.move_on_after(1):
                try:
                    await self.sessions[key].send_notification(told)
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    self.forget(key)

    def forget(self, key: int) -> None:
        for table in (self.sessions, self.levels, self.watched):
            table.pop(key, None)


def key_of(ctx: Context) -> int:
    """Which session this is; the object that stands for it lives as long."""
    return id(ctx.session._connection)


class Call2(Call):
    def __init__(self, world: World, ctx: Context) -> None:
        self.modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self.params = dict(ctx.params or {})
        self._world = world
        self._ctx = ctx
        super().__init__()

    async def ask_now(self, requests: Json) -> Json:
        answers: Json = {}

        async def one(key: str, request: Json) -> None:
            metadata = ServerMessageMetadata(related_request_id=self._ctx.request_id)
            sent: Any = Request(method=request["method"], params=request["params"])
            try:
                answer = await self._ctx.session.send_request(sent, Anything, metadata=metadata)
            except MCPError as error:
                answers[key] = Problem(error.error.code, error.error.message)
            else:
                answers[key] = answer.model_dump(mode="json")

        async with anyio.create_task_group() as group:
            for key, request in requests.items():
                group.start_soon(one, key, request)
        for answer in answers.values():
            if isinstance(answer, Problem):
                raise answer
        return {key: answers[key] for key in requests}

    async def report(self, done: float, total: float | None, message: str | None) -> None:
        await self._ctx.session.report_progress(done, total, message)

    async def say(self, level: str, data: Any, logger: str | None) -> None:
        floor = self._world.levels.get(key_of(self._ctx), "info")
        if self.modern or content.LEVELS.index(level) >= content.LEVELS.index(floor):
            await self._ctx.session.send_log_message(level, data, logger, self._ctx.request_id)  # type: ignore[arg-type]

    async def change(self, kind: str, uri: str | None = None) -> None:
        await self._world.announce(kind, uri)

    async def opened(self, id: str) -> None:
        await self._ctx.session.send_elicit_complete(id)

    def who(self) -> Json:
        said = self._ctx.session.client_params
        able = self._ctx.session.client_capabilities
        return {
            "info": said.client_info.model_dump(exclude_none=True) if said is not None else None,
            "can": able.model_dump(mode="json", by_alias=True, exclude_none=True) if able is not None else {},
        }

    def meta(self) -> Json:
        return dict(self.params.get("_meta") or {})


def build(era: Era) -> Server[Any]:
    """The server, speaking one era or both."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    world = World()
    server: Server[Any] = Announcing(
        content.ABOUT["name"],
        version=content.ABOUT["version"],
        instructions=content.INSTRUCTIONS,
        on_subscriptions_listen=ListenHandler(world.bus),
    )
    server.extensions = content.EXTENSIONS

    def handle(method: str, answer: Any) -> None:
        async def handler(ctx: Context, params: Anything) -> Json:
            try:
                result: Json = await answer(Call2(world, ctx), ctx, dict(ctx.params or {}))
            except NeedsInput as needs:
                result = needs.result
            except Problem as problem:
                raise MCPError(problem.code, problem.message, problem.data) from None
            if method == "tools/call" and "content" in result:
                result = {"isError": False} | result
            cached = {"ttlMs": 0, "cacheScope": "private"} if method in CACHED else {}
            return {"resultType": "complete"} | cached | result

        server.add_request_handler(method, Anything, handler)

    _handle_all(handle, world)
    server.middleware.append(_gate(world, era))
    return server


class Announcing(Server[Any]):
    """A server that says at `initialize` that it announces changes, and what it has for a trial."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> Any:
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities or content.EXPERIMENTAL, extensions
        )

    def get_capabilities(self, *args: Any, **kwargs: Any) -> types.ServerCapabilities:
        found = super().get_capabilities(*args, **kwargs)
        found.experimental = content.EXPERIMENTAL
        return found


def _handle_all(handle: Any, world: World) -> None:
    lists: dict[str, tuple[str, list[Json]]] = {
        "tools/list": ("tools", [described for described, _ in content.TOOLS.values()]),
        "prompts/list": ("prompts", content.PROMPTS),
        "resources/list": ("resources", content.RESOURCES),
        "resources/templates/list": ("resourceTemplates", content.TEMPLATES),
    }

    def listed(member: str, items: list[Json]) -> Any:
        async def answer(call: Call, ctx: Context, params: Json) -> Json:
            return content.page(member, items, params.get("cursor"))

        return answer

    for method, (member, items) in lists.items():
        handle(method, listed(member, items))

    async def level(call: Call, ctx: Context, params: Json) -> Json:
        if params["level"] not in content.LEVELS:
            raise Problem(-32602, "There is no such level")
        world.levels[key_of(ctx)] = params["level"]
        return {}

    async def subscribe(call: Call, ctx: Context, params: Json) -> Json:
        world.watched.setdefault(key_of(ctx), set()).add(params["uri"])
        return {}

    async def unsubscribe(call: Call, ctx: Context, params: Json) -> Json:
        world.watched.get(key_of(ctx), set()).discard(params["uri"])
        return {}

    async def complete(call: Call, ctx: Context, params: Json) -> Json:
        return await content.complete(call, params)

    async def call_tool(call: Call, ctx: Context, params: Json) -> Json:
        return await content.call_tool(call, params)

    async def prompt(call: Call, ctx: Context, params: Json) -> Json:
        return await content.prompt(call, params)

    async def read(call: Call, ctx: Context, params: Json) -> Json:
        return await content.read(call, params["uri"])

    handle("tools/call", call_tool)
    handle("prompts/get", prompt)
    handle("resources/read", read)
    handle("resources/subscribe", subscribe)
    handle("resources/unsubscribe", unsubscribe)
    handle("logging/setLevel", level)
    handle("completion/complete", complete)


def _gate(world: World, era: Era) -> Any:
    async def gate(ctx: Context, call_next: CallNext) -> HandlerResult:
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS or ctx.method == "server/discover"
        if era == "modern" and ctx.method == "initialize":
            raise MCPError(-32601, "Method not found: initialize")
        if era == "legacy" and is_modern:
            raise MCPError(-32601, f"Method not found: {ctx.method}")
        if not is_modern and ctx.method != "initialize":
            world.sessions[key_of(ctx)] = ctx.session
        return await call_next(ctx)

    return gate


async def _stdio(server: Server[Any]) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve(transport: str, era: Era, port: int = 0) -> None:
    """Serve on this process' stdio, or over HTTP or HTTP+SSE on a port of loopback."""
    logging.disable(logging.CRITICAL)  # what rows do wrong on purpose is no news
    server = build(era)
    if transport == "stdio":
        anyio.run(_stdio, server)
        return
    import uvicorn

    app = server.streamable_http_app() if transport == "http" else _sse_app(server)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)


def _sse_app(server: Server[Any]) -> Any:
    from mcp.server.sse import SseServerTransport
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    sse = SseServerTransport("/messages/")

    async def endpoint(request: HttpRequest) -> Response:
        async with sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", endpoint), Mount("/messages/", app=sse.handle_post_message)])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3] if len(sys.argv) > 3 else 0))  # type: ignore[arg-type]
    os._exit(0)
