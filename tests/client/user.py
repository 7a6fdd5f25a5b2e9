"""A user's program that uses all of the client, under strict type checking (`make check`); a test runs it."""

import asyncio
import datetime
import sys
from pathlib import Path
from typing import Any, assert_type

import mcp.types
from mcp.client.session import ClientRequestContext
from mcp.shared.subscriptions import ServerEvent

from isthmus import Client
from isthmus.client.client import CallToolResult
from isthmus.client.elicitation import ElicitationHandler, ElicitRequestParams, ElicitResult
from isthmus.client.logging import LogHandler, LogMessage
from isthmus.client.messages import MessageHandler
from isthmus.client.progress import ProgressHandler
from isthmus.client.roots import RootsList
from isthmus.client.sampling import SamplingHandler, SamplingMessage, SamplingParams
from isthmus.client.transports import (
    ClientTransport,
    FastMCPTransport,
    MCPConfigTransport,
    PythonStdioTransport,
    StdioTransport,
    StreamableHttpTransport,
)
from isthmus.exceptions import McpError, ToolError
from isthmus.mcp_config import MCPConfig, RemoteMCPServer, StdioMCPServer

EXAMPLE = Path(__file__).parents[2] / "examples" / "everything.py"


async def sample(messages: list[SamplingMessage], params: SamplingParams, context: ClientRequestContext) -> str:
    return f"{len(messages)} of {params.max_tokens}"


async def elicit(
    message: str, response_type: type[Any], params: ElicitRequestParams, context: ClientRequestContext
) -> ElicitResult[dict[str, str]]:
    return ElicitResult(action="accept", content={"answer": message})


async def log(message: LogMessage) -> None:
    assert_type(message.level, mcp.types.LoggingLevel)


async def follow(progress: float, total: float | None, message: str | None) -> None:
    print(progress, total, message)


def roots(context: ClientRequestContext) -> RootsList:
    return ["file:///home/ada"]


class Ear(MessageHandler):
    async def on_tool_list_changed(self, message: mcp.types.ToolListChangedNotification) -> None:
        print(message.method)


HANDLERS: tuple[SamplingHandler, ElicitationHandler[Any], LogHandler, ProgressHandler] = (sample, elicit, log, follow)


def clients() -> None:
    assert_type(Client(PythonStdioTransport(EXAMPLE)), Client[PythonStdioTransport])
    assert_type(Client(StreamableHttpTransport("http://127.0.0.1:1/mcp", auth="abc")), Client[StreamableHttpTransport])
    assert_type(Client(StdioTransport("cat", [], keep_alive=True)).transport, StdioTransport)
    by_text: Client = Client("http://127.0.0.1:1/mcp", auth="abc")
    assert_type(by_text.transport, ClientTransport)
    servers = MCPConfig(mcpServers={"a": StdioMCPServer(command="cat"), "b": RemoteMCPServer(url="http://127.0.0.1:1")})
    assert_type(Client(MCPConfigTransport(servers)).new(), Client[MCPConfigTransport])
    assert issubclass(FastMCPTransport, ClientTransport)


async def use() -> None:
    client = Client(
        PythonStdioTransport(EXAMPLE),
        roots=roots,
        sampling_handler=sample,
        elicitation_handler=elicit,
        log_handler=log,
        message_handler=Ear(),
        progress_handler=follow,
        timeout=datetime.timedelta(seconds=20),
        init_timeout=20,
        client_info=mcp.types.Implementation(name="user", version="1"),
        mode="auto",
    )
    async with client as same:
        assert_type(same, Client[PythonStdioTransport])
        assert_type(await client.list_tools(), list[mcp.types.Tool])
        assert_type(await client.list_resources(), list[mcp.types.Resource])
        assert_type(await client.list_resource_templates(), list[mcp.types.ResourceTemplate])
        assert_type(await client.list_prompts(), list[mcp.types.Prompt])
        assert_type(await client.call_tool("add", {"a": 1, "b": 2}, meta={"x": 1}), CallToolResult)
        assert_type(await client.call_tool_mcp("add", {"a": 1, "b": 2}), mcp.types.CallToolResult)
        assert_type(
            await client.read_resource("test://static-text"),
            list[mcp.types.TextResourceContents | mcp.types.BlobResourceContents],
        )
        assert_type(await client.get_prompt("test_simple_prompt"), mcp.types.GetPromptResult)
        assert_type(await client.ping(), bool)
        assert_type(client.initialize_result, mcp.types.InitializeResult)
        async with client.listen(tools_list_changed=True) as events:
            await client.call_tool("toggle_tool")
            assert_type(await anext(events), ServerEvent)
        try:
            await client.call_tool("test_error_handling", timeout=5)
        except ToolError as error:
            print(error)
        try:
            await client.read_resource("test://nowhere")
        except McpError as refused:
            assert_type(refused.error.code, int)
    assert not client.is_connected()
    await client.close()


if __name__ == "__main__":
    clients()
    asyncio.run(use())
    sys.stdout.write("done\n")
