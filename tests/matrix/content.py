"""What the matrix' servers offer: tools, prompts, resources and completions as JSON, for both SDKs."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio

from .calls import Call, Json, Problem

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
ICON = {"src": "data:image/png;base64," + PNG, "mimeType": "image/png", "sizes": ["1x1"]}
ABOUT = {"name": "matrix", "version": "7.1"}
INSTRUCTIONS = "Call a tool; each shows one thing. Ünïcödé too: 例 🦜."
EXTENSIONS: Json = {"io.example/shapes": {"corners": [3, 4]}}
EXPERIMENTAL: Json = {"io.example.trial": {"on": True}}
PAGE = 9
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")

Tool = Callable[[Call, Json], Awaitable[Json]]
TOOLS: dict[str, tuple[Json, Tool]] = {}
STATE: Json = {}


def tool(**more: Any) -> Callable[[Tool], Tool]:
    def add(function: Tool) -> Tool:
        name = function.__name__
        described: Json = {"name": name, "description": function.__doc__, "inputSchema": {"type": "object"}, **more}
        TOOLS[name] = described, function
        return function

    return add


def note(path: str) -> None:
    """Say something that outlives this process, to who waits for it."""
    with suppress(FileNotFoundError):
        Path(path).write_text("cancelled", encoding="utf-8")


def text(said: Any) -> Json:
    return {"content": [{"type": "text", "text": str(said)}], "isError": False}


def structured(value: Any) -> Json:
    return {"content": [{"type": "text", "text": "as data"}], "structuredContent": value, "isError": False}


def form(message: str, **properties: Json) -> Json:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    return {"method": "elicitation/create", "params": {"mode": "form", "message": message, "requestedSchema": schema}}


def sampling(prompt: str, **more: Any) -> Json:
    message = {"role": "user", "content": {"type": "text", "text": prompt}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 99, **more}}


def roots() -> Json:
    return {"method": "roots/list", "params": {}}


STRING: Json = {"type": "string"}

# -- results ----------------------------------------------------------------------------------------------------------


@tool(
    title="Say it again",
    annotations={"title": "Echo", "readOnlyHint": True, "idempotentHint": True, "openWorldHint": False},
    icons=[ICON],
    _meta={"io.example/shelf": [1, {"deep": None}]},
    inputSchema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {"text": {"type": "string", "description": "What to say"}},
        "required": ["text"],
        "additionalProperties": False,
    },
)
async def echo(call: Call, given: Json) -> Json:
    """Says the text back."""
    if not isinstance(given.get("text"), str):
        raise Problem(-32602, "echo needs a text")
    return text(given["text"])


@tool(
    outputSchema={
        "type": "object",
        "properties": {"sum": {"type": "number"}, "parts": {"type": "array", "items": {"type": "number"}}},
        "required": ["sum"],
    }
)
async def add(call: Call, given: Json) -> Json:
    """Adds numbers."""
    return structured({"sum": math.fsum(given["numbers"]), "parts": given["numbers"]})


@tool(
    inputSchema={
        "type": "object",
        "$defs": {"point": {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}]}},
        "properties": {"at": {"$ref": "#/$defs/point"}, "how": {"enum": ["fast", "slow", None]}},
        "if": {"properties": {"how": {"const": "fast"}}},
        "then": {"required": ["at"]},
        "anyOf": [{"required": ["at"]}, {"required": ["how"]}],
    }
)
async def move(call: Call, given: Json) -> Json:
    """Has a schema with the words of 2020-12."""
    return structured({"given": given})


@tool()
async def picture(call: Call, given: Json) -> Json:
    """Shows a picture."""
    return {"content": [{"type": "image", "data": PNG, "mimeType": "image/png", "annotations": {"priority": 0.25}}]}


@tool()
async def sound(call: Call, given: Json) -> Json:
    """Plays a sound."""
    return {"content": [{"type": "audio", "data": WAV, "mimeType": "audio/wav"}]}


@tool()
async def embedded(call: Call, given: Json) -> Json:
    """Embeds resources."""
    inside = {"uri": "test://in", "mimeType": "text/plain", "text": "inside", "_meta": {"io.example/x": 1}}
    blob = {"uri": "test://in/png", "mimeType": "image/png", "blob": PNG}
    return {"content": [{"type": "resource", "resource": inside}, {"type": "resource", "resource": blob}]}


@tool()
async def link(call: Call, given: Json) -> Json:
    """Links to a resource."""
    linked = {"type": "resource_link", "uri": "test://static/text", "name": "text", "title": "A text", "size": 5}
    return {"content": [linked | {"annotations": {"audience": ["user"], "priority": 1.0}}]}


@tool()
async def nothing(call: Call, given: Json) -> Json:
    """Returns no content."""
    return {"content": []}


@tool()
async def marked(call: Call, given: Json) -> Json:
    """Returns `_meta` of its own beside the result."""
    return text("marked") | {"_meta": {"io.example/mark": {"n": 1.5, "s": "ü"}}}


@tool()
async def fails(call: Call, given: Json) -> Json:
    """Fails as a tool fails."""
    return text("It broke.") | {"isError": True}


@tool()
async def raises(call: Call, given: Json) -> Json:
    """Fails with the JSON-RPC error that the arguments say."""
    raise Problem(given["code"], "as asked", given.get("data"))


@tool()
async def big(call: Call, given: Json) -> Json:
    """Returns many characters."""
    return text("é" * given["size"])


@tool()
async def mirror(call: Call, given: Json) -> Json:
    """Gives back what came."""
    return structured({"arguments": given})


@tool()
async def whoami(call: Call, given: Json) -> Json:
    """Says what the client said of itself."""
    return structured(call.who())


@tool()
async def meta(call: Call, given: Json) -> Json:
    """Says which `_meta` of others came."""
    kept = {key: value for key, value in call.meta().items() if "modelcontextprotocol" not in key}
    return structured({"meta": {key: value for key, value in kept.items() if key != "progressToken"}})


# -- what comes before a result ---------------------------------------------------------------------------------------


@tool()
async def steps(call: Call, given: Json) -> Json:
    """Reports progress."""
    for done, total, message in given["steps"]:
        await call.progress(done, total, message)
    return text("done")


@tool()
async def logs(call: Call, given: Json) -> Json:
    """Logs at each level that the arguments say."""
    for level in given["levels"]:
        await call.log(level, given.get("data", f"at {level}"), given.get("logger"))
    return text("logged")


@tool()
async def waits(call: Call, given: Json) -> Json:
    """Reports progress, then waits until it is cancelled, and notes that in a file; it may say more then."""
    try:
        await call.progress(1, 9, "waiting")
        await anyio.sleep(given.get("seconds", 20))
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True):
            if given.get("goes_on"):
                await asyncio.wait([asyncio.ensure_future(call.progress(2, 9, "too late"))], timeout=0.1)
            note(given["note"])
        raise
    return text("waited")


@tool()
async def changes(call: Call, given: Json) -> Json:
    """Announces changes."""
    for kind in given["kinds"]:
        await call.change(kind)
    for uri in given.get("uris", []):
        await call.change("resource", uri)
    return text("announced")


# -- questions --------------------------------------------------------------------------------------------------------


@tool()
async def asks(call: Call, given: Json) -> Json:
    """Asks what the arguments say, round after round, and gives the answers back."""
    heard = []
    for number, questions in enumerate(given["rounds"]):
        if given.get("progress"):
            await call.progress(2 * number + 1, None, f"before round {number}")
        if given.get("logs"):
            await call.log("warning", f"before round {number}")
        try:
            heard.append(await call.ask(**questions))
        except Problem as problem:
            return structured({"rounds": heard, "problem": problem.code})
        if given.get("progress"):
            await call.progress(2 * number + 2, None, f"after round {number}")
    if given.get("fails"):
        return text("It broke after the answers.") | {"isError": True}
    if given.get("raises"):
        raise Problem(-32602, "refused after the answers", {"why": "test"})
    return structured({"rounds": heard})


@tool()
async def thinks(call: Call, given: Json) -> Json:
    """Has a modern client call again twice before it answers, without a question."""
    await call.again(2)
    return text("thought")


@tool()
async def demands(call: Call, given: Json) -> Json:
    """Demands that a URL be opened before it is called (2025-11-25's `-32042`)."""
    where = {"mode": "url", "message": "Sign in", "url": "https://example.com/in", "elicitationId": "e-1"}
    if STATE.pop("opened", None):
        return text("signed in")
    STATE["opened"] = 1
    asyncio.get_running_loop().call_later(0.02, lambda: asyncio.ensure_future(call.opened("e-1")))
    raise Problem(-32042, "Sign in first", {"elicitations": [where]})


async def scalars(call: Call, given: Json) -> Json:
    """Returns structured content that is no object, which only the modern era has; it is in no list."""
    return {"content": [{"type": "text", "text": "[1, 2]" if given.get("says") else "numbers"}]} | {
        "structuredContent": [1, 2],
        "isError": False,
    }


@tool(
    inputSchema={
        "type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": "Region"}, "text": {"type": "string"}},
    }
)
async def placed(call: Call, given: Json) -> Json:
    """Has an argument that is repeated in a header of HTTP."""
    return structured({"arguments": given})


