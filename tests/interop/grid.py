"""The grid: each client software with each server, over each pair of transports: a few steps, all in one conversation.

A step of a cell is taken, or there is a `Reason` why not. `README.md` shows the grid; `python -m tests.interop.grid`
prints what it is to say.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .features import ASKED_NAME, Has, Json, Step, call, prompt, read, text
from .peers import CLIENTS, CROSSWISE, INSPECTOR, REPOSITORY, SERVERS, Cell, Client, Era, Server, Transport, Way
from .runs import Place, Programs

WAYS: tuple[Way, ...] = (("stdio", "stdio"), ("stdio", "http"), ("http", "stdio"), ("http", "http"))
STEPS = ("about", "list", "call", "read", "prompt", "question")
OF_THE_PROXY = frozenset({"serverInfo", "io.modelcontextprotocol/serverInfo"})
OF_ONE_ERA = frozenset({"protocolVersion", "resultType", "ttlMs", "cacheScope", "tasks", "execution"})
TODAY = re.compile(r"\d{4}-\d\d-\d\d(?=T)")


class Reason(Enum):
    """Why a step is not taken, or a whole cell."""

    NO_HTTP = "the server has only stdio"
    NOT_IN_SERVER = "the server has none"
    NOT_IN_CLIENT = "the client can't do it"
    NO_SESSION = "the server asks nobody over HTTP in the legacy era, because it has no sessions there"
    COSTLY = "each of the two meets each transport in other cells: this one would only take time"


def listed(tool: str) -> Step:
    """The first page, because some clients can't turn it."""
    return {"method": "tools/list"}, {"result": {"tools": Has({"name": tool})}}


def own() -> dict[str, Step]:
    """What the small servers in `servers/` have in common."""
    return {
        "list": listed("echo"),
        "call": (call("echo", {"text": "ünïcode ☃"}), text("ünïcode ☃")),
        "read": read("test://note", "a note"),
        "prompt": prompt("greet", {"name": "Bea"}, "Greet Bea."),
        "question": (call("ask"), text("accept: Ada") | ASKED_NAME),
    }


def everything() -> dict[str, Step]:
    said = "Prompt with arguments: arg1='a', arg2='b'"
    return own() | {
        "list": listed("test_simple_text"),
        "read": read("test://static-text", re.compile(".")),
        "prompt": prompt("test_prompt_with_arguments", {"arg1": "a", "arg2": "b"}, said),
    }


def npm_everything() -> dict[str, Step]:
    form = text(re.compile("provided"), asked=Has(re.compile("^form: Please provide")))
    return {
        "list": listed("echo"),
        "call": (call("echo", {"message": "hi"}), text("Echo: hi")),
        "read": read("demo://resource/static/document/features.md", re.compile("."), "text/markdown"),
        "prompt": prompt("args-prompt", {"city": "Paris"}, "What's weather in Paris?"),
        "question": (call("trigger-elicitation-request"), form),
    }


def mcp_server_time() -> dict[str, Step]:
    there = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
    return {"list": listed("convert_time"), "call": (call("convert_time", there), text(re.compile("T21:00")))}


def mcp_server_git() -> dict[str, Step]:
    status = call("git_status", {"repo_path": REPOSITORY}), text(re.compile("No commits yet"))
    return {"list": listed("git_status"), "call": status}


ABOUT: Step = {"method": "about"}, {"result": {"serverInfo": {}, "capabilities": {"tools": {}}}}
CONVERSATIONS: dict[str, dict[str, Step]] = {
    name: {"about": ABOUT} | steps
    for name, steps in {
        "everything": everything(),
        "sdk1": own(),
        "npm-everything": npm_everything(),
        "mcp-server-time": mcp_server_time(),
        "mcp-server-git": mcp_server_git(),
        "fastmcp2": own(),
        "fastmcp4": own(),
        "typescript2": own(),
    }.items()
}
FEATURES = {"question": "elicitation"}  # under which names `lacks` has the steps


def behind(client: Client, server: Server) -> Era:
    """The era between proxy and server: the client's, unless the server hasn't got it."""
    return client.era if client.era in server.eras else server.eras[0]


def is_crossed(cell: Cell) -> bool:
    """Whether the proxy translates between the eras."""
    return behind(cell.client, cell.server) != cell.client.era


def meet_directly(client: Client, server: Server) -> bool:
    return client.era in server.eras or client.mode == "auto"


def no_cell(cell: Cell) -> Reason | None:
    """Why the cell is not played, if so."""
    if cell.back == "http" and cell.server.http is None:
        return Reason.NO_HTTP
    return None if (cell.front, cell.back) in _ways(cell.client, cell.server) else Reason.COSTLY


def _ways(client: Client, server: Server) -> tuple[Way, ...]:
    """All for a client of each era in each language, crosswise for the others; few where each step is a process."""
    if client.command == INSPECTOR and server.name != "everything":
        is_known = behind(client, server) != client.era  # from other clients
        return () if is_known else CROSSWISE[1:] if server.http is None else CROSSWISE[:1]
    return WAYS if client.goes_along else CROSSWISE


