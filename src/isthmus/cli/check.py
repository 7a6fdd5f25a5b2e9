"""`isthmus check`: what a target is, which eras and revisions it speaks, what it offers, and how fast it answers."""

import asyncio
import json
import sys
from typing import Any, Final

from msgspec import Raw

from isthmus.engine.back import own_meta
from isthmus.engine.gateway import Gateway
from isthmus.errors import Fault
from isthmus.limits import LIST_PAGES, Limits
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.protocol.names import CLIENT_INFO_KEY, SERVER_INFO_KEY
from isthmus.protocol.versions import LEGACY
from isthmus.run import run_loop
from isthmus.transports.target import Target, where
from isthmus.wire.codec import encode, parse
from isthmus.wire.envelope import Envelope, notification_message, request_message

_LISTS: Final = {
    "tools": ("tools/list", "tools", "tools"),
    "resources": ("resources/list", "resources", "resources"),
    "templates": ("resources/templates/list", "resourceTemplates", "resources"),
    "prompts": ("prompts/list", "prompts", "prompts"),
}


class _Answer:
    """The one port of a request of ours."""

    is_open = True

    def __init__(self) -> None:
        self.message: dict[str, Any] = {}

    def notify(self, message: bytes) -> None:
        """What comes before an answer doesn't matter here."""

    def answer(self, message: bytes, status: int) -> None:
        self.message = json.loads(message)

    def stream(self) -> None:
        """Nothing to choose here."""

    def abandon(self) -> None:
        """Never cancelled."""

    async def drain(self) -> None:
        """Always read."""


class _Legacy:
    """A legacy session of our own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._session: Any = None

    async def open(self) -> dict[str, Any]:
        params = {
            "protocolVersion": LEGACY[-1],
            "capabilities": {},
            "clientInfo": own_meta("isthmus-check")[CLIENT_INFO_KEY],
        }
        self._session, answer = await self._gateway.open_session(_request("initialize", params), _Answer())
        await self._session.notify(_envelope(notification_message("notifications/initialized")))
        return json.loads(answer)  # type: ignore[no-any-return]

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        port = _Answer()
        await self._session.request(_request(method, params), port)
        return port.message


class _Modern:
    """Modern requests of our own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        port = _Answer()
        judged = judge_modern(_request(method, params | {"_meta": own_meta("isthmus-check")}), None)
        assert isinstance(judged, ModernRequest)
        await self._gateway.relay(judged, port, None)
        return port.message


def check(target: Target, bounds: Limits) -> int:
    """Print what the target is; 0 if it works in any era, 1 with a sentence if in none."""
    return run_loop(_check(target, bounds))


async def _check(target: Target, bounds: Limits) -> int:
    gateway = Gateway(target, bounds=bounds, keeps_identity=True)
    try:
        print(f"{target.name}  {where(target)}".rstrip())
        found = [await _check_modern(gateway), await _check_legacy(gateway)]
    finally:
        await gateway.close()
    if not any(each is None for each in found):
        print(f"isthmus: {found[1]}", file=sys.stderr)
        return 1
    return 0


async def _check_modern(gateway: Gateway) -> str | None:
    """Print the modern face; why there is none."""
    peer = _Modern(gateway)
    began = _now()
    answer = await peer.ask("server/discover", {})
    if "result" not in answer:
        print("  modern   no")
        return str(answer["error"]["message"])
    result = answer["result"]
    info = result.get("_meta", {}).get(SERVER_INFO_KEY, {})
    print(f"  modern   yes: {', '.join(result.get('supportedVersions', []))}; {_who(info)}")
    print(f"           first answer {_ms(began)}, server/discover {await _latency(peer, 'server/discover')}")
    await _print_offer(peer, result.get("capabilities", {}))
    return None


async def _check_legacy(gateway: Gateway) -> str | None:
    """Print the legacy face; why there is none."""
    peer = _Legacy(gateway)
    began = _now()
    try:
        result = (await peer.open())["result"]
    except Fault as fault:
        print("  legacy   no")
        return fault.why
    print(f"  legacy   yes: {result.get('protocolVersion')}; {_who(result.get('serverInfo', {}))}")
    print(f"           initialize {_ms(began)}, ping {await _latency(peer, 'ping')}")
    await _print_offer(peer, result.get("capabilities", {}))
    return None


async def _print_offer(peer: _Modern | _Legacy, capabilities: dict[str, Any]) -> None:
    print(f"           capabilities: {_capabilities(capabilities)}")
    counts = []
    for title, (method, member, capability) in _LISTS.items():
        if capability in capabilities:
            counts.append(f"{await _count(peer, method, member)} {title}")
    if counts:
        print(f"           offers: {', '.join(counts)}")


async def _count(peer: _Modern | _Legacy, method: str, member: str) -> str:
    count, cursor = 0, None
    for _ in range(LIST_PAGES):
        answer = await peer.ask(method, {"cursor": cursor} if cursor is not None else {})
        if "result" not in answer:
            return "?"
        count += len(answer["result"].get(member, []))
        cursor = answer["result"].get("nextCursor")
        if cursor is None:
            return str(count)
    return f"{count}+"


async def _latency(peer: _Modern | _Legacy, method: str) -> str:
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


def _request(method: str, params: dict[str, Any]) -> Envelope:
    return _envelope(request_message(b"1", method, Raw(encode(params))))


def _envelope(text: bytes) -> Envelope:
    message = parse(text)
    assert isinstance(message, Envelope)
    return message


def _now() -> float:
    return asyncio.get_running_loop().time()


def _ms(began: float) -> str:
    return f"{(_now() - began) * 1000:.0f} ms"
