"""Connecting, and what has no feature of its own."""

import asyncio
from typing import Any

from tests.matrix.book import LEGACY_FRONT, MODERN_FRONT, each, row
from tests.matrix.content import ABOUT, EXPERIMENTAL, EXTENSIONS, INSTRUCTIONS
from tests.matrix.peer import Json, Peer, outcome
from tests.matrix.reasons import Reason

LIFECYCLE = "2025-11-25/basic/lifecycle.mdx"
DISCOVER = "2026-07-28/server/discover.mdx"
BASIC = "2026-07-28/basic/index.mdx"


@row("connecting", "the server says what it can", LIFECYCLE)
async def capabilities(peer: Peer) -> Any:
    able: Json = {key: value for key, value in peer.knows["capabilities"].items() if key != "extensions"}
    assert {"tools", "prompts", "resources", "completions", "logging"} <= able.keys()
    return able


@row("connecting", "the server's experimental capabilities", LIFECYCLE)
async def experimental(peer: Peer) -> Any:
    assert peer.knows["capabilities"]["experimental"] == EXPERIMENTAL
    return True


@row(
    "connecting",
    "the server's extensions",
    DISCOVER,
    instead=each(LEGACY_FRONT, (EXTENSIONS, Reason.NO_EXTENSIONS)),
    unless=lambda column: Reason.NO_EXTENSIONS if (column.back, column.server) == ("memory", "legacy") else None,
)
async def extensions(peer: Peer) -> Any:
    return peer.knows["capabilities"].get("extensions")


@row("connecting", "the server's instructions", LIFECYCLE)
async def instructions(peer: Peer) -> Any:
    assert peer.knows["instructions"] == INSTRUCTIONS
    return True


@row("connecting", "somebody says who answers", LIFECYCLE)
async def server_info(peer: Peer) -> Any:
    meta = peer.knows.get("_meta", {})
    info = peer.knows.get("serverInfo") or meta["io.modelcontextprotocol/serverInfo"]
    assert info["name"] in ("isthmus", ABOUT["name"])
    return isinstance(info["version"], str)


@row("connecting", "a revision is agreed on", LIFECYCLE)
async def version(peer: Peer) -> Any:
    return peer.knows.get("protocolVersion") or "2026-07-28" in peer.knows["supportedVersions"]


@row("connecting", "the server learns who the client is", LIFECYCLE)
async def client_info(peer: Peer) -> Any:
    result = await peer.call("whoami")
    assert result["structuredContent"]["info"]["name"] == "a matrix client"
    return result["structuredContent"]["info"]


@row("connecting", "the server learns what the client can", LIFECYCLE)
async def client_capabilities(peer: Peer) -> Any:
    able: Json = (await peer.call("whoami"))["structuredContent"]["can"]
    assert {"elicitation", "sampling", "roots"} <= able.keys()
    return able | {"roots": True}  # whether their changes are told differs between the eras


@row("connecting", "the server learns that the client can nothing", LIFECYCLE, is_bare=True)
async def no_capabilities(peer: Peer) -> Any:
    able: Json = (await peer.call("whoami"))["structuredContent"]["can"]
    assert not {"elicitation", "sampling", "roots"} & able.keys()
    return True


def _agreed(version: str) -> None:
    @row(
        "connecting",
        f"a client of {version}",
        LIFECYCLE,
        never=each(MODERN_FRONT, Reason.NO_INITIALIZE),
        version=version,
    )
    async def older(peer: Peer) -> Any:
        listed = await peer.request("tools/list")
        result = await peer.call("echo", text=version)
        assert peer.knows["protocolVersion"] == version
        return [peer.knows["protocolVersion"], listed["tools"][0]["name"], result["content"]]


for each_version in ("2024-11-05", "2025-03-26", "2025-06-18"):
    _agreed(each_version)


@row("connecting", "server/discover", DISCOVER, never=each(LEGACY_FRONT, Reason.NO_DISCOVER))
async def discover(peer: Peer) -> Any:
    result = await peer.request("server/discover")
    assert "2026-07-28" in result["supportedVersions"]
    able = {key: value for key, value in result["capabilities"].items() if key != "extensions"}
    return [result["resultType"], able, result["instructions"]]