def no_step(cell: Cell, step: str) -> Reason | None:
    """Why a cell that is played goes without this step, if so."""
    if step not in CONVERSATIONS[cell.server.name]:
        return Reason.NOT_IN_SERVER
    if FEATURES.get(step, step) in cell.client.lacks:
        return Reason.NOT_IN_CLIENT
    is_able = cell.server.can(FEATURES.get(step, step), cell.back, behind(cell.client, cell.server))
    return None if is_able else Reason.NO_SESSION


def cells() -> list[Cell]:
    return [Cell(client, *way, server) for server in SERVERS for client in CLIENTS for way in WAYS]


def steps_of(cell: Cell) -> dict[str, Step]:
    table = CONVERSATIONS[cell.server.name]
    return {step: table[step] for step in STEPS if no_step(cell, step) is None}


@dataclass
class Played:
    """The records of a cell's steps, and those of the same client without a proxy, of as many steps as it can take."""

    proxied: dict[str, Json]
    direct: dict[str, Json]


class Grid:
    """Plays cells; what a client hears directly, from a server on HTTP if it can be, it need hear only once."""

    def __init__(self) -> None:
        self.direct: dict[tuple[str, str], dict[str, Json]] = {}

    def play(self, place: Place, cell: Cell, programs: Programs) -> Played:
        proxied = self._converse(place, cell, programs, place.proxied(cell.front, cell.back))
        back: Transport = "stdio" if cell.server.http is None else "http"
        if not meet_directly(cell.client, cell.server):
            return Played(proxied, {})
        key = (cell.client.name, cell.server.name)
        if key not in self.direct:
            straight = Cell(cell.client, back, back, cell.server)
            self.direct[key] = self._converse(place, straight, programs, place.direct(back))
        # Some servers have other capabilities on HTTP than on stdio.
        direct = {step: said for step, said in self.direct[key].items() if step != "about" or cell.back == back}
        return Played(proxied, direct)

    def _converse(self, place: Place, cell: Cell, programs: Programs, target: Json) -> dict[str, Json]:
        table = steps_of(cell)
        steps = place.at_home([step for step, _ in table.values()])
        return dict(zip(table, programs.converse(cell.client, target, steps), strict=True))


def comparable(record: Json, *, is_crossed: bool) -> Any:
    """A result less the proxy's own name and today's date, and less what only one era has if it was crossed."""
    names = OF_THE_PROXY | OF_ONE_ERA if is_crossed else OF_THE_PROXY
    return comparable_value(record["result"], names)


def comparable_value(value: Any, less: frozenset[str]) -> Any:
    match value:
        case dict():
            kept = {name: comparable_value(each, less) for name, each in value.items() if name not in less}
            return {name: each for name, each in kept.items() if name != "_meta" or each}
        case list():
            return [comparable_value(each, less) for each in value]
        case str():
            return TODAY.sub("today", value)
    return value


def shown() -> Iterator[str]:
    """The grid as a table: the eras in front and behind, over how many of the ways, and why not over all."""
    letters = {reason: chr(ord("a") + number) for number, reason in enumerate(_reasons(CLIENTS, SERVERS))}
    yield "| client | " + " | ".join(server.name for server in SERVERS) + " |"
    yield "|---" * (len(SERVERS) + 1) + "|"
    for client in CLIENTS:
        yield " | ".join([f"| {client.name}", *(_entry(client, server, letters) for server in SERVERS)]) + " |"
    yield ""
    yield from (f"* {letter}: {reason.value}" for reason, letter in letters.items())
    yield ""
    both: list[Client | Server] = [*SERVERS, *CLIENTS]
    for each in both:
        yield from (f"* {each.name}: no {', '.join(steps)}: {why.value}" for why, steps in _never(each).items())


def _reasons(clients: Iterable[Client], servers: Iterable[Server]) -> dict[Reason, None]:
    row = (no_cell(Cell(client, *way, server)) for client in clients for server in servers for way in WAYS)
    return dict.fromkeys(reason for reason in row if reason)


def _entry(client: Client, server: Server, letters: dict[Reason, str]) -> str:
    ways = sum(no_cell(Cell(client, *way, server)) is None for way in WAYS)
    why = ", ".join(letters[reason] for reason in _reasons([client], [server]))
    met = client.era if client.era in server.eras else f"{client.era} to {behind(client, server)}"
    return f"{met} {ways}" + (f" ({why})" if why else "")


def _never(each: Client | Server) -> dict[Reason, dict[str, None]]:
    """The steps that are not taken because of this client or server, somewhere or anywhere."""
    found: dict[Reason, dict[str, None]] = {}
    for cell in cells():
        for step in STEPS if no_cell(cell) is None and each in (cell.client, cell.server) else ():
            reason = no_step(cell, step)
            if reason is not None and (reason is Reason.NOT_IN_CLIENT) == isinstance(each, Client):
                found.setdefault(reason, {})[step] = None
    return found


if __name__ == "__main__":
    print("\n".join(shown()))
