"""The Python SDK 2.x as a client, in each of its modes."""

import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.abc
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.subscriptions import Subscription
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp.shared.subscriptions import event_to_notification
from pydantic import BaseModel

from .steps import Heard, Json, OnProgress, Peer, play, run

LISTEN = {
    "toolsListChanged": "tools_list_changed",
    "promptsListChanged": "prompts_list_changed",
    "resourcesListChanged": "resources_list_changed",
    "resourceSubscriptions": "resource_subscriptions",
}


def dump(model: BaseModel | None) -> Json:
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


def reference(params: Json) -> types.PromptReference | types.ResourceTemplateReference:
    kind = types.PromptReference if params["type"] == "ref/prompt" else types.ResourceTemplateReference
    return kind.model_validate(params)


class Sdk2(Peer):
    errors = (MCPError,)

    def __init__(self, client: Client, heard: Heard, group: anyio.abc.TaskGroup, stack: AsyncExitStack) -> None:
        self.client = client
        self.heard = heard
        self.group = group
        self.stack = stack

    async def about(self) -> Json:
        client = self.client
        return {
            "protocolVersion": client.protocol_version,
            "serverInfo": dump(client.server_info),
            "capabilities": dump(client.server_capabilities),
            "instructions": client.instructions,
        }

    async def request(self, method: str, params: Json, on_progress: OnProgress | None) -> Json:
        if method == "subscriptions/listen":
            return await self._listen(params["notifications"])
        if method == "tools/call":
            name, arguments = params["name"], params.get("arguments")
            return dump(await self.client.call_tool(name, arguments, progress_callback=on_progress))
        return dump(await self._senders()[method](params))

    def _senders(self) -> dict[str, Callable[[Json], Awaitable[BaseModel | None]]]:
        client = self.client
        return {
            "ping": lambda _: client.send_ping(),
            "tools/list": lambda p: client.list_tools(cursor=p.get("cursor"), cache_mode="bypass"),
            "resources/list": lambda p: client.list_resources(cursor=p.get("cursor"), cache_mode="bypass"),
            "resources/templates/list": lambda p: client.list_resource_templates(cursor=p.get("cursor")),
            "resources/read": lambda p: client.read_resource(p["uri"], cache_mode="bypass"),
            "resources/subscribe": lambda p: client.subscribe_resource(p["uri"]),
            "resources/unsubscribe": lambda p: client.unsubscribe_resource(p["uri"]),
            "prompts/list": lambda p: client.list_prompts(cursor=p.get("cursor"), cache_mode="bypass"),
            "prompts/get": lambda p: client.get_prompt(p["name"], p.get("arguments")),
            "completion/complete": lambda p: client.complete(reference(p["ref"]), p["argument"]),
            "logging/setLevel": lambda p: client.set_logging_level(p["level"]),
            "notifications/roots/list_changed": lambda _: client.send_roots_list_changed(),
        }

    async def _listen(self, wanted: Json) -> Json:
        arguments: Json = {LISTEN[name]: value for name, value in wanted.items()}
        subscription = await self.stack.enter_async_context(self.client.listen(**arguments))
        self.group.start_soon(self._hear, subscription)
        return {"notifications": dump(subscription.honored)}

    async def _hear(self, subscription: Subscription) -> None:
        async for event in subscription:
            told = dump(event_to_notification(event, {}))
            self.heard.on_notification(told["method"], told.get("params"))


def callbacks(heard: Heard) -> Json:
    """What the client answers and hears; FastMCP's client takes the same under other names."""

    async def elicit(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult.model_validate(heard.elicit(dump(params)))

    async def sample(_: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        return types.CreateMessageResult.model_validate(heard.sample(dump(params)))

    async def roots(_: Any) -> types.ListRootsResult:
        return types.ListRootsResult.model_validate(heard.roots())

    async def log(params: types.LoggingMessageNotificationParams) -> None:
        heard.note("logs", [params.level, params.data])

    async def message(message: object) -> None:
        if isinstance(message, types.Notification):
            told = dump(message)
            heard.on_notification(told["method"], told.get("params"))

    return {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "list_roots_callback": roots,
        "logging_callback": log,
        "message_handler": message,
    }


@asynccontextmanager
async def connected(target: Json, mode: str, heard: Heard) -> AsyncIterator[Sdk2]:
    server: Any = target.get("url") or StdioServerParameters(command=target["command"][0], args=target["command"][1:])
    if target.get("url", "").endswith("/sse"):
        server = sse_client(target["url"])
    told: Json = callbacks(heard)
    if mode != "legacy":
        del told["message_handler"]  # its listen streams tell, once
    async with (
        Client(
            server, mode=mode, log_level="info" if mode == "auto" else None, read_timeout_seconds=15, **told
        ) as client,
        anyio.create_task_group() as group,
        AsyncExitStack() as stack,
    ):
        yield Sdk2(client, heard, group, stack)
        group.cancel_scope.cancel()


async def converse(target: Json, mode: str, steps: list[Json]) -> list[Json]:
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    heard = Heard()
    async with connected(target, mode, heard) as peer:
        return await play(peer, heard, steps)


if __name__ == "__main__":
    run(converse)
