"""`isthmus check`: what a target is, which eras and revisions it speaks, what it offers, and how fast it answers.

Of a file: each of its servers, as they are behind the proxy.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, TextIO

from isthmus.cli.peer import LISTINGS, Client, Legacy, Modern, Peer, Refused, Server, list_all
from isthmus.engine.member import Nested, Spec
from isthmus.errors import ConfigError, Fault
from isthmus.limits import CHECKED, Limits
from isthmus.run import run_loop
from isthmus.transports.launch import Launch
from isthmus.transports.target import HttpTarget, Target, where

_CLIENT: Final = Client("isthmus-check", {})


def check(target: Target, bounds: Limits) -> int:
    """Print what the target is; 0 if it works in any era, 1 with a sentence if in none."""
    return run_loop(_check(target, bounds))


def check_all(specs: Sequence[Spec]) -> int:
    """Print what each server of a file is; 0 if all work, 1 with a sentence for each that doesn't."""
    return run_loop(_check_all(specs))


async def _check(target: Target, bounds: Limits) -> int:
    server = Server(target, bounds)
    try:
        print(f"{target.name}  {where(target)}".rstrip())
        why = await _check_eras(server, sys.stdout)
    finally:
        await server.close()
    if why is not None:
        print(f"isthmus: {why}", file=sys.stderr)
        return 1
    return 0


async def _check_all(specs: Sequence[Spec]) -> int:
    """All are asked at once, each within a time that a person waits, and told in their order as they are done."""
    said = [io.StringIO() for _ in specs]
    found = [asyncio.ensure_future(_check_spec(spec, text)) for spec, text in zip(specs, said, strict=True)]
    out = []
    for spec, text, checked in zip(specs, said, found, strict=True):
        why = await checked
        print(f"{spec.name}  {_place(spec.target)}".rstrip())
        print(text.getvalue(), end="", flush=True)
        if why is not None:
            print(f"           {why}")
            out.append(f"{spec.name} is not there: {why}")
    for each in out:
        print(f"isthmus: {each}", file=sys.stderr)
    return 1 if out else 0


async def _check_spec(spec: Spec, out: TextIO) -> str | None:
    """Print what a server of a file is; why it is not there."""
    assert not isinstance(spec.target, Nested), "no file says so"
    try:
        server = Server(spec.target, spec.settings.limits)
    except ConfigError as error:
        return str(error)
    try:
        async with asyncio.timeout(max(CHECKED, spec.deadline)):
            return await _check_eras(server, out)
    except TimeoutError:
        return f"it did not say within {max(CHECKED, spec.deadline):g} s what it is. Is it an MCP server?"
    finally:
        await server.close()


async def _check_eras(server: Server, out: TextIO) -> str | None:
    """Print the modern face and the legacy one; why there is neither."""
    modern = Modern(server, _CLIENT)
    found = [await _check_era(modern, "server/discover", lambda said: _listed(said.get("supportedVersions")), out)]

    def versions(opened: dict[str, Any]) -> str:
        return str(opened.get("protocolVersion")) + (", over HTTP+SSE" if server.back.is_sse else "")

    found.append(await _check_era(Legacy(server, _CLIENT), "ping", versions, out))
    return found[1] if all(found) else None


async def _check_era(peer: Peer, probe: str, versions: Callable[[dict[str, Any]], str], out: TextIO) -> str | None:
    began = _now()
    try:
        await peer.open()
    except (Refused, Fault) as fault:
        print(f"  {peer.era}   no", file=out)
        return str(fault)
    opened = _ms(began)
    print(f"  {peer.era}   yes: {versions(peer.opened)}; {_who(peer.server_info)}", file=out)
    print(f"           first answer {opened}, {probe} {await _latency(peer, probe)}", file=out)
    capabilities = peer.opened.get("capabilities")
    await _print_offer(peer, capabilities if isinstance(capabilities, dict) else {}, out)
    return None


async def _print_offer(peer: Peer, capabilities: dict[str, Any], out: TextIO) -> None:
    print(f"           capabilities: {_capabilities(capabilities)}", file=out)
    counts = []
    for title, listing in LISTINGS.items():
        if listing.capability in capabilities:
            try:
                counts.append(f"{len(await list_all(peer, listing))} {title}")
            except Refused:
                counts.append(f"? {title}")
    if counts:
        print(f"           offers: {', '.join(counts)}", file=out)


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


def _place(target: object) -> str:
    """Where a server of a file is found, without what may be secret: queries and arguments."""
    if isinstance(target, HttpTarget):
        return target.url.partition("?")[0]
    return target.argv[0] if isinstance(target, Launch) else ""


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "none that it names"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ms(began: float) -> str:
    return f"{(_now() - began) * 1000:.0f} ms"
