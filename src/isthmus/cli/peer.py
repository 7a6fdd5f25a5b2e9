"""The command as a client: requests of its own to one server, in either era, behind one face."""

import asyncio
import itertools
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import Raw

from isthmus.engine import modern
from isthmus.engine.back import Back
from isthmus.engine.legacy import LegacySession
from isthmus.engine.settings import Settings
from isthmus.errors import Fault
from isthmus.limits import CLOSE_SESSION, LIST_PAGES, Limits
from isthmus.protocol.judge import ModernRequest, judge_modern
from isthmus.protocol.names import (
    CANCELLED,
    CAPABILITIES_KEY,
    CLIENT_INFO_KEY,
    INITIALIZED,
    LOG_LEVEL_KEY,
    MISSING_KEY,
    PROGRESS_KEY,
    SERVER_INFO_KEY,
    VERSION_KEY,
)
from isthmus.protocol.versions import LEGACY, MODERN
from isthmus.transports.target import Target
from isthmus.version import __version__
from isthmus.wire.codec import decode, encode, open_object, parse_own
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    error_message,
    notification_message,
    request_message,
    result_message,
)
from isthmus.wire.scan import ScanError, scan_items

if TYPE_CHECKING:
    from isthmus.types import Session

Ear = Callable[[Envelope], None]
"""Hears the notifications and questions that come before an answer; must not block."""

LOG_LEVEL: Final = "info"
"""From which level on a server is asked to log, where the era has each request say so."""


class Listing(NamedTuple):
    """One kind of thing that a server lists: the method, the result's member, the capability that announces it."""

    method: str
    member: str
    capability: str


LISTINGS: Final = {
    "tools": Listing("tools/list", "tools", "tools"),
    "resources": Listing("resources/list", "resources", "resources"),
    "templates": Listing("resources/templates/list", "resourceTemplates", "resources"),
    "prompts": Listing("prompts/list", "prompts", "prompts"),
}


class Refused(Exception):
    """The server, or the proxy in its place, answered with a JSON-RPC error."""

    def __init__(self, error: Any) -> None:
        self.error = error if isinstance(error, dict) else {}
        super().__init__(str(self.error.get("message") or "The server answered with an error that says nothing."))


class Client(NamedTuple):
    """Who asks: its name, what it can be asked, and who hears what comes before answers."""

    name: str
    capabilities: dict[str, Any]
    ear: Ear | None = None

    @property
    def info(self) -> dict[str, str]:
        """`clientInfo`."""
        return {"name": self.name, "version": __version__}


class _Port:
    """The way back of one request of ours, or of what belongs to none."""

    is_open = True
    opened: Callable[[], object] | None = None

    def __init__(self, hear: Ear) -> None:
        self._hear = hear
        self.message: Envelope | None = None

    def notify(self, message: bytes) -> None:
        self._hear(parse_own(message))

    def answer(self, message: bytes, status: int) -> None:
        self.message = parse_own(message)

    def stream(self, is_chosen: bool = True) -> None:
        """Nothing to choose here."""

    def abandon(self) -> None:
        """The request was cancelled; nobody waits for the answer."""

    async def drain(self) -> None:
        """Always read."""


class Server:
    """One server, spoken to in the era that is asked for: nothing is translated, unlike by a gateway.

    Args:
        target: the server.
        bounds: every limit.
    """

    def __init__(self, target: Target, bounds: Limits) -> None:
        self.name = target.name
        self.limits = bounds
        self.back = Back(target, Settings(limits=bounds, keeps_identity=True))
        self.tasks = self.back.tasks
        self._sessions: list[LegacySession] = []

    async def open_session(self, initialize: Envelope, port: _Port) -> tuple[LegacySession, bytes]:
        """A session, and the answer to `initialize`.

        Raises:
            Fault: there is none to be had.
        """
        session = LegacySession(self.back, port)
        self._sessions.append(session)
        return session, await session.open(initialize)

    async def close(self) -> None:
        """End every session, process and connection."""
        sessions = (session.close() for session in self._sessions)
        await asyncio.gather(*sessions, self.back.end_channels(), return_exceptions=True)
        await self.back.close()