# -- prompts ----------------------------------------------------------------------------------------------------------

PROMPTS: list[Json] = [
    {"name": "plain", "description": "One message", "title": "A plain prompt", "icons": [ICON]},
    {
        "name": "filled",
        "description": "Takes arguments",
        "arguments": [
            {"name": "city", "description": "Where", "required": True},
            {"name": "mood", "description": "How", "required": False},
        ],
        "_meta": {"io.example/p": [1]},
    },
    {"name": "media", "description": "Shows a picture and a resource"},
    {"name": "curious", "description": "Asks first"},
    *({"name": f"more-{number}"} for number in range(12)),
]


def said(*blocks: Json) -> Json:
    return {"description": "Said", "messages": [{"role": "user", "content": block} for block in blocks]}


async def prompt(call: Call, given: Json) -> Json:
    """The result of `prompts/get`."""
    name, arguments = given["name"], given.get("arguments") or {}
    if name == "plain":
        return said({"type": "text", "text": "Plainly."}) | {"_meta": {"io.example/got": True}}
    if name == "filled":
        if "city" not in arguments:
            raise Problem(-32602, "filled needs a city")
        return said({"type": "text", "text": f"{arguments['city']}, {arguments.get('mood', 'as usual')}"})
    if name == "media":
        inside = {"uri": "test://in", "mimeType": "text/plain", "text": "inside"}
        return said({"type": "image", "data": PNG, "mimeType": "image/png"}, {"type": "resource", "resource": inside})
    if name == "curious":
        answer = (await call.ask(name=form("Who are you?", name=STRING)))["name"]
        return said({"type": "text", "text": f"{answer['action']}: {answer.get('content')}"})
    raise Problem(-32602, f"Unknown prompt: {name}")


