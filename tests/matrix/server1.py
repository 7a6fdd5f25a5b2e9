"""The matrix' server, made with SDK 1.30 in the environment `legacy`: it knows no modern era."""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

import logging
import sys
from typing import Any

import anyio
from mcp import McpError, types
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.shared.message import ServerMessageMetadata
from pydantic import BaseModel

from . import content
from .calls import Call, Json, NeedsInput, Problem


class Anything(BaseModel, extra="allow"):
    """A result, as it is."""


class World:
    def __init__(self) -> None:
        self.sessions: dict[int, Any] = {}
        self.levels: dict[int, str] = {}
        self.watched: dict[int, set[str]] = {}

    async def announce(self, kind: str, uri: str | None) -> None:
        keys = list(self.sessions)
        told = {
            "tools": lambda: types.ToolListChangedNotification(),
            "prompts": lambda: types.PromptListChangedNotification(),
            "resources": lambda: types.ResourceListChangedNotification(),
            "resource": lambda: types.ResourceUpdatedNotification(
                params=types.ResourceUpdatedNotificationParams(uri=uri)
            ),
        }[kind]()
        if uri is not None:
            keys = [key for key, uris in self.watched.items() if any(uri.startswith(each) for each in uris)]
        for key in keys:
            with anyio.move_on_after(1):
                try:
                    await self.sessions[key].send_notification(types.ServerNotification(told))
                except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                    for table in (self.sessions, self.levels, self.watched):
                        table.pop(key, None)


def dump(model: BaseModel | None) -> Json:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True) if model is not None else {}


class Call1(Call):
    modern = False

    def __init__(self, world: World, server: Server, params: Json) -> None:
        self.params = params
        self._world = world
        self._ctx = server.request_context
        world.sessions[id(self._ctx.session)] = self._ctx.session
        super().__init__()

    async def ask_now(self, requests: Json) -> Json:
        answers: Json = {}

        async def one(key: str, request: Json) -> None:
            metadata = ServerMessageMetadata(related_request_id=self._ctx.request_id)
            sent = types.ServerRequest.model_validate(request)
            try:
                answer = await self._ctx.session.send_request(sent, Anything, metadata=metadata)
            except McpError as error:
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
        token = self._ctx.meta.progressToken if self._ctx.meta else None
        if token is not None:
            await self._ctx.session.send_progress_notification(
                token, done, total, message, related_request_id=str(self._ctx.request_id)
            )

    async def say(self, level: str, data: object, logger: str | None) -> None:
        floor = self._world.levels.get(id(self._ctx.session), "info")
        if content.LEVELS.index(level) >= content.LEVELS.index(floor):
            await self._ctx.session.send_log_message(level, data, logger, related_request_id=self._ctx.request_id)

    async def change(self, kind: str, uri: str | None = None) -> None:
        await self._world.announce(kind, uri)

    async def opened(self, id: str) -> None:
        await self._ctx.session.send_elicit_complete(id)

    def who(self) -> Json:
        said = self._ctx.session.client_params
        return {"info": dump(said.clientInfo), "can": dump(said.capabilities)}

    def meta(self) -> Json:
        return dump(self._ctx.meta)


def build() -> Server:
    server = Server(content.ABOUT["name"], version=content.ABOUT["version"], instructions=content.INSTRUCTIONS)
    world = World()

    def handle(kind, result, answer) -> None:  # noqa: ANN001
        async def handler(request) -> types.ServerResult:  # noqa: ANN001
            params = dump(request.params)
            try:
                given = await answer(Call1(world, server, params), params)
            except NeedsInput:
                raise AssertionError("no modern client comes here") from None
            except Problem as problem:
                raise McpError(types.ErrorData(code=problem.code, message=problem.message, data=problem.data)) from None
            return types.ServerResult(result.model_validate(given))

        server.request_handlers[kind] = handler

    _handle_all(handle, server, world)
    make, capabilities = server.create_initialization_options, server.get_capabilities
    changes = NotificationOptions(tools_changed=True, resources_changed=True, prompts_changed=True)

    def able(*_) -> types.ServerCapabilities:  # noqa: ANN002
        found = capabilities(changes, content.EXPERIMENTAL)
        found.resources.subscribe = True
        return found.model_copy(update={"extensions": content.EXTENSIONS})

    server.get_capabilities = able
    server.create_initialization_options = lambda *_: make(changes, content.EXPERIMENTAL)
    return server


def _handle_all(handle, server: Server, world: World) -> None:  # noqa: ANN001
    async def level(call: Call, params: Json) -> Json:
        world.levels[id(server.request_context.session)] = params["level"]
        return {}

    async def subscribe(call: Call, params: Json) -> Json:
        world.watched.setdefault(id(server.request_context.session), set()).add(params["uri"])
        return {}

    async def unsubscribe(call: Call, params: Json) -> Json:
        world.watched.get(id(server.request_context.session), set()).discard(params["uri"])
        return {}

    def listed(member: str, items: list[Json]):  # noqa: ANN202
        async def answer(call: Call, params: Json) -> Json:
            return content.page(member, items, params.get("cursor"))

        return answer

    async def complete(call: Call, params: Json) -> Json:
        return await content.complete(call, params)

    async def read(call: Call, params: Json) -> Json:
        return await content.read(call, params["uri"])

    described = [described for described, _ in content.TOOLS.values()]
    handle(types.ListToolsRequest, types.ListToolsResult, listed("tools", described))
    handle(types.ListPromptsRequest, types.ListPromptsResult, listed("prompts", content.PROMPTS))
    handle(types.ListResourcesRequest, types.ListResourcesResult, listed("resources", content.RESOURCES))
    templates = listed("resourceTemplates", content.TEMPLATES)
    handle(types.ListResourceTemplatesRequest, types.ListResourceTemplatesResult, templates)
    handle(types.CallToolRequest, types.CallToolResult, content.call_tool)
    handle(types.GetPromptRequest, types.GetPromptResult, content.prompt)
    handle(types.ReadResourceRequest, types.ReadResourceResult, read)
    handle(types.SubscribeRequest, types.EmptyResult, subscribe)
    handle(types.UnsubscribeRequest, types.EmptyResult, unsubscribe)
    handle(types.SetLevelRequest, types.EmptyResult, level)
    handle(types.CompleteRequest, types.CompleteResult, complete)


async def _stdio(server: Server) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve(transport: str, era: str, port: int = 0) -> None:
    """Serve on this process' stdio, or over HTTP or HTTP+SSE on a port of loopback."""
    logging.disable(logging.CRITICAL)  # what rows do wrong on purpose is no news
    server = build()
    if transport == "stdio":
        anyio.run(_stdio, server)
        return
    import uvicorn

    app = _http_app(server) if transport == "http" else _sse_app(server)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", timeout_graceful_shutdown=1)


def _http_app(server: Server):  # noqa: ANN202
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.applications import Starlette
    from starlette.routing import Mount

    manager = StreamableHTTPSessionManager(server)
    return Starlette(routes=[Mount("/mcp", app=manager.handle_request)], lifespan=lambda _: manager.run())


def _sse_app(server: Server):  # noqa: ANN202
    from mcp.server.sse import SseServerTransport
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    sse = SseServerTransport("/messages/")

    async def endpoint(request):  # noqa: ANN001, ANN202
        async with sse.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", endpoint), Mount("/messages/", app=sse.handle_post_message)])


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3] if len(sys.argv) > 3 else 0))
