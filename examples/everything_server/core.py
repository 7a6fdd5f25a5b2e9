"""What a tool or prompt sees of the client that called it, whichever era that client speaks."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import anyio
import mcp_types as types
from mcp.server import ServerRequestContext
from mcp.server.context import CallNext, HandlerResult
from mcp.server.session import ServerSession
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel

Context = ServerRequestContext[Any, Any]
Answer = types.CreateMessageResult | types.ListRootsResult | types.ElicitResult
A = TypeVar("A", types.CreateMessageResult, types.ListRootsResult, types.ElicitResult)

LEVELS: Sequence[types.LoggingLevel] = (
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
)

ANSWERS: dict[str, type[Answer]] = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}


class NeedsInput(Exception):
    """The call cannot go on in this round; its answer is this `input_required` result."""

    def __init__(self, result: types.InputRequiredResult) -> None:
        super().__init__("input required")
        self.result = result


def object_schema(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def form(message: str, schema: dict[str, Any]) -> types.ElicitRequest:
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt: str, max_tokens: int = 100) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=types.TextContent(text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def roots() -> types.ListRootsRequest:
    return types.ListRootsRequest()


def session_key(ctx: Context) -> str:
    """The HTTP session of a legacy request; on stdio there is only one, the process itself."""
    headers = getattr(ctx.request, "headers", None)
    return cast(str, headers.get("mcp-session-id", "")) if headers is not None else ""


def is_modern(ctx: Context) -> bool:
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def notification(event: ServerEvent) -> types.ServerNotification:
    match event:
        case ToolsListChanged():
            return types.ToolListChangedNotification()
        case PromptsListChanged():
            return types.PromptListChangedNotification()
        case ResourcesListChanged():
            return types.ResourceListChangedNotification()
        case ResourceUpdated(uri=uri):
            return types.ResourceUpdatedNotification(params=types.ResourceUpdatedNotificationParams(uri=uri))


@dataclass
class World:
    """The state of the process: what is listed now, and which clients want to hear of changes."""

    bus: InMemorySubscriptionBus = field(default_factory=InMemorySubscriptionBus)
    sessions: dict[str, ServerSession] = field(default_factory=dict)
    levels: dict[str, types.LoggingLevel] = field(default_factory=dict)
    watchers: dict[str, set[str]] = field(default_factory=dict)
    touches: int = 0
    extra_tool: bool = False
    extra_prompt: bool = False
    calls: int = 0
    cancelled: int = 0

    async def remember(self, ctx: Context, call_next: CallNext) -> HandlerResult:
        """Server middleware: keeps a way back to each legacy session."""
        if not is_modern(ctx) and ctx.method != "initialize":
            self.sessions[session_key(ctx)] = ctx.session
        return await call_next(ctx)

    async def announce(self, event: ServerEvent) -> None:
        await self.bus.publish(event)
        keys = self.watchers.get(event.uri, set()) if isinstance(event, ResourceUpdated) else self.sessions.keys()
        for key in list(keys):
            await self._tell(key, event)

    async def _tell(self, key: str, event: ServerEvent) -> None:
        session = self.sessions.get(key)
        if session is None:
            return
        with anyio.move_on_after(1) as patience:
            try:
                await session.send_notification(notification(event))
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                self.forget(key)
        if patience.cancelled_caught:
            self.forget(key)

    def forget(self, key: str) -> None:
        self.sessions.pop(key, None)
        self.levels.pop(key, None)
        for watchers in self.watchers.values():
            watchers.discard(key)


@dataclass
class Call:
    """One call of a tool or prompt.

    `ask` is the same for both eras. A legacy client is asked while the call is under way. A modern one gets
    `input_required` and calls again: the handler then runs from its start, and finds its earlier answers here.
    """

    world: World
    ctx: Context
    params: types.CallToolRequestParams | types.GetPromptRequestParams

    @property
    def modern(self) -> bool:
        return is_modern(self.ctx)

    @property
    def capabilities(self) -> types.ClientCapabilities:
        return self.ctx.session.client_capabilities or types.ClientCapabilities()

    def can(self, request: types.InputRequest) -> bool:
        match request:
            case types.ElicitRequest(params=types.ElicitRequestURLParams()):
                return self.capabilities.elicitation is not None and self.capabilities.elicitation.url is not None
            case types.ElicitRequest():
                return self.capabilities.elicitation is not None
            case types.CreateMessageRequest():
                return self.capabilities.sampling is not None
            case types.ListRootsRequest():
                return self.capabilities.roots is not None

    async def ask(self, *, keep: bool = False, **requests: types.InputRequest) -> dict[str, Answer]:
        """Put the requests to the client; `keep` makes a modern round carry a `requestState` even when it has none."""
        for request in requests.values():
            self._require(request)
        if self.modern:
            return self._answers(requests, keep=keep)
        meta = ServerMessageMetadata(related_request_id=self.ctx.request_id)
        answers: dict[str, Answer] = {}

        async def put(key: str, request: types.InputRequest) -> None:
            answers[key] = await self.ctx.session.send_request(request, ANSWERS[request.method], metadata=meta)

        if len(requests) == 1:
            await put(*next(iter(requests.items())))
            return answers
        async with anyio.create_task_group() as asking:
            for key, request in requests.items():
                asking.start_soon(put, key, request)
        return answers

    async def ask_one(self, kind: type[A], key: str, request: types.InputRequest, *, keep: bool = False) -> A:
        answer = (await self.ask(keep=keep, **{key: request}))[key]
        if not isinstance(answer, kind):
            raise TypeError(f"{key}: {type(answer).__name__} where {kind.__name__} was due")
        return answer

    def _require(self, request: types.InputRequest) -> None:
        if self.can(request):
            return
        name = {"elicitation/create": "elicitation", "sampling/createMessage": "sampling", "roots/list": "roots"}[
            request.method
        ]
        if not self.modern:
            raise RuntimeError(f"this client does not declare {name}")
        raise MCPError(
            types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"This needs the client's {name}",
            data={"requiredCapabilities": {name: {}}},
        )

    def _answers(self, requests: dict[str, types.InputRequest], *, keep: bool) -> dict[str, Answer]:
        earlier: dict[str, Any] = json.loads(self.params.request_state) if self.params.request_state else {}
        fresh = self.params.input_responses or {}
        answers: dict[str, Answer] = {}
        for key, request in requests.items():
            kind = ANSWERS[request.method]
            given = fresh.get(key)
            if isinstance(given, kind):
                answers[key] = given
            elif key in earlier:
                answers[key] = kind.model_validate(earlier[key])
        missing = {key: request for key, request in requests.items() if key not in answers}
        if not missing:
            return answers
        known = earlier | {
            key: answer.model_dump(mode="json", by_alias=True, exclude_none=True) for key, answer in fresh.items()
        }
        state = json.dumps(known) if known or keep else None
        raise NeedsInput(types.InputRequiredResult(input_requests=missing, request_state=state))

    async def progress(self, done: float, total: float, message: str | None = None) -> None:
        await self.ctx.session.report_progress(done, total, message)

    async def log(self, level: types.LoggingLevel, data: Any, logger: str = "everything") -> None:
        if not self.modern:
            threshold = self.world.levels.get(session_key(self.ctx), "debug")
            if LEVELS.index(level) < LEVELS.index(threshold):
                return
        await self.ctx.session.send_log_message(level, data, logger, self.ctx.request_id)


ToolOutput = str | types.ContentBlock | list[types.ContentBlock] | BaseModel | types.CallToolResult
PromptOutput = list[types.PromptMessage]
ToolFunction = Callable[..., Awaitable[ToolOutput]]
PromptFunction = Callable[[Call, dict[str, str]], Awaitable[PromptOutput]]
