"""`isthmus check`: what a target is, which eras and revisions it speaks, what it offers, and how fast it answers."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any, Final

from isthmus.cli.peer import LISTINGS, Client, Legacy, Modern, Peer, Refused, Server, list_all
from isthmus.errors import Fault
from isthmus.limits import Limits
from isthmus.run import run_loop
from isthmus.transports.target import Target, where

_CLIENT: Final = Client("isthmus-check", {})


def check(target: Target, bounds: Limits) -> int:
    """Print what the target is; 0 if it works in any era, 1 with a sentence if in none."""
    return run_loop(_check(target, bounds))


async def _check(target: Target, bounds: Limits) -> int:
    server = Server(target, bounds)
    try:
        print(f"{target.name}  {where(target)}".rstrip())
        found = [await _check_modern(server), await _check_legacy(server)]
    finally:
        await server.close()
    if not any(each is None for each in found):
        print(f"isthmus: {found[1]}", file=sys.stderr)
        return 1
    return 0


async def _check_modern(server: Server) -> str | None:
    """Print the modern face; why there is none."""
    return await _check_era(
        Modern(server, _CLIENT), "server/discover", lambda opened: _listed(opened.get("supportedVersions"))
    )


async def _check_legacy(server: Server) -> str | None:
    """Print the legacy face; why there is none."""

    def versions(opened: dict[str, Any]) -> str:
        return str(opened.get("protocolVersion")) + (", over HTTP+SSE" if server.back.is_sse else "")

    return await _check_era(Legacy(server, _CLIENT), "ping", versions)


async def _check_era(peer: Peer, probe: str, versions: Callable[[dict[str, Any]], str]) -> str | None:
    began = _now()
    try:
        await peer.open()
    except (Refused, Fault) as fault:
        print(f"  {peer.era}   no")
        return str(fault)
    opened = _ms(began)
    print(f"  {peer.era}   yes: {versions(peer.opened)}; {_who(peer.server_info)}")
    print(f"           first answer {opened}, {probe} {await _latency(peer, probe)}")
    capabilities = peer.opened.get("capabilities")
    await _print_offer(peer, capabilities if isinstance(capabilities, dict) else {})
    return None


async def _print_offer(peer: Peer, capabilities: dict[str, Any]) -> None:
    print(f"           capabilities: {_capabilities(capabilities)}")
    counts = []
    for title, listing in LISTINGS.items():
        if listing.capability in capabilities:
            try:
                counts.append(f"{len(await list_all(peer, listing))} {title}")
            except Refused:
                counts.append(f"? {title}")
    if counts:
        print(f"           offers: {', '.join(counts)}")


async def _latency(peer: Peer, method: str) -> str:
    """The middle one of five."""
    times = []
    for _ in range(5):
        began = _now()
        await peer.ask(method, {})
        times.append(_now() - began)
    return f"{sorted(times)[2] * 1000:.1f} ms"


def _capabilities(capabilities: dict[str, Any]) -> str:
    def said(name: str, value: Any) -> str:
        flags = [key for key, on in value.items() if on is not False] if isinstance(value, dict) else []
        return f"{name} ({', '.join(flags)})" if flags else name

    return ", ".join(said(name, value) for name, value in sorted(capabilities.items())) or "none"


def _who(info: dict[str, Any]) -> str:
    return f"{info.get('title') or info.get('name') or 'unnamed'} {info.get('version') or ''}".strip()


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none that it names"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ms(began: float) -> str:
    return f"{(_now() - began) * 1000:.0f} ms"
