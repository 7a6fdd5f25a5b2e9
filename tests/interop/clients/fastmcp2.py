"""FastMCP 2.11's own client. It runs in the environment `fastmcp2`."""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.transports import StdioTransport
from mcp import McpError

from .steps import Heard, Json, OnProgress, Peer, play, run


def dump(model) -> Json:  # noqa: ANN001
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)


class FastMCP2(Peer):
    errors = (McpError,)

    def __init__(self, client: Client) -> None:
        self.client = client

    async def about(self) -> Json:
        return dump(self.client.initialize_result)

    async def request(self, method: str, params: Json, on_progress: OnProgress | None) -> Json:
        client = self.client
        senders = {
            "tools/list": lambda _: client.list_tools_mcp(),
            "tools/call": lambda p: client.call_tool_mcp(p["name"], p.get("arguments") or {}, on_progress),
            "resources/read": lambda p: client.read_resource_mcp(p["uri"]),
            "prompts/get": lambda p: client.get_prompt_mcp(p["name"], p.get("arguments")),
        }
        return dump(await senders[method](params))


async def converse(target: Json, mode: str, steps: list[Json]) -> list[Json]:
    heard = Heard()

    async def elicit(message, kind, params, context) -> ElicitResult:  # noqa: ANN001
        return ElicitResult(**heard.elicit(dump(params)))

    server = target.get("url") or StdioTransport(target["command"][0], target["command"][1:], keep_alive=False)
    async with Client(server, timeout=15, elicitation_handler=elicit) as client:
        return await play(FastMCP2(client), heard, steps)


if __name__ == "__main__":
    run(converse)
