"""Calls a tool through a connection that breaks, with the Python SDK 1.x or 2.x; says on stdout what came of it.

With `token` it then asks for the rest of the same stream once more, after the first event that it was given.
"""
# `mcp` is one of two versions, and only one of them is seen by mypy.
# mypy: ignore-errors

import asyncio
import json
import sys

from mcp import ClientSession, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import ClientMessageMetadata


def text_of(result) -> str:  # noqa: ANN001
    return result.content[0].text


async def main(url: str, mode: str) -> None:
    logs, tokens = [], []

    async def log(params) -> None:  # noqa: ANN001
        logs.append(params.data)

    async def token(given: str) -> None:
        tokens.append(given)

    async with (
        streamable_http_client(url) as (read, write, *_),
        ClientSession(read, write, logging_callback=log) as session,
    ):
        await session.initialize()
        request = types.CallToolRequest(method="tools/call", params=types.CallToolRequestParams(name="a"))
        if hasattr(types, "ClientRequest") and isinstance(types.ClientRequest, type):
            request = types.ClientRequest(request)
        metadata = ClientMessageMetadata(on_resumption_token_update=token)
        said = [text_of(await session.send_request(request, types.CallToolResult, metadata=metadata))]
        if mode == "token":
            metadata = ClientMessageMetadata(resumption_token=tokens[0])
            said.append(text_of(await session.send_request(request, types.CallToolResult, metadata=metadata)))
        print(json.dumps({"said": said, "logs": logs}), flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2]))