class Modern:
    """Requests of 2026-07-28."""

    era = "modern"

    def __init__(self, server: Server, client: Client) -> None:
        self.missing: dict[str, str] = {}
        """Servers behind this one that took no part in a list, each with the reason."""
        self._server = server
        self._client = client
        self._ids = itertools.count(1)
        self.opened: dict[str, Any] = {}

    async def open(self) -> None:
        """Ask what the server is; its answer is `opened`.

        Raises:
            Refused: it does not speak this era.
        """
        self.opened = value_of(await self.ask("server/discover", {}))

    @property
    def server_info(self) -> dict[str, Any]:
        """Who the server says it is."""
        meta = self.opened.get("_meta")
        info = meta.get(SERVER_INFO_KEY) if isinstance(meta, dict) else None
        return info if isinstance(info, dict) else {}

    async def ask(self, method: str, params: dict[str, Any], *, follows: bool = False) -> Envelope:
        """Send a request; its answer. Cancelling cancels it at the server.

        Args:
            method: what is asked.
            params: its parameters, without `_meta`.
            follows: whether progress and log messages are wanted.
        """
        id = next(self._ids)
        meta: dict[str, Any] = {
            VERSION_KEY: MODERN[-1],
            CLIENT_INFO_KEY: self._client.info,
            CAPABILITIES_KEY: self._client.capabilities,
        }
        if follows:
            meta |= {PROGRESS_KEY: id, LOG_LEVEL_KEY: LOG_LEVEL}
        judged = judge_modern(_request(id, method, params | {"_meta": meta}), None)
        assert isinstance(judged, ModernRequest)
        port = _Port(self._client.ear or _ignore)
        await modern.relay(self._server.back, judged, port, None, None)
        return _answered(port)

    def reply(self, id: bytes, result: Any) -> None:
        """Servers of this era ask by results."""

    def refuse(self, id: bytes, code: int, why: str) -> None:
        """Servers of this era ask by results."""


class Legacy:
    """A session of 2024-11-05 to 2025-11-25."""

    era = "legacy"

    def __init__(self, server: Server, client: Client) -> None:
        self.missing: dict[str, str] = {}
        """As of `Modern`."""
        self._server = server
        self._client = client
        self._ids = itertools.count(1)
        self._session: Session | None = None
        self.opened: dict[str, Any] = {}

    async def open(self) -> None:
        """Open the session; what `initialize` was answered is `opened`.

        Raises:
            Fault: there is no such session to be had.
        """
        params = {
            "protocolVersion": LEGACY[-1],
            "capabilities": self._client.capabilities,
            "clientInfo": self._client.info,
        }
        request = _request(next(self._ids), "initialize", params)
        self._session, answer = await self._server.open_session(request, _Port(self._hear))
        self.opened = value_of(parse_own(answer))
        await self._session.notify(parse_own(notification_message(INITIALIZED)))

    @property
    def server_info(self) -> dict[str, Any]:
        """Who the server says it is."""
        info = self.opened.get("serverInfo")
        return info if isinstance(info, dict) else {}

    async def ask(self, method: str, params: dict[str, Any], *, follows: bool = False) -> Envelope:
        """Send a request; its answer. Cancelling cancels it at the server. Arguments as of `Modern.ask`."""
        assert self._session is not None
        id = next(self._ids)
        meta = {"_meta": {PROGRESS_KEY: id}} if follows else {}
        port = _Port(self._hear)
        work = self._server.tasks.start(self._session.request(_request(id, method, params | meta), port))
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SESSION):
                    cancelled = notification_message(CANCELLED, {"requestId": id, "reason": "The user cancelled."})
                    await self._session.notify(parse_own(cancelled))
            raise
        return _answered(port)

    def reply(self, id: bytes, result: Any) -> None:
        """Answer a question of the server."""
        self._send(result_message(id, result))

    def refuse(self, id: bytes, code: int, why: str) -> None:
        """Answer a question of the server with an error."""
        self._send(error_message(id, code, why))

    def _send(self, message: bytes) -> None:
        if self._session is not None:  # what asks before there is a session is no server
            self._server.tasks.start(self._session.answer(parse_own(message)))

    def _hear(self, envelope: Envelope) -> None:
        if envelope.kind is Kind.REQUEST and envelope.method == "ping":
            self.reply(envelope.id or b"null", {})
        elif self._client.ear is not None:
            self._client.ear(envelope)
        elif envelope.kind is Kind.REQUEST:
            self.refuse(envelope.id or b"null", METHOD_NOT_FOUND, f"This client does not answer {envelope.method}.")


