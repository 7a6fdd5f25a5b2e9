"""The Python SDK 1.30 as a client. It runs in the environment `legacy`."""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

from contextlib import asynccontextmanager

import anyio
from mcp import ClientSession, McpError, StdioServerParameters, types
from mcp.client.sse import sse_client
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from pydantic import TypeAdapter

from .steps import Heard, Json, OnProgress, Peer, play, run


def dump(model) -> Json:  # noqa: ANN001
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


REFERENCE = TypeAdapter(types.PromptReference | types.ResourceTemplateReference)


class Sdk1(Peer):
    errors = (McpError,)

    def __init__(self, session: ClientSession, agreed: types.InitializeResult) -> None:
        self.session = session
        self.agreed = agreed

    async def about(self) -> Json:
        return dump(self.agreed)

    async def withdraw(self) -> None:
        under_way = self.session._request_id - 1
        params = types.CancelledNotificationParams(requestId=under_way, reason="interop")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))

    async def request(self, method: str, params: Json, on_progress: OnProgress | None) -> Json:
        session = self.session
        cursor = types.PaginatedRequestParams(cursor=params["cursor"]) if "cursor" in params else None
        if method == "tools/call":
            arguments = params.get("arguments")
            return dump(await session.call_tool(params["name"], arguments, progress_callback=on_progress))
        senders = {
            "ping": lambda p: session.send_ping(),
            "tools/list": lambda p: session.list_tools(params=cursor),
            "resources/list": lambda p: session.list_resources(params=cursor),
            "resources/templates/list": lambda p: session.list_resource_templates(params=cursor),
            "resources/read": lambda p: session.read_resource(p["uri"]),
            "resources/subscribe": lambda p: session.subscribe_resource(p["uri"]),
            "resources/unsubscribe": lambda p: session.unsubscribe_resource(p["uri"]),
            "prompts/list": lambda p: session.list_prompts(params=cursor),
            "prompts/get": lambda p: session.get_prompt(p["name"], p.get("arguments")),
            "completion/complete": lambda p: session.complete(REFERENCE.validate_python(p["ref"]), p["argument"]),
            "logging/setLevel": lambda p: session.set_logging_level(p["level"]),
            "notifications/roots/list_changed": lambda p: session.send_roots_list_changed(),
        }
        return dump(await senders[method](params))


def callbacks(heard: Heard) -> Json:
    async def elicit(_, params) -> types.ElicitResult:  # noqa: ANN001
        return types.ElicitResult.model_validate(heard.elicit(dump(params)))

    async def sample(_, params) -> types.CreateMessageResult:  # noqa: ANN001
        return types.CreateMessageResult.model_validate(heard.sample(dump(params)))

    async def roots(_) -> types.ListRootsResult:  # noqa: ANN001
        return types.ListRootsResult.model_validate(heard.roots())

    async def log(params) -> None:  # noqa: ANN001
        heard.note("logs", [params.level, params.data])

    async def message(message) -> None:  # noqa: ANN001
        if isinstance(message, types.ServerNotification):
            told = dump(message.root)
            heard.on_notification(told["method"], told.get("params"))

    return {
        "elicitation_callback": elicit,
        "sampling_callback": sample,
        "list_roots_callback": roots,
        "logging_callback": log,
        "message_handler": message,
    }


@asynccontextmanager
async def streams(target: Json):  # noqa: ANN201
    if target.get("url", "").endswith("/sse"):
        async with sse_client(target["url"]) as (read, write):
            yield read, write
    elif "url" in target:
        async with streamable_http_client(target["url"]) as (read, write, *_):
            yield read, write
    else:
        server = StdioServerParameters(command=target["command"][0], args=target["command"][1:])
        try:
            async with stdio_client(server) as (read, write):
                yield read, write
        except* anyio.BrokenResourceError:  # this SDK ends so where the server says something while the client leaves
            pass


async def converse(target: Json, mode: str, steps: list[Json]) -> list[Json]:
    heard = Heard()
    async with streams(target) as (read, write), ClientSession(read, write, **callbacks(heard)) as session:
        peer = Sdk1(session, await session.initialize())
        return await play(peer, heard, steps)


if __name__ == "__main__":
    run(converse)
