"""Tools, prompts, resources and completion."""

from typing import Any

from tests.matrix.book import LEGACY_BACK, each, row
from tests.matrix.content import PROMPTS, RESOURCES, TEMPLATES, TOOLS
from tests.matrix.peer import Json, Peer, outcome
from tests.matrix.reasons import Reason

TOOLS_PAGE = "2025-11-25/server/tools.mdx"
NEW_TOOLS_PAGE = "2026-07-28/server/tools.mdx"
PROMPTS_PAGE = "2025-11-25/server/prompts.mdx"
RESOURCES_PAGE = "2025-11-25/server/resources.mdx"
PAGES = "2025-11-25/server/utilities/pagination.mdx"
COMPLETION = "2025-11-25/server/utilities/completion.mdx"
CACHING = "2026-07-28/server/utilities/caching.mdx"


async def whole(peer: Peer, method: str, member: str) -> list[Json]:
    """A list, all pages of it."""
    items: list[Json] = []
    cursor: Json = {}
    while True:
        page = await peer.request(method, cursor)
        items += page[member]
        if "nextCursor" not in page:
            return items
        cursor = {"cursor": page["nextCursor"]}


# -- tools ------------------------------------------------------------------------------------------------------------


@row("tools", "the list, with all that describes a tool", TOOLS_PAGE)
async def tools(peer: Peer) -> Any:
    listed = await whole(peer, "tools/list", "tools")
    assert [each["name"] for each in listed] == list(TOOLS)
    first = listed[0]
    assert {"title", "annotations", "icons", "inputSchema", "_meta"} <= first.keys()
    return listed


@row("tools", "text", TOOLS_PAGE)
async def text(peer: Peer) -> Any:
    result = await peer.call("echo", text="héllo 🦜")
    assert result["content"] == [{"type": "text", "text": "héllo 🦜"}]
    return result


@row("tools", "structured content, as its schema says", TOOLS_PAGE)
async def structured(peer: Peer) -> Any:
    result = await peer.call("add", numbers=[1, 2.5])
    assert result["structuredContent"]["sum"] == 3.5
    return result


def _content(tool: str, shows: str, *kinds: str) -> None:
    @row("tools", shows, TOOLS_PAGE)
    async def content(peer: Peer) -> Any:
        result = await peer.call(tool)
        assert [block["type"] for block in result["content"]] == list(kinds)
        return result


_content("picture", "an image", "image")
_content("sound", "a sound", "audio")
_content("embedded", "embedded resources", "resource", "resource")
_content("link", "a link to a resource", "resource_link")
_content("nothing", "no content at all")


@row("tools", "a failure of the tool", TOOLS_PAGE)
async def fails(peer: Peer) -> Any:
    result = await peer.call("fails")
    assert result["isError"] is True
    return result


@row("tools", "a tool that isn't there", TOOLS_PAGE)
async def unknown_tool(peer: Peer) -> Any:
    answer = await outcome(peer.call("no-such-tool"))
    assert answer["error"] == -32602
    return answer


@row("tools", "arguments that the tool refuses", TOOLS_PAGE)
async def bad_arguments(peer: Peer) -> Any:
    answer = await outcome(peer.call("echo", text=5))
    assert answer["error"] == -32602
    return answer


@row("tools", "a call without arguments", TOOLS_PAGE)
async def no_arguments(peer: Peer) -> Any:
    result = await peer.request("tools/call", {"name": "mirror"})
    assert result["structuredContent"] == {"arguments": {}}
    return result


@row("tools", "arguments of a schema with words of 2020-12", TOOLS_PAGE)
async def new_words(peer: Peer) -> Any:
    return await peer.call("move", at=[1, 2], how="fast")


@row("tools", "an argument that HTTP repeats in a header", "2026-07-28/basic/transports/streamable-http.mdx")
async def placed(peer: Peer) -> Any:
    await peer.learn_tools()
    result = await peer.call("placed", region="éu-west 1", text="x")
    assert result["structuredContent"]["arguments"]["region"] == "éu-west 1"
    return result


NUMBERS = {"type": "text", "text": "[1,2]"}


@row(
    "tools",
    "structured content that is no object",
    NEW_TOOLS_PAGE,
    never=each(LEGACY_BACK, Reason.OBJECTS),
    instead={("legacy", "modern"): ([[{"type": "text", "text": "numbers"}, NUMBERS], None], Reason.OBJECTS)},
)
async def scalars(peer: Peer) -> Any:
    result = await peer.call("scalars")
    return [result["content"], result.get("structuredContent")]


@row(
    "tools",
    "structured content that is no object, and stands in a text too",
    NEW_TOOLS_PAGE,
    never=each(LEGACY_BACK, Reason.OBJECTS),
    instead={("legacy", "modern"): ([[{"type": "text", "text": "[1, 2]"}], None], Reason.OBJECTS)},
)
async def said_scalars(peer: Peer) -> Any:
    result = await peer.call("scalars", says=True)
    return [result["content"], result.get("structuredContent")]