@row("connecting", "ping", "2025-11-25/basic/utilities/ping.mdx", never=each(MODERN_FRONT, Reason.NO_PING))
async def ping(peer: Peer) -> Any:
    return await peer.request("ping")


# -- any request ------------------------------------------------------------------------------------------------------


@row("any request", "a method that nobody knows is refused", BASIC)
async def unknown_method(peer: Peer) -> Any:
    answer = await outcome(peer.request("example/nothing", {"a": 1}))
    assert answer["error"] in (-32601, -32602)  # SDK 1.30 says the latter
    return True


@row("any request", "a notification that nobody knows does no harm", BASIC)
async def unknown_notification(peer: Peer) -> Any:
    await peer.notify("notifications/example", {"a": 1})
    return await peer.call("echo", text="still here")


@row("any request", "keys of others in _meta reach the server", BASIC)
async def request_meta(peer: Peer) -> Any:
    said = {"io.example/a": {"b": [1, "ü"]}, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    result = await peer.request("tools/call", {"name": "meta", "arguments": {}, "_meta": said})
    assert result["structuredContent"]["meta"] == said
    return result


@row("any request", "keys of others in _meta reach the client", BASIC)
async def result_meta(peer: Peer) -> Any:
    result = await peer.call("marked")
    assert result["_meta"] == {"io.example/mark": {"n": 1.5, "s": "ü"}}
    return result


@row("any request", "twenty calls at once, each with its own answer", BASIC)
async def concurrency(peer: Peer) -> Any:
    results = await asyncio.gather(*(peer.call("mirror", n=number) for number in range(20)))
    assert [each["structuredContent"]["arguments"]["n"] for each in results] == list(range(20))
    return True


@row("any request", "different requests at once", BASIC)
async def mixture(peer: Peer) -> Any:
    return await asyncio.gather(
        peer.request("tools/list"),
        peer.request("resources/read", {"uri": "test://static/text"}),
        peer.call("echo", text="x"),
        outcome(peer.call("no-such-tool")),
        peer.request("prompts/get", {"name": "plain"}),
    )


@row("any request", "an error's code and data", BASIC)
async def error(peer: Peer) -> Any:
    answer = await outcome(peer.call("raises", code=-31999, data={"why": ["x", None]}))
    assert answer == {"error": -31999, "data": {"why": ["x", None]}}
    return answer


@row("any request", "an error -32603 of the server", BASIC)
async def internal_error(peer: Peer) -> Any:
    answer = await outcome(peer.call("raises", code=-32603))
    assert answer["error"] == -32603
    return answer


@row(
    "any request",
    "an error with a code that the modern era keeps for itself",
    BASIC,
    instead={("modern", "legacy"): ({"error": -32603, "wrapped": -32050}, Reason.NO_OTHER_CODES)},
)
async def reserved_error(peer: Peer) -> Any:
    answer = await outcome(peer.call("raises", code=-32050, data={"x": 1}))
    data = answer.get("data", {})
    return {"error": answer["error"]} | ({"wrapped": data["code"]} if "code" in data else {})


@row("any request", "numbers, texts and nulls as they are", BASIC)
async def values(peer: Peer) -> Any:
    said = {"n": [0, -1, 1.5, 2**53 + 1, 1e-9, True, None], "s": '\u0000\n"\\ 🦜 \u2028', "": {"": []}}
    result = await peer.call("mirror", **{"value": said})
    assert result["structuredContent"]["arguments"]["value"] == said
    return result


@row("any request", "a long answer", BASIC)
async def big(peer: Peer) -> Any:
    result = await peer.call("big", size=150_000)
    assert result["content"][0]["text"] == "é" * 150_000
    return True


@row("any request", "a long request", BASIC)
async def big_request(peer: Peer) -> Any:
    result = await peer.call("echo", text="é" * 150_000)
    assert len(result["content"][0]["text"]) == 150_000
    return True
