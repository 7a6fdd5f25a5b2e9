"""Tools for people, and for tests of whatever stands between this server and its client."""

import os
import uuid
from typing import Annotated, Literal

import anyio
import anyio.lowlevel
import mcp_types as types
from mcp.server.subscriptions import PromptsListChanged, ResourceUpdated, ToolsListChanged
from mcp.shared.exceptions import UrlElicitationRequiredError
from pydantic import BaseModel, Field

from .core import Call, form, object_schema, roots, sampling
from .media import ICON, PNG, WAV
from .registry import tool

READ_ONLY = types.ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


class Sum(BaseModel):
    sum: float = Field(description="The two numbers together")


class Environment(BaseModel):
    names: list[str] = Field(description="Names of environment variables, never their values")
    cwd: str


class Stats(BaseModel):
    calls: int
    cancelled: int
    sessions: int
    pid: int


@tool(title="Echo", annotations=READ_ONLY, icons=[ICON])
async def echo(call: Call, text: Annotated[str, Field(description="What to say back")]) -> str:
    """Says the text back."""
    return text


@tool(title="Add two numbers", annotations=READ_ONLY)
async def add(call: Call, a: float, b: float) -> Sum:
    """Adds two numbers; the sum is structured output."""
    return Sum(sum=a + b)


@tool(annotations=READ_ONLY)
async def slow(call: Call, seconds: Annotated[float, Field(ge=0)] = 1.0, steps: Annotated[int, Field(ge=1)] = 5) -> str:
    """Takes its time and reports progress at each step."""
    try:
        for step in range(steps):
            await call.progress(step, steps, f"step {step} of {steps}")
            await anyio.sleep(seconds / steps)
        await call.progress(steps, steps, "done")
    except anyio.get_cancelled_exc_class():
        call.world.cancelled += 1
        raise
    return f"{steps} steps in {seconds:g} s"


@tool(annotations=READ_ONLY)
async def big(call: Call, size: Annotated[int, Field(ge=0, description="Bytes of text")] = 1 << 20) -> str:
    """Returns that many bytes of text."""
    return "x" * size


@tool(annotations=READ_ONLY)
async def show_media(call: Call) -> list[types.ContentBlock]:
    """Returns one block of each kind: text, image, audio, resource and a link to a resource."""
    return [
        types.TextContent(text="One of each", annotations=types.Annotations(audience=["user"], priority=0.5)),
        types.ImageContent(data=PNG, mime_type="image/png"),
        types.AudioContent(data=WAV, mime_type="audio/wav"),
        types.EmbeddedResource(
            resource=types.TextResourceContents(uri="test://embedded", mime_type="text/plain", text="embedded")
        ),
        types.ResourceLink(
            name="static-text", title="The static text", uri="test://static-text", mime_type="text/plain", icons=[ICON]
        ),
    ]


@tool(title="Ask the user")
async def ask(call: Call, question: str = "What is your name?") -> str:
    """Asks the user through a form."""
    answer = await call.ask_one(
        types.ElicitResult, "answer", form(question, object_schema(answer={"type": "string", "title": "Answer"}))
    )
    if answer.action != "accept":
        return f"{answer.action}: no answer"
    return f"accept: {(answer.content or {}).get('answer')}"


@tool()
async def ask_url(
    call: Call, url: str = "https://example.com/confirm", how: Literal["request", "error"] = "request"
) -> str:
    """Sends the user to a URL. `how`: by a request, or (legacy clients) by the error that asks for one."""
    name = None if call.modern else uuid.uuid4().hex
    params = types.ElicitRequestURLParams(message="Please confirm in your browser", url=url, elicitation_id=name)
    if how == "error" and not call.modern:
        raise UrlElicitationRequiredError([params])
    answer = await call.ask_one(types.ElicitResult, "visit", types.ElicitRequest(params=params))
    if name is not None and answer.action == "accept":
        await call.ctx.session.send_elicit_complete(name, call.ctx.request_id)
    return answer.action


@tool()
async def ask_model(call: Call, prompt: str, max_tokens: int = 100) -> str:
    """Has the client's model answer a prompt."""
    answer = await call.ask_one(types.CreateMessageResult, "model", sampling(prompt, max_tokens))
    text = answer.content.text if isinstance(answer.content, types.TextContent) else f"({answer.content.type})"
    return f"{answer.model}: {text}"


@tool()
async def show_roots(call: Call) -> str:
    """Lists the client's roots, one to a line."""
    answer = await call.ask_one(types.ListRootsResult, "roots", roots())
    return "\n".join(f"{root.uri} {root.name or ''}".strip() for root in answer.roots)


@tool()
async def log_at(call: Call, level: types.LoggingLevel = "info", message: str = "A message") -> str:
    """Logs a message at a level."""
    await call.log(level, message)
    return f"logged at {level}"


@tool()
async def toggle_tool(call: Call) -> str:
    """Adds the tool `toggled`, or takes it away again."""
    call.world.extra_tool = not call.world.extra_tool
    await call.world.announce(ToolsListChanged())
    return "added" if call.world.extra_tool else "removed"


@tool()
async def toggle_prompt(call: Call) -> str:
    """Adds the prompt `toggled_prompt`, or takes it away again."""
    call.world.extra_prompt = not call.world.extra_prompt
    await call.world.announce(PromptsListChanged())
    return "added" if call.world.extra_prompt else "removed"


@tool()
async def touch_resource(call: Call, uri: str = "test://watched-resource") -> str:
    """Changes a resource, and tells who subscribed to it."""
    call.world.touches += 1
    await call.world.announce(ResourceUpdated(uri=uri))
    return f"touched {call.world.touches} times"


@tool(annotations=types.ToolAnnotations(destructive_hint=True))
async def crash(call: Call, code: int = 1) -> str:
    """Ends this process at once."""
    await anyio.lowlevel.checkpoint()
    os._exit(code)


@tool(annotations=READ_ONLY)
async def env(call: Call) -> Environment:
    """Names of this process's environment variables, and its directory."""
    return Environment(names=sorted(os.environ), cwd=os.getcwd())


@tool(annotations=READ_ONLY)
async def stats(call: Call) -> Stats:
    """What this process has seen so far."""
    world = call.world
    return Stats(calls=world.calls, cancelled=world.cancelled, sessions=len(world.sessions), pid=os.getpid())
