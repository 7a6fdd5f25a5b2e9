"""Ten servers of different make, transport and era behind one gateway, and what it should show of them by which name.

The rule of names is written down here once more, so that it is not compared with itself.
"""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.conformance.processes import ISTHMUS, free_port

from .features import Feature, Has, Json, Step
from .grid import behind
from .peers import (
    NODE,
    OWN_TYPESCRIPT2,
    PACKAGES,
    REPOSITORY,
    ROOT,
    SERVERS,
    Client,
    Era,
    Server,
    Transport,
    with_port,
)
from .raw import Raw, connected
from .runs import Place, listening
from .tables import TABLES

FETCH = ROOT / ".venvs" / "servers" / "bin" / "mcp-server-fetch"
FILES = PACKAGES / "server-filesystem" / "dist" / "index.js"
MEMORY = PACKAGES / "server-memory" / "dist" / "index.js"
MADE = (FETCH, FILES, MEMORY)
PAGE = "{page}"  # a page of the web on this machine
LISTS = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
URIS = frozenset({"uri", "uriTemplate", "resourceUri", "ui/resourceUri"})
# They ask, count, last, or say what depends on the process; the tables of features have those that ask.
NOT_COMPARED = re.compile(
    r"^ask|^show_roots|^stats$|^slow$|^big$|^env$|^get-env$|^crash$|input_required|elicitation|sampling|roots-list"
    r"|reconnection|^simulate|^toggle|^touch|^trigger|^gzip|^test_trigger"
)
NEVER_CALLED = frozenset({"get-env", "env", "crash", "big"})
# What is said after `initialized` may come before any step.
SYNCED: Json = {"method": "ping", "until": {"logs": 1}}
OF_THE_GATEWAY = frozenset({"about", "ping"})
ONLY_LEGACY = frozenset({"logging/setLevel", "resources/subscribe", "notifications/roots/list_changed"})
FILLERS = {"resourceUri": "test://given", "resourceType": "Text", "resourceId": "1"}


@dataclass(frozen=True)
class Member:
    """A server of the file: its name there is its prefix, and `own` are our settings of it."""

    prefix: str
    server: Server
    transport: Transport
    own: Json = field(default_factory=dict, hash=False)
    requests: tuple[tuple[str, Json], ...] = field(default=(), hash=False)

    def name(self, own: str) -> str:
        """A tool's or prompt's name as clients have it."""
        joined = f"{self.prefix}_{own}"
        assert len(joined) <= 64, joined
        return joined

    def uri(self, own: str) -> str:
        scheme, found, rest = own.partition("://")
        return own if not found or scheme in ("http", "https") else f"{scheme}://{self.prefix}/{rest}"

    def params(self, params: Json) -> Json:
        """What a client sends instead of what it would send to the server itself."""
        changed = dict(params)
        if "name" in params:
            changed["name"] = self.name(params["name"])
        if "uri" in params:
            changed["uri"] = self.uri(params["uri"])
        if "ref" in params:
            changed["ref"] = self.params(params["ref"])
        if "notifications" in params:
            changed["notifications"] = self.told(params["notifications"])
        return changed

    def told(self, said: Any) -> Any:
        """What clients hear instead of what a server said, as `parse` made it, as plain JSON, or as it is expected."""
        match said:
            case tuple():
                return tuple((name, self._member(name, value)) for name, value in said)
            case dict():
                return {name: self._member(name, value) for name, value in said.items()}
            case Has():
                return type(said)(*map(self.told, said.entries))
            case list():
                return [self.told(each) for each in said]
        return said

    def _member(self, name: str, value: Any) -> Any:
        if name in URIS and isinstance(value, str):
            return self.uri(value)
        if name == "resourceSubscriptions":
            return [self.uri(each) for each in value]
        return self.told(value)

    def item(self, item: Any) -> Any:
        """An item of a list, as `parse` made it."""
        return tuple((name, self.name(value) if name == "name" else value) for name, value in self.told(item))

    def era(self, front: Era) -> Era:
        """In which era the gateway speaks with it for a client."""
        return front if front in self.server.eras else self.server.eras[0]


def _known(name: str) -> Server:
    return next(server for server in SERVERS if server.name == name)


