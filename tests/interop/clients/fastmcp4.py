"""FastMCP's own client."""

import warnings
from collections.abc import Awaitable, Callable
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from pydantic import BaseModel

from .sdk2 import callbacks, dump, reference
from .steps import Heard, Json, OnProgress, Peer, play, run


class FastMCP4(Peer):
    errors = (MCPError,)

    def __init__(self, client: Client[Any]) -> None:
        self.client = client

    async def about(self) -> Json:
        client = self.client
        return {
            "protocolVersion": client.protocol_version,
            "serverInfo": dump(client.server_info),
            "capabilities": dump(client.server_capabilities),
            "instructions": client.instructions,
        }

    async def request(self, method: str, params: Json, on_progress: OnProgress | None) -> Json:
        if method == "ping":
            return {} if await self.client.ping() else {"pong": False}
        if method == "tools/call":
            name, arguments = params["name"], params.get("arguments") or {}
            return dump(await self.client.call_tool_mcp(name, arguments, progress_handler=on_progress))
        return dump(await self._senders()[method](params))

    def _senders(self) -> dict[str, Callable[[Json], Awaitable[BaseModel | None]]]:
        client = self.client
        return {
            "tools/list": lambda p: client.list_tools_mcp(cursor=p.get("cursor")),
            "resources/list": lambda p: client.list_resources_mcp(cursor=p.get("cursor")),
            "resources/templates/list": lambda p: client.list_resource_templates_mcp(cursor=p.get("cursor")),
            "resources/read": lambda p: client.read_resource_mcp(p["uri"]),
            "prompts/list": lambda p: client.list_prompts_mcp(cursor=p.get("cursor")),
            "prompts/get": lambda p: client.get_prompt_mcp(p["name"], p.get("arguments")),
            "completion/complete": lambda p: client.complete_mcp(reference(p["ref"]), p["argument"]),
            "logging/setLevel": lambda p: client.set_logging_level(p["level"]),
            "notifications/roots/list_changed": lambda _: client.send_roots_list_changed(),
        }


async def converse(target: Json, mode: str, steps: list[Json]) -> list[Json]:
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    heard = Heard()
    told = callbacks(heard)

    async def roots(context: Any) -> Any:
        return (await told["list_roots_callback"](context)).roots

    async def sample(messages: Any, params: Any, context: Any) -> Any:
        return await told["sampling_callback"](context, params)

    async def elicit(message: str, kind: Any, params: Any, context: Any) -> Any:
        result = await told["elicitation_callback"](context, params)
        return result

    server: Any = target.get("url") or StdioTransport(target["command"][0], target["command"][1:], keep_alive=False)
    async with Client(
        server,
        mode=mode,
        timeout=15,
        roots=roots,
        sampling_handler=sample,
        elicitation_handler=elicit,
        log_handler=told["logging_callback"],
        message_handler=told["message_handler"],
    ) as client:
        return await play(FastMCP4(client), heard, steps)


if __name__ == "__main__":
    run(converse)
