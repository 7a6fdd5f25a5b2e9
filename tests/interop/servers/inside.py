"""isthmus inside a Python program, where the command has no way: memory, in front or behind.

`inside.py FRONT PORT BACK`. FRONT is stdio, http, sse or memory: then lines on stdin and stdout are what a client in
this process would write and read. BACK is a URL, `-- COMMAND…`, or `--memory NAME`: a server object, in this process.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from isthmus import FastMCP

PAGE = 7


def server_object(name: str) -> object:
    if name == "fastmcp4":
        return import_module(name).mcp  # the script beside this one
    sys.path.insert(0, str(Path(__file__).parents[3] / "examples"))
    from everything_server.app import build

    return build(PAGE)


def backend(given: list[str]) -> object:
    match given:
        case ["--memory", name]:
            return server_object(name)
        case ["--", *command]:
            return command
        case _:
            return given[0]


async def carry(proxy: FastMCP) -> None:
    async with proxy.memory() as (read, write), anyio.create_task_group() as group:
        group.start_soon(speak, read)
        async for line in anyio.wrap_file(sys.stdin):
            await write.send(SessionMessage(jsonrpc_message_adapter.validate_json(line)))
        group.cancel_scope.cancel()


async def speak(read: Any) -> None:
    async for message in read:
        print(message.message.model_dump_json(by_alias=True, exclude_unset=True), flush=True)


def main(front: str, port: int, back: list[str]) -> None:
    # As the command does; with a session for each request, lists would come whole.
    proxy = FastMCP.as_proxy(backend(back), isolation="session")
    match front:
        case "memory":
            anyio.run(carry, proxy)
        case "stdio":
            proxy.run(front)
        case "http" | "sse":
            proxy.run(front, port=port)
        case _:
            sys.exit(f"There is no front {front!r}.")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
