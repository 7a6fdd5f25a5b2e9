"""Peers in memory: clients of the SDK, and the everything server as an object."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import mcp_types as types
from mcp import Client

from isthmus import FastMCP
from tests.conformance.processes import ROOT

sys.path.insert(0, str(ROOT / "examples"))
from everything_server.app import build

__all__ = ["MODES", "Heard", "Mode", "build", "connected", "said"]

Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, ...] = ("legacy", "auto")


class Heard:
    """What a client was told and asked."""

    def __init__(self) -> None:
        self.logs: list[Any] = []
        self.progress: list[float] = []

    async def on_log(self, params: types.LoggingMessageNotificationParams) -> None:
        self.logs.append(params.data)

    async def on_progress(self, progress: float, total: float | None, message: str | None) -> None:
        self.progress.append(progress)

    async def elicit(self, context: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
        return types.ElicitResult(action="accept", content={"answer": params.message})

    async def sample(self, context: Any, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        return types.CreateMessageResult(role="assistant", content=types.TextContent(text="Paris"), model="m")


@asynccontextmanager
async def connected(
    target: object, mode: Mode, heard: Heard | None = None, name: str = "mine"
) -> AsyncIterator[Client]:
    heard = heard or Heard()
    proxy = FastMCP.as_proxy(target, name=name, isolation="session")
    async with Client(
        proxy.memory(),
        mode=mode,
        log_level="info" if mode == "auto" else None,
        read_timeout_seconds=20,
        elicitation_callback=heard.elicit,
        sampling_callback=heard.sample,
        logging_callback=heard.on_log,
    ) as client:
        yield client


async def said(client: Client, tool: str, /, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert isinstance(result, types.CallToolResult)
    return "".join(block.text for block in result.content if isinstance(block, types.TextContent))