Peer = Modern | Legacy


async def open_peer(server: Server, client: Client) -> Peer:
    """A face of the server that works, the modern one first.

    Raises:
        Fault: neither does.
    """
    peer = Modern(server, client)
    try:
        await peer.open()
    except Refused:
        legacy = Legacy(server, client)
        await legacy.open()
        return legacy
    return peer


async def list_all(peer: Peer, listing: Listing) -> list[bytes]:
    """Every item of a list as the server sent it, all pages together; none of what the server doesn't announce.

    Raises:
        Refused: the server does not give the list.
    """
    capabilities = peer.opened.get("capabilities")
    if not isinstance(capabilities, dict) or listing.capability not in capabilities:
        return []
    found: list[bytes] = []
    cursor: Any = None
    for _ in range(LIST_PAGES):
        result = result_of(await peer.ask(listing.method, {"cursor": cursor} if cursor is not None else {}))
        members = open_object(result) or {}
        peer.missing |= _missing(members.get("_meta"))
        found += _items(members.get(listing.member))
        cursor = decode(members["nextCursor"]) if "nextCursor" in members else None
        if cursor is None:
            break
    return found


def result_of(answer: Envelope) -> bytes:
    """The raw result.

    Raises:
        Refused: the answer is an error.
    """
    if "result" not in answer.members:
        raise Refused(_decoded(answer.members["error"]))
    return bytes(answer.members["result"])


def value_of(answer: Envelope) -> dict[str, Any]:
    """The result as Python's; {} where it is no object.

    Raises:
        Refused: the answer is an error.
    """
    value = _decoded(result_of(answer))
    return value if isinstance(value, dict) else {}


def _decoded(raw: bytes | Raw) -> Any:
    try:
        return decode(raw)
    except RecursionError:
        raise Fault("The server's answer nests too deeply to be shown.") from None


def _missing(meta: Raw | None) -> dict[str, str]:
    """What the `_meta` of a list of many servers says of those that took no part."""
    opened = open_object(meta) if meta is not None else None
    said = _decoded(opened[MISSING_KEY]) if opened is not None and MISSING_KEY in opened else None
    return {str(name): str(why) for name, why in said.items()} if isinstance(said, dict) else {}


def _items(raw: Raw | None) -> list[bytes]:
    if raw is None:
        return []
    try:
        return [bytes(item) for item in msgspec.json.decode(raw, type=list[Raw])]
    except (msgspec.DecodeError, RecursionError):
        with suppress(ScanError):
            return scan_items(bytes(raw))
        return []


def _answered(port: _Port) -> Envelope:
    """A cancelled request has no answer: asking for it is a fault of ours."""
    if port.message is None:
        return parse_own(error_message(b"0", INTERNAL_ERROR, "The request ended without an answer. Try again."))
    return port.message


def _ignore(envelope: Envelope) -> None:
    """Nobody listens."""


def _request(id: int, method: str, params: dict[str, Any]) -> Envelope:
    return parse_own(request_message(str(id).encode(), method, Raw(encode(params))))
