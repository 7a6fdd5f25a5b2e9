"""A server of the Python SDK 1.30, in the environment `legacy`: on stdio, or with `--http PORT` or `--sse PORT`."""
# `mcp` is another version here than the one that mypy sees.
# mypy: ignore-errors

import argparse
import base64
import uuid

import anyio
from mcp import types
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.server.lowlevel import NotificationOptions
from pydantic import BaseModel

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
)
NOTE = "test://note"
PAGE = 5
mcp = FastMCP("sdk1", instructions="A server of the earlier SDK.", log_level="ERROR")
low = mcp._mcp_server
cancelled = 0
levels: dict[object, str] = {}
watched: dict[object, set[str]] = {}


class Sum(BaseModel):
    sum: float


class Count(BaseModel):
    cancelled: int


class Name(BaseModel):
    name: str


@mcp.tool()
async def echo(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)])


@mcp.tool()
async def add(a: float, b: float) -> Sum:
    return Sum(sum=a + b)


@mcp.tool()
async def picture() -> Image:
    return Image(data=PNG, format="png")


@mcp.tool()
async def fail() -> str:
    raise RuntimeError("as it should")


@mcp.tool()
async def slow(ctx: Context, steps: int = 3, seconds: float = 0.03) -> str:
    global cancelled
    try:
        for step in range(1, steps + 1):
            await ctx.report_progress(step, steps)
            await anyio.sleep(seconds / steps)
    except anyio.get_cancelled_exc_class():
        cancelled += 1
        raise
    return "done"


@mcp.tool()
async def stats() -> Count:
    return Count(cancelled=cancelled)


@mcp.tool()
async def log_at(ctx: Context, level: str, message: str) -> str:
    order = ["debug", "info", "notice", "warning", "error"]
    if order.index(level) >= order.index(levels.get(ctx.session, "debug")):
        await ctx.session.send_log_message(level, message, related_request_id=ctx.request_id)
    return "logged"


@mcp.tool()
async def ask(ctx: Context) -> str:
    answer = await ctx.elicit("What is your name?", Name)
    return f"accept: {answer.data.name}" if answer.action == "accept" else answer.action


@mcp.tool()
async def ask_url(ctx: Context) -> str:
    name = uuid.uuid4().hex
    answer = await ctx.session.elicit_url("Please confirm", "https://example.com/x", name, ctx.request_id)
    await ctx.session.send_elicit_complete(name, ctx.request_id)
    return answer.action


@mcp.tool()
async def ask_model(ctx: Context, prompt: str) -> str:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = await ctx.session.create_message([message], max_tokens=9, related_request_id=ctx.request_id)
    return f"{answer.model}: {answer.content.text}"


@mcp.tool()
async def show_roots(ctx: Context) -> str:
    """The SDK asks this on the session's own stream, not on the call's."""
    return " ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)


@mcp.tool()
async def toggle_tool(ctx: Context) -> str:
    await ctx.session.send_tool_list_changed()
    return "announced"


@mcp.tool()
async def touch(ctx: Context) -> str:
    if NOTE in watched.get(ctx.session, ()):
        await ctx.session.send_resource_updated(NOTE)
    return "touched"


@mcp.resource(NOTE, mime_type="text/plain")
def note() -> str:
    return "a note"


@mcp.resource("test://item/{number}", mime_type="text/plain")
def item(number: str) -> str:
    return f"item {number}"


@mcp.prompt()
def greet(name: str) -> str:
    return f"Greet {name}."


@mcp.completion()
async def complete(ref, argument, context) -> types.Completion:  # noqa: ANN001
    return types.Completion(values=[word for word in ("Ada", "Adam", "Bea") if word.startswith(argument.value)])


@low.list_tools()
async def list_tools(request: types.ListToolsRequest) -> types.ListToolsResult:
    # The SDK itself asks for the whole list, without a request.
    start = int(request.params.cursor) if request and request.params and request.params.cursor else 0
    tools = await mcp.list_tools()
    end = start + PAGE if request else len(tools)
    return types.ListToolsResult(tools=tools[start:end], nextCursor=str(end) if end < len(tools) else None)


@low.set_logging_level()
async def set_level(level: str) -> None:
    levels[low.request_context.session] = level


@low.subscribe_resource()
async def subscribe(uri: object) -> None:
    watched.setdefault(low.request_context.session, set()).add(str(uri))


@low.unsubscribe_resource()
async def unsubscribe(uri: object) -> None:
    watched.get(low.request_context.session, set()).discard(str(uri))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--http", type=int, metavar="PORT")
    parser.add_argument("--sse", type=int, metavar="PORT")
    options = parser.parse_args()
    port = options.http or options.sse
    changes = NotificationOptions(tools_changed=True, resources_changed=True, prompts_changed=True)
    make = low.create_initialization_options
    low.create_initialization_options = lambda *_: make(changes)
    if port is None:
        mcp.run("stdio")
    else:
        mcp.settings.port = port
        mcp.run("sse" if options.sse else "streamable-http")


if __name__ == "__main__":
    main()
