"""A server written with FastMCP 4: on stdio, on HTTP with `--http PORT`, or on HTTP+SSE with `--sse PORT`."""

import argparse
import base64
from dataclasses import dataclass

import anyio
import mcp_types as types
from fastmcp import Context, FastMCP
from fastmcp.utilities.types import Image

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
mcp = FastMCP("fastmcp4", instructions="A server of FastMCP 4.", list_page_size=4)


@dataclass
class Sum:
    sum: float


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
async def log_at(ctx: Context, level: types.LoggingLevel, message: str) -> str:
    await ctx.log(message, level=level)
    return "logged"


@mcp.tool
async def ask(ctx: Context) -> str | types.InputRequiredResult:
    """In the modern era a tool asks by its result, and is called again with the answer."""
    answer = (ctx.input_responses or {}).get("name")
    if isinstance(answer, types.ElicitResult):
        return f"accept: {(answer.content or {})['name']}" if answer.action == "accept" else answer.action
    if ctx.session.protocol_version in ("2025-06-18", "2025-11-25"):
        told = await ctx.elicit("What is your name?", response_type=str)
        return f"accept: {told.data}" if told.action == "accept" else told.action
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    form = types.ElicitRequestFormParams(message="What is your name?", requested_schema=schema)
    asked: dict[str, types.InputRequest] = {"name": types.ElicitRequest(params=form)}
    return types.InputRequiredResult(input_requests=asked, request_state="asked-once")


@mcp.tool
async def toggle_tool(ctx: Context) -> str:
    await ctx.send_notification(types.ToolListChangedNotification())
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


@mcp.completion
async def complete(
    ref: types.PromptReference | types.ResourceTemplateReference,
    argument: types.CompletionArgument,
    context: types.CompletionContext | None,
) -> list[str]:
    return [word for word in ("Ada", "Adam", "Bea") if word.startswith(argument.value)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT")
    parser.add_argument("--sse", type=int, metavar="PORT")
    given = parser.parse_args()
    if given.http is not None:
        mcp.run("http", host="127.0.0.1", port=given.http, show_banner=False, log_level="error")
    elif given.sse is not None:
        mcp.run("sse", host="127.0.0.1", port=given.sse, show_banner=False, log_level="error")
    else:
        mcp.run("stdio", show_banner=False)


if __name__ == "__main__":
    main()
