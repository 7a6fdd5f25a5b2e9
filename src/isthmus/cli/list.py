"""`isthmus list`: what a server offers, as a table for people or as JSON for programs."""

import sys
from typing import Any, Final

from isthmus.cli.peer import LISTINGS, Client, Peer, Refused, Server, list_all, open_peer
from isthmus.cli.terminal import cut, one_line, width
from isthmus.errors import Fault
from isthmus.limits import Limits
from isthmus.run import run_loop
from isthmus.transports.target import Target
from isthmus.wire.codec import decode

_TITLES: Final = {
    "tools": "Tools",
    "resources": "Resources",
    "templates": "Resource templates",
    "prompts": "Prompts",
}
_GAP: Final = "  "
_FIRST: Final = 0.6
_SECOND: Final = 0.5


def list_offer(target: Target, bounds: Limits, *, as_json: bool) -> int:
    """Print what the target offers; 0, or 1 with a sentence where it can't be asked or refuses a list.

    Args:
        target: the server.
        bounds: every limit.
        as_json: print one JSON object with four lists, each item as the server sent it.
    """
    return run_loop(_list(target, bounds, as_json))


async def _list(target: Target, bounds: Limits, as_json: bool) -> int:
    server = Server(target, bounds)
    refused: list[str] = []
    missing: list[str] = []
    found: dict[str, list[bytes]] = {}
    try:
        peer: Peer = await open_peer(server, Client("isthmus-list", {}))
        for kind, listing in LISTINGS.items():
            try:
                found[kind] = await list_all(peer, listing)
            except Refused as error:
                found[kind] = []
                refused.append(f"{target.name} refused {listing.method}: {one_line(error)}")
        missing = [one_line(why) for why in peer.missing.values()]
    except Fault as fault:
        refused.append(fault.why)
    finally:
        await server.close()
    for why in (*missing, *refused):
        print(f"isthmus: {why}", file=sys.stderr)
    if found:
        _print_json(found) if as_json else _print_tables(found)
    return 1 if refused else 0


def _print_json(found: dict[str, list[bytes]]) -> None:
    lists = (f'"{LISTINGS[kind].member}":'.encode() + b"[" + b",".join(items) + b"]" for kind, items in found.items())
    sys.stdout.flush()
    sys.stdout.buffer.write(b"{" + b",".join(lists) + b"}\n")
    sys.stdout.flush()


def _print_tables(found: dict[str, list[bytes]]) -> None:
    is_first = True
    for kind, items in found.items():
        if not items:
            continue
        if not is_first:
            print()
        is_first = False
        print(f"{_TITLES[kind]} ({len(items)})")
        for line in table([row(kind, _object(item)) for item in items], width()):
            print(line)
    if is_first:
        print("This server offers no tools, resources or prompts.")


def row(kind: str, item: dict[str, Any]) -> tuple[str, str, str]:
    """The cells of one thing: its name, its arguments or address, what it is."""
    name = one_line(item.get("name") or "?")
    if kind == "tools":
        schema = _dict(item.get("inputSchema"))
        required = schema.get("required")
        needed = required if isinstance(required, list) else []
        arguments = [(each, each in needed) for each in _dict(schema.get("properties"))]
    elif kind == "prompts":
        listed = item.get("arguments")
        given = [_dict(each) for each in listed] if isinstance(listed, list) else []
        arguments = [(str(each.get("name")), each.get("required") is True) for each in given]
    else:
        return name, one_line(item.get("uri") or item.get("uriTemplate") or ""), _said(item)
    return name, " ".join(one_line(each) + "*" * is_needed for each, is_needed in arguments), _said(item)


def table(rows: list[tuple[str, str, str]], room: int) -> list[str]:
    """The rows in aligned columns, none wider than `room`. Names, which are typed again, come before the rest."""
    first = min(max(len(row[0]) for row in rows), int(room * _FIRST))
    second = min(max(len(row[1]) for row in rows), int((room - first) * _SECOND))
    rest = max(0, room - first - second - 3 * len(_GAP))
    lines = []
    for name, arguments, said in rows:
        cells = (cut(name, first).ljust(first), cut(arguments, second).ljust(second), cut(said, rest))
        lines.append((_GAP + _GAP.join(cells)).rstrip())
    return lines


def _said(item: dict[str, Any]) -> str:
    """The title, else the first line of the description."""
    title = item.get("title") or _dict(item.get("annotations")).get("title")
    if title:
        return one_line(title)
    lines = str(item.get("description") or "").strip().splitlines()
    return one_line(lines[0]) if lines else ""


def _object(item: bytes) -> dict[str, Any]:
    try:
        return _dict(decode(item))
    except RecursionError:
        return {}


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