# -- resources --------------------------------------------------------------------------------------------------------

RESOURCES: list[Json] = [
    {
        "uri": "test://static/text",
        "name": "text",
        "title": "A text",
        "description": "It stays",
        "mimeType": "text/plain",
        "size": 5,
        "annotations": {"audience": ["user", "assistant"], "priority": 0.8, "lastModified": "2025-01-12T15:00:58Z"},
        "icons": [ICON],
        "_meta": {"io.example/r": {"a": None}},
    },
    {"uri": "test://static/png", "name": "png", "mimeType": "image/png"},
    {"uri": "test://watched", "name": "watched"},
    *({"uri": f"test://more/{number}", "name": f"more-{number}"} for number in range(12)),
]
TEMPLATES: list[Json] = [
    {"uriTemplate": "test://items/{id}", "name": "items", "title": "By id", "mimeType": "application/json"},
    *({"uriTemplate": f"test://t{number}/{{x}}", "name": f"t{number}"} for number in range(10)),
]


async def read(call: Call, uri: str) -> Json:
    """The result of `resources/read`."""
    if uri == "test://static/text":
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": "héllo", "_meta": {"io.example/c": 1}}]}
    if uri == "test://static/png":
        return {"contents": [{"uri": uri, "mimeType": "image/png", "blob": PNG}]}
    if uri == "test://many":
        parts = [{"uri": f"{uri}/{number}", "text": str(number)} for number in range(3)]
        return {"contents": parts, "_meta": {"io.example/parts": 3}}
    if uri == "test://curious":
        answer = (await call.ask(name=form("Who are you?", name=STRING)))["name"]
        return {"contents": [{"uri": uri, "text": f"{answer['action']}: {answer.get('content')}"}]}
    if uri.startswith("test://items/"):
        return {"contents": [{"uri": uri, "mimeType": "application/json", "text": uri.rpartition("/")[2]}]}
    raise Problem(-32602 if call.modern else -32002, "Resource not found", {"uri": uri})


# -- lists and completion ---------------------------------------------------------------------------------------------


def page(member: str, items: list[Json], cursor: str | None) -> Json:
    """One page of a list."""
    if cursor is not None and not (cursor.isdecimal() and int(cursor) < len(items)):
        raise Problem(-32602, f"Unknown cursor: {cursor}")
    start = int(cursor or 0)
    end = start + PAGE
    return {member: items[start:end]} | ({"nextCursor": str(end)} if end < len(items) else {})


def tools_page(cursor: str | None) -> Json:
    return page("tools", [described for described, _ in TOOLS.values()], cursor)


async def call_tool(call: Call, given: Json) -> Json:
    """The result of `tools/call`."""
    if given["name"] == "scalars" and call.modern:
        return await scalars(call, given.get("arguments") or {})
    if given["name"] not in TOOLS:
        raise Problem(-32602, f"Unknown tool: {given['name']}")
    return await TOOLS[given["name"]][1](call, given.get("arguments") or {})


async def complete(call: Call, given: Json) -> Json:
    """The result of `completion/complete`."""
    if given["argument"]["value"] == "ask!":  # as none may, and servers do
        try:
            await call.ask(name=form("Who are you?", name=STRING))
        except Problem as problem:
            return {"completion": {"values": [str(problem.code)], "hasMore": False}}
        return {"completion": {"values": ["asked"], "hasMore": False}}
    ref, argument = given["ref"], given["argument"]
    known = {each["name"] for each in PROMPTS} | {each["uriTemplate"] for each in TEMPLATES}
    if ref.get("name", ref.get("uri")) not in known:
        raise Problem(-32602, "Unknown reference")
    chosen = (given.get("context") or {}).get("arguments") or {}
    words = ["paris", "park", "party"] if ref["type"] == "ref/prompt" else [str(number) for number in range(250)]
    words = [f"{chosen['mood']} {word}" for word in words] if "mood" in chosen else words
    found = [word for word in words if argument["value"] in word]
    return {"completion": {"values": found[:100], "total": len(found), "hasMore": len(found) > 100}}
