"""An SDK client of a `LocalServer`: of the server itself, and through the engine, in both eras."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from mcp import Client
from mcp.types import TextContent

from isthmus.components.local import LocalServer
from isthmus.engine.settings import Settings
from isthmus.run import serve_memory
from isthmus.transports.memory import target_of

MODES: Final = {"legacy": "legacy", "modern": "2026-07-28"}
WAYS: Final = [f"{path}-{era}" for path in ("itself", "engine") for era in MODES]
every_way = pytest.mark.parametrize("way", WAYS)


def play(script: Coroutine[Any, Any, None]) -> None:
    """Run a test's script, for 20 seconds at most."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await script

    asyncio.run(bounded())


@asynccontextmanager
async def meet(local: LocalServer, way: str, **handlers: Any) -> AsyncIterator[Client]:
    """A connected client."""
    path, _, era = way.partition("-")
    server: Any = local.server if path == "itself" else serve_memory(target_of(local.server), Settings())
    async with Client(server, mode=MODES[era], **handlers) as client:
        yield client
    local.close()


def text(result: Any) -> str:
    """The text of a tool's or prompt's only block."""
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text