# -- lists ------------------------------------------------------------------------------------------------------------


def _pages(method: str, member: str, known: list[Any]) -> None:
    @row("lists", f"pages of {method}", PAGES)
    async def pages(peer: Peer) -> Any:
        first = await peer.request(method)
        assert 0 < len(first[member]) < len(known)
        assert isinstance(first["nextCursor"], str)
        items = await whole(peer, method, member)
        assert len(items) == len(known)
        return items

    @row("lists", f"a cursor that {method} didn't give", PAGES)
    async def bad_cursor(peer: Peer) -> Any:
        answer = await outcome(peer.request(method, {"cursor": "nonsense"}))
        assert answer["error"] == -32602
        return answer["error"]


_pages("tools/list", "tools", list(TOOLS))
_pages("prompts/list", "prompts", PROMPTS)
_pages("resources/list", "resources", RESOURCES)
_pages("resources/templates/list", "resourceTemplates", TEMPLATES)


@row("lists", "how long results may be kept", CACHING)
async def caching(peer: Peer) -> Any:
    results = [
        await peer.request("tools/list"),
        await peer.request("prompts/list"),
        await peer.request("resources/list"),
        await peer.request("resources/templates/list"),
        await peer.request("resources/read", {"uri": "test://static/text"}),
    ]
    assert all((peer.era == "modern") == ("ttlMs" in each) for each in results)
    return [[each.get("ttlMs"), each.get("cacheScope"), each.get("resultType")] for each in results]


# -- prompts ----------------------------------------------------------------------------------------------------------


@row("prompts", "a prompt", PROMPTS_PAGE)
async def plain(peer: Peer) -> Any:
    result = await peer.request("prompts/get", {"name": "plain"})
    assert result["messages"][0]["content"]["text"] == "Plainly."
    return result


@row("prompts", "a prompt with arguments", PROMPTS_PAGE)
async def filled(peer: Peer) -> Any:
    result = await peer.request("prompts/get", {"name": "filled", "arguments": {"city": "Zürich"}})
    assert result["messages"][0]["content"]["text"] == "Zürich, as usual"
    return result


@row("prompts", "a picture and a resource in a prompt", PROMPTS_PAGE)
async def media(peer: Peer) -> Any:
    result = await peer.request("prompts/get", {"name": "media"})
    assert [each["content"]["type"] for each in result["messages"]] == ["image", "resource"]
    return result


@row("prompts", "an argument that is missing", PROMPTS_PAGE)
async def missing_argument(peer: Peer) -> Any:
    answer = await outcome(peer.request("prompts/get", {"name": "filled"}))
    assert answer["error"] == -32602
    return answer


@row("prompts", "a prompt that isn't there", PROMPTS_PAGE)
async def unknown_prompt(peer: Peer) -> Any:
    answer = await outcome(peer.request("prompts/get", {"name": "no-such-prompt"}))
    assert answer["error"] == -32602
    return answer


# -- resources --------------------------------------------------------------------------------------------------------


def _read(uri: str, shows: str, member: str) -> None:
    @row("resources", shows, RESOURCES_PAGE)
    async def read(peer: Peer) -> Any:
        result = await peer.request("resources/read", {"uri": uri})
        assert all(member in each for each in result["contents"])
        return result


_read("test://static/text", "text", "text")
_read("test://static/png", "bytes", "blob")
_read("test://many", "several contents", "text")
_read("test://items/a%20b", "of a template", "text")


@row("resources", "a resource that isn't there", RESOURCES_PAGE)
async def unknown_resource(peer: Peer) -> Any:
    answer = await outcome(peer.request("resources/read", {"uri": "test://nowhere"}))
    assert answer == {"error": -32002 if peer.era == "legacy" else -32602, "data": {"uri": "test://nowhere"}}
    return answer


# -- completion -------------------------------------------------------------------------------------------------------


def _completed(shows: str, ref: Json, value: str, **more: Any) -> None:
    @row("completion", shows, COMPLETION)
    async def completed(peer: Peer) -> Any:
        argument = {"name": "city", "value": value}
        result = await peer.request("completion/complete", {"ref": ref, "argument": argument, **more})
        assert result["completion"]["values"]
        return result


FILLED: Json = {"type": "ref/prompt", "name": "filled"}
ITEMS: Json = {"type": "ref/resource", "uri": "test://items/{id}"}
_completed("of a prompt's argument", FILLED, "par")
_completed("of a template's variable", ITEMS, "17")
_completed("with more than fit", ITEMS, "")
_completed("with the other arguments", FILLED, "par", context={"arguments": {"mood": "gay"}})


@row("completion", "of what isn't there", COMPLETION)
async def unknown_ref(peer: Peer) -> Any:
    ref = {"type": "ref/prompt", "name": "no-such-prompt"}
    answer = await outcome(peer.request("completion/complete", {"ref": ref, "argument": {"name": "x", "value": ""}}))
    assert answer["error"] == -32602
    return answer