MEMBERS = [
    Member(
        "time",
        _known("mcp-server-time"),
        "stdio",
        {"isolation": "shared"},
        (
            ("tools/call", {"name": "get_current_time", "arguments": {"timezone": "Nowhere"}}),
            (
                "tools/call",
                {
                    "name": "convert_time",
                    "arguments": {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
                },
            ),
        ),
    ),
    Member(
        "git",
        _known("mcp-server-git"),
        "stdio",
        {"isolation": "shared"},
        (
            ("tools/call", {"name": "git_status", "arguments": {"repo_path": REPOSITORY}}),
            ("tools/call", {"name": "git_status", "arguments": {"repo_path": "/"}}),
        ),
    ),
    Member(
        "fetch",
        Server("mcp-server-fetch", ("legacy", "modern"), (str(FETCH), "--ignore-robots-txt")),
        "stdio",
        {"isolation": "shared"},
        (
            ("tools/call", {"name": "fetch", "arguments": {"url": PAGE}}),
            ("prompts/get", {"name": "fetch", "arguments": {"url": PAGE}}),
        ),
    ),
    Member(
        "files",
        Server("npm-filesystem", ("legacy",), (NODE, str(FILES), REPOSITORY)),
        "stdio",
        {},
        (
            ("tools/call", {"name": "read_text_file", "arguments": {"path": f"{REPOSITORY}/.git/HEAD"}}),
            ("tools/call", {"name": "list_directory", "arguments": {"path": REPOSITORY}}),
            ("tools/call", {"name": "read_text_file", "arguments": {"path": "/etc/passwd"}}),
        ),
    ),
    Member(
        "memory",
        Server("npm-memory", ("legacy",), ("env", f"MEMORY_FILE_PATH={REPOSITORY}.jsonl", NODE, str(MEMORY))),
        "stdio",
        {"isolation": "shared"},
        (("tools/call", {"name": "search_nodes", "arguments": {"query": "Ada"}}),),
    ),
    Member(
        "npm",
        _known("npm-everything"),
        "http",
        {},
        (
            ("tools/call", {"name": "get-structured-content", "arguments": {"location": "New York"}}),
            ("tools/call", {"name": "get-resource-links", "arguments": {"count": 2}}),
            ("resources/read", {"uri": "demo://resource/dynamic/blob/none"}),
            (
                "completion/complete",
                {
                    "ref": {"type": "ref/resource", "uri": "demo://resource/dynamic/text/{resourceId}"},
                    "argument": {"name": "resourceId", "value": "1"},
                },
            ),
        ),
    ),
    Member("old", _known("sdk1"), "sse"),
    Member(
        "new",
        Server("typescript2", ("modern",), (), with_port(*OWN_TYPESCRIPT2, "--modern")),
        "http",
    ),
    Member("fast", _known("fastmcp4"), "http"),
    Member(
        "every",
        _known("everything"),
        "stdio",
        {},
        (
            ("tools/call", {"name": "add", "arguments": {"a": 2, "b": 0.1}}),
            ("resources/read", {"uri": "test://template/7/data"}),
        ),
    ),
]
OWN: list[tuple[str, Json]] = [
    ("tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}}),
    ("tools/call", {"name": "no such tool", "arguments": {}}),
    ("resources/read", {"uri": "test://item/7"}),
    ("resources/read", {"uri": "test://none"}),
]
COMPLETION: tuple[str, Json] = (
    "completion/complete",
    {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "name", "value": "A"}},
)
# What the servers in `servers/` have in common.
MORE = {"old": [*OWN, COMPLETION], "new": OWN, "fast": [*OWN, COMPLETION]}


@dataclass
class Said:
    """What a server says to a client of an era that asks it directly: its lists, and the answers to requests."""

    opened: Any
    items: dict[str, list[Any]]
    answers: list[tuple[str, Json, Any]]


def listed(raw: Raw, method: str) -> list[Any]:
    """All items of a list; none where the server has no such list."""
    items: list[Any] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = raw.ask(method, {"cursor": cursor} if cursor else {})
        result = dict(dict(answer).get("result", ()))
        items += result.get(LISTS[method], [])
        cursor = result.get("nextCursor")
    return items


def asked_of(items: dict[str, list[Any]]) -> Iterator[tuple[str, Json]]:
    """A request for each thing that is listed. Tools are called without arguments: they say what is missing."""
    for tool in map(dict, items["tools"]):
        if not NOT_COMPARED.search(tool["name"]):
            yield "tools/call", {"name": tool["name"], "arguments": {}}
    for prompt in map(dict, items["prompts"]):
        needed = [dict(each)["name"] for each in prompt.get("arguments", [])]
        if not NOT_COMPARED.search(prompt["name"]):
            arguments = {name: FILLERS.get(name, "Ada") for name in needed}
            yield "prompts/get", {"name": prompt["name"], "arguments": arguments}
    for resource in map(dict, items["resources"]):
        yield "resources/read", {"uri": resource["uri"]}
    for template in map(dict, items["resourceTemplates"]):
        yield "resources/read", {"uri": re.sub(r"\{\w+\}", "1", template["uriTemplate"])}


class World:
    """The servers, each started once where it listens, and the file in which they stand."""

    def __init__(self, folder: Path, page: str, stack: ExitStack) -> None:
        self.page = page
        self.stack = stack
        self.repository = folder / "repository"
        self.places = {member.prefix: Place(member.server, self.repository, stack) for member in MEMBERS}
        self.file = folder / "mcp.json"
        self.file.write_text(json.dumps(self._configuration()))
        self.said: dict[tuple[str, Era], Future[Said]] = {}

    def _configuration(self) -> Json:
        servers = {member.prefix: self._target(member) | {"isthmus": member.own} for member in MEMBERS}
        # Ten processes start at once on as few cores as there are.
        return {"mcpServers": servers, "isthmus": {"deadline": 30}}

    def _target(self, member: Member) -> Json:
        target = self.places[member.prefix].behind(member.transport)
        if member.transport == "stdio":
            return {"command": target[1], "args": target[2:]}
        return {"url": target[0], "type": member.transport}

    def at_home(self, value: Any) -> Any:
        said = json.dumps(value).replace(REPOSITORY, str(self.repository)).replace(PAGE, self.page)
        return json.loads(said)

    def direct(self, member: Member) -> Json:
        return self.places[member.prefix].direct(member.transport)

    def stdio(self) -> Json:
        """A gateway of its own for each client."""
        return {"command": [ISTHMUS, "run", str(self.file)]}

    def http(self) -> Json:
        """The gateway, which is started here."""
        port = free_port()
        command = [ISTHMUS, "run", str(self.file), "--http", str(port)]
        return {"url": self.stack.enter_context(listening(command, port, {}))}

    def ask_all(self, pool: ThreadPoolExecutor) -> None:
        """Ask every server directly, in each of its eras."""
        for member in MEMBERS:
            for era in member.server.eras:
                self.said[member.prefix, era] = pool.submit(self._ask, member, era)

    def _ask(self, member: Member, era: Era) -> Said:
        with connected(self.direct(member), era) as raw:
            opened = raw.open()
            items = {kind: listed(raw, method) for method, kind in LISTS.items()}
            asked = [*asked_of(items), *self.at_home([*member.requests, *MORE.get(member.prefix, [])])]
            return Said(opened, items, [(method, params, raw.ask(method, params)) for method, params in asked])

    def said_by(self, member: Member, front: Era) -> Said:
        """What a server says directly, in the era in which the gateway asks it."""
        return self.said[member.prefix, member.era(front)].result(60)


def features_of(one: Member, client: Client) -> list[Feature]:
    """The features of a server that a client has, through the gateway; what the gateway is has a test of its own."""
    era = behind(client, one.server)
    # A process whose log messages were for a call that is cancelled serves no other: there is no one to count then.
    is_replaced = client.wants_logs and era == "modern" and one.transport == "stdio"
    return [
        Feature(feature.name, [_through(one, step) for step in feature.steps], feature.era)
        for feature in TABLES.get(one.server.name, [])
        if feature.era in (None, client.era)
        and feature.name not in client.lacks | OF_THE_GATEWAY
        and one.server.can(feature.name, one.transport, era)
        and not (is_replaced and feature.name == "cancellation")
        and not (client.era == "modern" and _is_legacy(one, feature))
        and feature.steps[0][0] != SYNCED
    ]


def _is_legacy(one: Member, feature: Feature) -> bool:
    """Whether only a legacy client can do this, or hears of it without asking for it."""
    return one.server.eras == ("legacy",) and (
        (feature.name == "list changed" and feature.era is None)
        or any(step["method"] in ONLY_LEGACY for step, _ in feature.steps)
    )


def _through(one: Member, step: Step) -> Step:
    asked, expected = step
    params = asked.get("params", {})
    changed = asked | ({"params": one.params(params)} if params else {})
    if isinstance(asked.get("cancel"), str):
        changed["cancel"] = one.name(asked["cancel"])
    wanted = one.told(expected)
    result = wanted.get("result")
    if asked["method"] in LISTS and "tools" in result:
        named = [each | {"name": one.name(each["name"])} for each in result["tools"].entries]
        wanted["result"] = {"tools": Has(*named)}
    elif asked["method"] == "prompts/list":
        named = [each | {"name": one.name(each["name"])} for each in result["prompts"].entries]
        wanted["result"] = {"prompts": Has(*named)}
    heard = wanted.get("heard")
    if heard is not None:
        wanted["heard"] = type(heard)(*([method, one.uri(uri) if uri else uri] for method, uri in heard.entries))
    return changed, wanted


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = b"<html><head><title>A page</title></head><body><p>Read by a server.</p></body></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def page() -> Iterator[str]:
    """The URL of a page."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/page"
        finally:
            server.shutdown()
            thread.join()
