"""A server of FastMCP 2.11: on stdio, or on HTTP with `--http PORT`. It runs in the environment `fastmcp2`."""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

import argparse
import base64
from dataclasses import dataclass

import anyio
from fastmcp import Context, FastMCP
from fastmcp.utilities.types import Image

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
mcp = FastMCP("fastmcp2", instructions="A server of FastMCP 2.")


@dataclass
class Sum:
    sum: float


@dataclass
class Name:
    name: str


@dataclass
class World:
    cancelled: int = 0


world = World()


@mcp.tool(output_schema=None)
async def echo(text: str) -> str:
    return text


@mcp.tool
async def add(a: float, b: float) -> Sum:
    return Sum(sum=a + b)


@mcp.tool
async def picture() -> Image:
    return Image(data=PNG, format="png")


@mcp.tool
async def fail() -> str:
    raise RuntimeError("as it should")


@mcp.tool
async def slow(ctx: Context, steps: int = 3, seconds: float = 0.03) -> str:
    try:
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps)
            await anyio.sleep(seconds / steps)
    except anyio.get_cancelled_exc_class():
        world.cancelled += 1
        raise
    return "done"


@mcp.tool
async def stats() -> World:
    return world


@mcp.tool
async def log_at(ctx: Context, level: str, message: str) -> str:
    await ctx.log(message, level=level)
    return "logged"


@mcp.tool(output_schema=None)
async def ask(ctx: Context) -> str:
    told = await ctx.elicit("What is your name?", response_type=Name)
    return f"accept: {told.data.name}" if told.action == "accept" else told.action


@mcp.tool
async def toggle_tool(ctx: Context) -> str:
    await ctx.send_tool_list_changed()
    return "announced"


@mcp.resource("test://note", mime_type="text/plain")
def note() -> str:
    return "a note"


@mcp.resource("test://item/{number}", mime_type="text/plain")
def item(number: str) -> str:
    return f"item {number}"


@mcp.prompt
def greet(name: str) -> str:
    return f"Greet {name}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT")
    port = parser.parse_args().http
    if port is None:
        mcp.run("stdio", show_banner=False)
    else:
        mcp.run("http", host="127.0.0.1", port=port, show_banner=False, log_level="error")


if __name__ == "__main__":
    main()
