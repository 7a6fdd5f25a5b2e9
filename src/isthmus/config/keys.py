"""Every key that a configuration may have: what may stand there and what it does. Checks, schema and docs read it.

Sources of the standard keys: the `mcpServers` of Claude Desktop, Cursor and FastMCP (`fastmcp.mcp_config`), and the
`mcp.json` of VS Code.
"""

from dataclasses import fields
from typing import Final

from isthmus.config.kinds import Anything, Either, Flag, Foreign, Items, Key, Kind, Names, Number, Record, Text
from isthmus.limits import LISTING, NAME_LONGEST, SECONDS_MOST, Limits

TRANSPORTS: Final = {
    "stdio": None,
    "http": "auto",
    "streamable-http": "http",
    "streamableHttp": "http",
    "sse": "sse",
}
"""What a transport is called, and the kind of `HttpTarget` that it means."""

_TEXT: Final = Text()
_FILLED: Final = Text("a string that is not empty", pattern=r"[\s\S]+")
_SECONDS: Final = Number("a number of seconds above 0", most=SECONDS_MOST)
_HEADER: Final = Text("the name of an HTTP header", pattern=r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_TRANSPORT: Final = Text(one_of=tuple(TRANSPORTS))
_ENV: Final = Either((_TEXT, Number("a number", least=float("-inf"), most=float("inf"))), "a string")
_PATTERNS: Final = Items(_FILLED, "a list of strings")

ARGUMENT: Final = Record(
    "an argument",
    {
        "hidden": Key(Flag(), "the argument is not shown to clients, and not sent"),
        "fixed": Key(Anything(), "the argument is not shown to clients, and always sent with this value", expands=True),
    },
)
ITEM: Final = Record(
    "a prompt or resource",
    {
        "rename": Key(_FILLED, "what clients know it as"),
        "description": Key(_TEXT, "what clients read about it"),
    },
)
TOOL: Final = Record(
    "a tool",
    dict(ITEM.keys)
    | {
        "arguments": Key(
            Names(ARGUMENT, "an object of arguments"), "by the name of an argument: `hidden` or `fixed`", expands=True
        )
    },
)


def _chosen(title: str, of: Kind) -> Record:
    return Record(
        title,
        {
            "allow": Key(_PATTERNS, "names or patterns (`*`, `?`, `[…]`) of what clients may see; all if not given"),
            "deny": Key(_PATTERNS, "names or patterns of what they may not, whatever `allow` says"),
            "items": Key(
                Names(of, "an object by the server's own names"), "by the server's own name: what changes", expands=True
            ),
        },
    )


TOOLS: Final = _chosen("tools", TOOL)
PROMPTS: Final = _chosen("prompts", ITEM)
RESOURCES: Final = _chosen("resources", ITEM)

FRONT_LIMITS: Final = ("body", "header_time", "body_time", "keep_alive", "sessions", "unread", "drain")
"""Fields of `Limits` that bound the clients, whichever server their calls go to."""


def _limits(title: str, but: tuple[str, ...]) -> Record:
    kept = [each for each in fields(Limits) if each.name not in but]
    whole = Number("a whole number above 0", is_whole=True)
    keys = {each.name: Key(whole if each.type is int else _SECONDS, f"default {each.default:,g}") for each in kept}
    return Record(title, keys)


# `warm` has a key of its own.
ALL_LIMITS: Final = _limits("limits", ("warm",))
BACK_LIMITS: Final = _limits("a server's limits", ("warm", *FRONT_LIMITS))

_COMMON: Final[dict[str, Key]] = {
    "isolation": Key(
        Text(one_of=("request", "session", "shared")),
        "which session a request gets at a server before 2026-07-28; default `session`",
    ),
    "warm": Key(
        Number("a whole number from 0 on", is_above=False, is_whole=True),
        "sessions to open ahead with `isolation` `request`; default 1",
    ),
    "ttl": Key(
        Number("a number of seconds from 0 on", is_above=False, most=SECONDS_MOST),
        "seconds that lists are served from memory; by the server's own word if not given",
    ),
    "deadline": Key(_SECONDS, f"seconds that lists wait for the server; default {LISTING:g}"),
    "forward_headers": Key(
        Items(_HEADER, "a list of header names"), "headers of clients that are sent on to the server's URL"
    ),
    "required": Key(Flag(), "whether isthmus does not start without the server; default false"),
}
OWN: Final = Record(
    "isthmus inside a server",
    {
        "prefix": Key(
            _TEXT, "what the names of its tools, prompts and resources begin with; its name if there are several"
        ),
        "tools": Key(TOOLS, "which of its tools clients see, and how", expands=True),
        "prompts": Key(PROMPTS, "the same for prompts"),
        "resources": Key(RESOURCES, "the same for resources and templates, by URI"),
        "insecure": Key(Flag(), "whether credentials may go to an `http://` URL of another machine; default false"),
        "identity": Key(
            Flag(),
            "whether clients see the server's own name and version; for a single server of which nothing is changed; "
            "default false",
        ),
    }
    | _COMMON
    | {"limits": Key(BACK_LIMITS, "times and sizes")},
)
OWN_TOP: Final = Record(
    "isthmus at the top",
    {
        "name": Key(_FILLED, "what the proxy calls itself; default `isthmus`"),
        "longest": Key(
            Number("a whole number from 16 on", least=16, is_above=False, is_whole=True),
            f"characters of the longest name that a prefix may make; default {NAME_LONGEST}",
        ),
    }
    | _COMMON
    | {"limits": Key(ALL_LIMITS, "times and sizes")},
)

SERVER: Final = Record(
    "a server",
    {
        "command": Key(_FILLED, "the program to start; there is no shell", expands=True),
        "args": Key(Items(_TEXT, "a list of strings"), "its arguments", expands=True),
        "env": Key(
            Names(_ENV, "an object of strings"), "variables for it, beyond the few that are inherited", expands=True
        ),
        "envFile": Key(_FILLED, "a file of `NAME=value` lines with more variables; `env` wins", expands=True),
        "cwd": Key(_FILLED, "the folder it starts in; here if not given", expands=True),
        "url": Key(_FILLED, "where a server listens: `http://…`, `https://…` or `unix:PATH`", expands=True),
        "headers": Key(Names(_TEXT, "an object of strings"), "headers of every request to `url`", expands=True),
        "auth": Key(_FILLED, "a bearer token for `url`, as FastMCP has it", expands=True),
        "type": Key(
            _TRANSPORT,
            "`stdio`, `streamable-http`, `sse`, or `http`, which is whichever of the latter two is there",
        ),
        "transport": Key(_TRANSPORT, "the same"),
        "timeout": Key(
            Number(
                "a number of milliseconds from 1000 on (60000 is a minute)",
                least=1000,
                is_above=False,
                most=SECONDS_MOST * 1000,
            ),
            "milliseconds for a call without any sign of life; `limits.call` under `isthmus` wins",
        ),
        "disabled": Key(Flag(), "whether the server is left out; default false"),
        "isthmus": Key(OWN, "our own settings", expands=True),
    },
    foreign={
        "description": Foreign("FastMCP"),
        "icon": Foreign("FastMCP"),
        "name": Foreign("several clients"),
        "keep_alive": Foreign("FastMCP"),
        "sse_read_timeout": Foreign("FastMCP"),
        "authentication": Foreign("FastMCP", "write what it sends into 'headers'"),
        "include_tags": Foreign("FastMCP", "choose tools with isthmus.tools.allow"),
        "exclude_tags": Foreign("FastMCP", "leave tools out with isthmus.tools.deny"),
        "tools": Foreign("FastMCP", "choose and change tools with isthmus.tools"),
        "alwaysAllow": Foreign("Roo Code"),
        "autoApprove": Foreign("Cline"),
        "autoStart": Foreign("VS Code"),
        "disabledTools": Foreign("Kiro and Windsurf", "leave tools out with isthmus.tools.deny"),
        "includeTools": Foreign("Gemini CLI", "choose tools with isthmus.tools.allow"),
        "excludeTools": Foreign("Gemini CLI", "leave tools out with isthmus.tools.deny"),
        "trust": Foreign("Gemini CLI"),
        "networkTimeout": Foreign("Cline"),
        "watchPaths": Foreign("Roo Code"),
        "dev": Foreign("VS Code"),
        "gallery": Foreign("VS Code"),
        "version": Foreign("VS Code"),
        "sandboxEnabled": Foreign("VS Code", "isthmus starts the command without a sandbox"),
        "sandbox": Foreign("VS Code", "isthmus starts the command without a sandbox"),
        "oauth": Foreign("VS Code and Claude Code", "write the token into 'headers'"),
        "headersHelper": Foreign("Claude Code", "write what it prints into 'headers'"),
    },
)
_ID: Final = Text("letters, digits, '_', '-' and '.'", pattern=r"[\w.-]+")
INPUT: Final = Record(
    "an input",
    {
        "id": Key(_ID, "what `${input:ID}` names; the environment's `INPUT_ID` is its value"),
        "type": Key(
            Text(one_of=("promptString", "pickString", "command")), "how VS Code asks for it; `command` is not run here"
        ),
        "description": Key(_TEXT, "what is asked"),
        "password": Key(Flag(), "whether what is typed stays hidden"),
        "default": Key(_TEXT, "the value if nobody can be asked"),
        "options": Key(
            Items(Either((_TEXT, Names(_TEXT, "an object")), "a string, or an object with label and value"), "a list"),
            "what to pick from",
        ),
        "command": Key(_TEXT, "VS Code's own"),
        "args": Key(Anything(), "VS Code's own"),
    },
)
_SERVERS: Final = Names(SERVER, "an object of servers")
TOP: Final = Record(
    "the configuration",
    {
        "mcpServers": Key(_SERVERS, "the servers by their names"),
        "servers": Key(_SERVERS, "the same, as VS Code calls it"),
        "inputs": Key(Items(INPUT, "a list of inputs"), "values that VS Code asks for"),
        "isthmus": Key(OWN_TOP, "our own settings, and defaults for all servers"),
        "$schema": Key(_TEXT, "where an editor finds the schema"),
    },
    foreign={
        "globalShortcut": Foreign("Claude Desktop"),
        "preferences": Foreign("Claude Desktop"),
        "sandbox": Foreign("VS Code", "isthmus starts commands without a sandbox"),
    },
)

RECORDS: Final = (
    TOP,
    SERVER,
    OWN,
    OWN_TOP,
    TOOLS,
    PROMPTS,
    RESOURCES,
    TOOL,
    ITEM,
    ARGUMENT,
    BACK_LIMITS,
    ALL_LIMITS,
    INPUT,
)
ELSEWHERE: Final = (
    (OWN, "under 'isthmus' inside a server"),
    (OWN_TOP, "under 'isthmus' at the top"),
    (SERVER, "into a server itself"),
    (TOP, "at the top"),
    (BACK_LIMITS, "under 'limits' of 'isthmus'"),
    (ALL_LIMITS, "under 'limits' of 'isthmus' at the top"),
)
"""Where a key belongs that stands in the wrong place, the likeliest first."""
