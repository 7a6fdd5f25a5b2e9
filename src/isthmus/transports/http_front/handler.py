"""What a streamable HTTP endpoint answers to what: verbs, headers, sessions, eras. Knows neither sockets nor ASGI.

Sources: 2026-07-28 basic/transports/streamable-http; 2025-11-25 basic/transports, *Streamable HTTP*.
"""

import asyncio
import re
import secrets
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Final

from isthmus.errors import Fault
from isthmus.protocol.handshake import MOVES, Do, State, event_of, refusal
from isthmus.protocol.judge import ModernRequest, Refusal, judge_modern, meta_of, unsupported
from isthmus.protocol.names import CANCELLED, UNSUPPORTED_VERSION, VERSION_KEY
from isthmus.protocol.subscriptions import closing_message
from isthmus.protocol.versions import BATCHES, LEGACY, MODERN, Era, era_of, has_primers
from isthmus.transports.http_front.guard import Guard
from isthmus.transports.http_front.port import JSON_LINES, BatchPort, CallPort, GetPort, PostPort
from isthmus.transports.http_front.replay import Replay, Total
from isthmus.transports.http_front.request import Admission, Request, Sink, Streams, accepted, is_json
from isthmus.transports.http_front.stream import Stream
from isthmus.types import Relay, Session
from isthmus.wire.codec import open_object, parse
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Batch,
    Envelope,
    Kind,
    Malformed,
    error_message,
)

if TYPE_CHECKING:
    from isthmus.transports.http_front.access import Access
    from isthmus.transports.http_front.sse import SseFront

_VERSION_IN_BODY: Final = VERSION_KEY.encode()
_TOKEN_IN_QUERY: Final = re.compile(r"(?:^|&)(?:access_token|token|api_key|authorization)=", re.IGNORECASE)
_ALLOW: Final = b"Allow: GET, POST, DELETE\r\n"
_NO_SESSION: Final = "There is no session with this id, or it has ended. Start a new one with initialize."
_NO_EVENT: Final = (
    "This Last-Event-ID is of no stream of this session, or of one that ended too long ago. Call again, or open the "
    "session's stream without it."
)
_REMEMBERED: Final = 256


class _Session:
    """A legacy client's session, as this front keeps it."""

    __slots__ = ("get", "in_flight", "principal", "replay", "session", "used")

    def __init__(
        self, session: Session, get: GetPort, replay: Replay[Stream], now: float, principal: str | None
    ) -> None:
        self.session = session
        self.principal = principal
        self.get = get
        self.replay = replay
        self.used = now
        self.in_flight = 0

    def is_idle(self, since: float) -> bool:
        """Whether nothing has happened in it since then, and nothing waits for its client to come back."""
        if self.in_flight or self.get.is_open or self.used > since:
            return False
        return not any(stream.is_missed for stream in self.replay.tracks.values())

    def close(self) -> None:
        """It is over: its stream ends, nothing of it is kept."""
        self.get.close()
        self.replay.close()


class Handler:
    """Answers the requests of one endpoint.

    Args:
        relay: what takes the messages on.
        guard: who may come in.
        path: the endpoint's path.
        access: who may call; None for everybody who may come in.
        sse: serves clients of HTTP+SSE on two more paths, if there are to be any.
    """

    def __init__(
        self,
        relay: Relay,
        guard: Guard,
        path: str = "/mcp",
        access: "Access | None" = None,
        sse: "SseFront | None" = None,
    ) -> None:
        self._sse = sse
        self._relay = relay
        self._guard = guard
        self._path = path
        self._gate = access.gate(guard, path) if access is not None else None
        self._sessions: dict[str, _Session] = {}
        self._ports: set[PostPort] = set()
        self._listening: dict[PostPort, tuple[asyncio.Task[Any], bytes]] = {}
        self._accepts: dict[str | None, tuple[bool, Streams]] = {}
        self._opening = 0
        self._kept = Total()
        self._loop = asyncio.get_running_loop()
        self.is_draining = False

    def handle(self, request: Request, sink: Sink) -> Coroutine[Any, Any, None]:
        """Answer one request; returns when the response is complete. Never raises but for cancellation."""
        if request.admission is not None:
            return self._message(request, sink, request.admission)
        return self._handle(request, sink)

    def express(self, request: Request, sink: Sink) -> bool:
        """Take a modern call the short way, without a task of its own; False where it has to be handled."""
        admission = request.admission
        if admission is None or not admission.is_modern or not self._relay.can_express():
            return False
        message = parse(request.body)
        if not isinstance(message, Envelope) or message.kind is not Kind.REQUEST:
            return False
        judged = judge_modern(message, request.headers)
        if isinstance(judged, Refusal) or judged.row.is_endless:
            return False
        if request.grant is not None:
            judged.principal = request.grant.principal
        port = PostPort(sink, admission.streams, admission.lines, self._loop.time(), self._ports)
        port.left = self._relay.express(judged, port, request.headers)
        if port.left is None:
            port.close()
            return False
        sink.gone = port.leave
        return True

    async def _handle(self, request: Request, sink: Sink) -> None:
        origin = request.headers.get("origin")
        refused = self._guard.judge(request.headers.get("host"), origin)
        if refused is not None:
            _refuse(sink, refused.status, INVALID_REQUEST, refused.why)
            return
        via = request.headers.get("via")
        if via is not None and self._relay.is_named(via):
            _refuse(sink, 508, INTERNAL_ERROR, "This proxy is its own back. Give it the URL of another server.")
            return
        lines = self._guard.cors(origin) if origin is not None else b""
        if self._gate is not None and await self._gate.intercepts(request, sink, lines):
            return
        is_older = self._sse is not None and self._sse.has(request.path)
        if request.path != self._path and not is_older:
            _refuse(sink, 404, INVALID_REQUEST, f"There is nothing here; the endpoint is {self._path}.", lines)
        elif request.query and _TOKEN_IN_QUERY.search(request.query):
            why = "Access tokens must not be in the URL; send them in the Authorization header."
            _refuse(sink, 401, INVALID_REQUEST, why, lines + b"WWW-Authenticate: Bearer\r\n")
        elif request.verb == "OPTIONS" and lines:
            wanted = request.headers.get("access-control-request-headers", "")
            sink.respond(204, self._guard.preflight(origin, wanted), b"")
        elif is_older and self._sse is not None:
            await self._sse.handle(request, sink, lines)
        elif request.verb == "POST":
            await self._post(request, sink, lines)
        elif request.verb not in ("GET", "DELETE") or _speaks_modern(request):
            _refuse(sink, 405, INVALID_REQUEST, f"{request.verb} is not served here.", lines + _ALLOW)
        else:
            await self._on_session(request, sink, lines)

    def tick(self, now: float) -> list[Session]:
        """To be called every second: keeps streams open; the sessions that have been idle too long and now are over."""
        for port in list(self._ports):
            port.tick(now)
        if self._sse is not None:
            self._sse.tick(now)
        over: list[Session] = []
        for id, kept in list(self._sessions.items()):
            kept.get.tick(now)
            kept.replay.expire(now)
            if kept.is_idle(now - self._relay.limits.session_idle):
                del self._sessions[id]
                kept.close()
                over.append(kept.session)
        return over

    def drain(self) -> None:
        """The proxy is to stop: streams that would stay open for ever end, new sessions are refused."""
        self.is_draining = True
        if self._sse is not None:
            self._sse.drain()
        for kept in self._sessions.values():
            kept.get.close()
        listening, self._listening = self._listening, {}
        for port, (task, id) in listening.items():
            port.answer(closing_message(id), 200)
            task.cancel()

    # -- POST -------------------------------------------------------------------------------------------------------

    async def _post(self, request: Request, sink: Sink, lines: bytes) -> None:
        headers = request.headers
        if not is_json(request):
            _refuse(sink, 415, INVALID_REQUEST, "Send the message as Content-Type: application/json.", lines)
            return
        accepts_json, streams = self._accepted(headers.get("accept"))
        if not accepts_json:
            why = "The Accept header must list application/json and text/event-stream."
            _refuse(sink, 406, INVALID_REQUEST, why, lines)
            return
        request.admission = Admission(lines, streams, _speaks_modern(request))
        await self._message(request, sink, request.admission)

    async def _message(self, request: Request, sink: Sink, admission: Admission) -> None:
        lines, streams, is_modern = admission
        message = parse(request.body)
        if isinstance(message, Malformed):
            sink.respond(400, JSON_LINES + lines, error_message(message.id, message.code, message.why))
        elif isinstance(message, Batch):
            await self._batch(message, request, sink, streams, lines)
        elif is_modern or _has_modern_meta(message, request):
            if message.kind is Kind.REQUEST:
                judged = judge_modern(message, request.headers)
                if isinstance(judged, Refusal):
                    body = error_message(message.id, judged.code, judged.why, judged.data)
                    sink.respond(judged.status, JSON_LINES + lines, body)
                    return
                judged.principal = request.principal
                port = PostPort(sink, streams, lines, self._loop.time(), self._ports)
                if not judged.row.is_endless:
                    await self._modern(judged, request, sink, port)
                elif streams:
                    await self._listen(judged, request, sink, port)
                else:
                    _refuse(sink, 406, INVALID_REQUEST, "Listening needs Accept: text/event-stream.", lines)
            else:
                await self._modern_other(message, request, sink, lines)
        else:
            await self._legacy(message, request, sink, streams, lines)

    def _accepted(self, accept: str | None) -> tuple[bool, Streams]:
        known = self._accepts.get(accept)
        if known is None:
            known = accepted(accept or "*/*")
            if len(self._accepts) < _REMEMBERED:
                self._accepts[accept] = known
        return known

    async def _modern(self, judged: ModernRequest, request: Request, sink: Sink, port: PostPort) -> None:
        task = sink.task
        sink.gone = task.cancel if task is not None else None
        try:
            await self._relay.relay(judged, port, request.headers, task)
        finally:
            port.close()

    async def _listen(self, judged: ModernRequest, request: Request, sink: Sink, port: PostPort) -> None:
        """A call that ends only with its client or with us; drained, it is answered as a server does that stops."""
        if sink.task is not None and judged.envelope.id is not None:
            self._listening[port] = (sink.task, judged.envelope.id)
            if self.is_draining:
                self.drain()
        try:
            await self._modern(judged, request, sink, port)
        finally:
            self._listening.pop(port, None)

    async def _modern_other(self, message: Envelope, request: Request, sink: Sink, lines: bytes) -> None:
        if message.kind is Kind.ANSWER:
            why = "A client of this revision must not send responses; answer by calling again with inputResponses."
            sink.respond(400, JSON_LINES + lines, error_message(None, INVALID_REQUEST, why))
            return
        version = request.headers.get("mcp-protocol-version", "")
        if version not in MODERN:
            body = error_message(None, UNSUPPORTED_VERSION, "Unsupported protocol version", unsupported(version))
            sink.respond(400, JSON_LINES + lines, body)
            return
        sink.respond(202, lines, b"")
        await self._relay.notify(message, version)

    async def _legacy(self, message: Envelope, request: Request, sink: Sink, streams: Streams, lines: bytes) -> None:
        if self._refuse_version(request, sink, lines):
            return
        id = request.headers.get("mcp-session-id")
        kept = self._find(id, request) if id is not None else None
        state = State.NEW if id is None else State.OPEN if kept is not None else State.OVER
        do, _ = MOVES[state][event_of(message)]
        if do is Do.BEGIN:
            await self._initialize(message, request, sink, streams, lines)
        elif do is Do.LATE:
            _refuse(sink, 404, INVALID_REQUEST, _NO_SESSION, lines)
        elif kept is None:
            why = "The first request must be initialize; all others carry the Mcp-Session-Id that it gave."
            sink.respond(400, JSON_LINES + lines, error_message(message.id, INVALID_REQUEST, why))
        elif do is not Do.PASS:
            sink.respond(200, JSON_LINES + lines, error_message(message.id, *refusal(do, message)))
        else:
            kept.used = self._loop.time()
            await self._pass(kept, message, sink, streams, lines)

    async def _pass(self, kept: _Session, message: Envelope, sink: Sink, streams: Streams, lines: bytes) -> None:
        if message.kind is Kind.REQUEST:
            port = CallPort(sink, streams, lines, kept.used, self._ports, kept.replay)
            try:
                await self._in_session(kept, message, port)
            finally:
                port.finish()
            return
        if message.kind is Kind.NOTIFICATION and message.method != CANCELLED:
            # The client's next request may rely on it ("initialized"), and on HTTP nothing else keeps the two in order.
            await kept.session.notify(message)
            sink.respond(202, lines, b"")
            return
        sink.respond(202, lines, b"")
        if message.kind is Kind.NOTIFICATION:
            await kept.session.notify(message)
        else:
            await kept.session.answer(message)

    async def _in_session(self, kept: _Session, message: Envelope, to: PostPort | BatchPort) -> None:
        kept.in_flight += 1
        try:
            await kept.session.request(message, to)
        finally:
            kept.in_flight -= 1
            kept.used = self._loop.time()

    async def _initialize(
        self, message: Envelope, request: Request, sink: Sink, streams: Streams, lines: bytes
    ) -> None:
        if self.is_draining or len(self._sessions) + self._opening >= self._relay.limits.sessions:
            why = "There are too many sessions, or the proxy is about to stop. Try again later."
            body = error_message(message.id, INTERNAL_ERROR, why)
            sink.respond(503, JSON_LINES + lines + b"Retry-After: 5\r\n", body)
            return
        replay: Replay[Stream] = Replay(secrets.token_hex(3).encode(), self._kept)
        get = GetPort(replay)
        self._opening += 1
        try:
            session, answer = await self._relay.open_session(message, get, request.headers)
        except Fault as fault:
            body = error_message(message.id, fault.code, fault.why, fault.data)
            sink.respond(fault.status, JSON_LINES + lines, body)
            return
        finally:
            self._opening -= 1
        now = asyncio.get_running_loop().time()
        id = secrets.token_urlsafe(24)
        replay.primes = has_primers(session.version)
        self._sessions[id] = _Session(session, get, replay, now, request.principal)
        lines += b"Mcp-Session-Id: " + id.encode() + b"\r\n"
        PostPort(sink, streams, lines, now, self._ports).answer(answer, 200)

    async def _batch(self, batch: Batch, request: Request, sink: Sink, streams: Streams, lines: bytes) -> None:
        """ "JSON-RPC batches" exist in 2025-03-26 alone; one response per request, together."""
        kept = self._find(request.headers.get("mcp-session-id", ""), request)
        messages = [parse(item) for item in batch.items]
        is_legal = kept is not None and kept.session.version == BATCHES and not _speaks_modern(request) and messages
        envelopes = [each for each in messages if isinstance(each, Envelope)]
        if not is_legal or kept is None or any(each.method == "initialize" for each in envelopes):
            why = "Send one message at a time; batches are part of revision 2025-03-26 alone, after initialize."
            sink.respond(400, JSON_LINES + lines, error_message(None, INVALID_REQUEST, why))
            return
        malformed = [each for each in messages if isinstance(each, Malformed)]
        nested = len(messages) - len(envelopes) - len(malformed)
        port = CallPort(sink, streams, lines, self._loop.time(), self._ports, kept.replay)
        expected = sum(each.kind is Kind.REQUEST for each in envelopes) + len(malformed) + nested
        to = BatchPort(port, expected)
        if not expected:
            sink.respond(202, lines, b"")
        passed: list[Envelope] = []
        for each in envelopes:
            do, _ = MOVES[State.OPEN][event_of(each)]
            if do is not Do.PASS:
                to.answer(error_message(each.id, *refusal(do, each)), 200)
            elif each.kind is Kind.NOTIFICATION:
                await kept.session.notify(each)
            elif each.kind is Kind.ANSWER:
                await kept.session.answer(each)
            else:
                passed.append(each)
        for bad in malformed:
            to.answer(error_message(bad.id, bad.code, bad.why), 200)
        for _ in range(nested):
            to.answer(error_message(None, INVALID_REQUEST, "A batch holds messages, not batches."), 200)
        try:
            await asyncio.gather(*(self._in_session(kept, each, to) for each in passed))
        finally:
            port.finish()

    # -- GET and DELETE ---------------------------------------------------------------------------------------------

    async def _on_session(self, request: Request, sink: Sink, lines: bytes) -> None:
        if self._refuse_version(request, sink, lines):
            return
        id = request.headers.get("mcp-session-id")
        kept = self._find(id, request) if id is not None else None
        if id is None:
            why = f"{request.verb} needs the Mcp-Session-Id of a session."
            _refuse(sink, 400, INVALID_REQUEST, why, lines + _ALLOW)
        elif kept is None:
            _refuse(sink, 404, INVALID_REQUEST, _NO_SESSION, lines)
        elif request.verb == "DELETE":
            del self._sessions[id]
            kept.close()
            sink.respond(200, lines, b"")
            await self._relay.end_session(kept.session)
        else:
            await self._get(kept, request, sink, lines)

    async def _get(self, kept: _Session, request: Request, sink: Sink, lines: bytes) -> None:
        if not self._accepted(request.headers.get("accept"))[1]:
            _refuse(sink, 406, INVALID_REQUEST, "The Accept header must list text/event-stream.", lines)
        elif last := request.headers.get("last-event-id"):
            await self._resume(kept, last, sink, lines)
        elif kept.get.is_open:
            _refuse(sink, 409, INVALID_REQUEST, "This session's stream is open already; there is one at a time.", lines)
        elif self.is_draining:
            why = "The proxy is about to stop. Try again later."
            _refuse(sink, 503, INTERNAL_ERROR, why, lines + b"Retry-After: 5\r\n")
        else:
            await kept.get.serve(sink, lines)
            kept.used = self._loop.time()

    async def _resume(self, kept: _Session, last: str, sink: Sink, lines: bytes) -> None:
        """ "Resumption is always via HTTP GET with `Last-Event-ID`" (2025-11-25 basic/transports)."""
        kept.used = self._loop.time()
        found = kept.replay.find(last)
        if found is None:
            _refuse(sink, 400, INVALID_REQUEST, _NO_EVENT, lines)
        elif kept.get.has(found[0]):
            await kept.get.serve(sink, lines, found[1])
        else:
            await found[0].serve(sink, lines, found[1])
        kept.used = self._loop.time()

    def _find(self, id: str, request: Request) -> _Session | None:
        """The session of this id; one that another principal opened is none, to the byte."""
        kept = self._sessions.get(id)
        return kept if kept is not None and kept.principal == request.principal else None

    def _refuse_version(self, request: Request, sink: Sink, lines: bytes) -> bool:
        """ "invalid or unsupported `MCP-Protocol-Version`": 400 (2025-11-25 basic/transports)."""
        said = request.headers.get("mcp-protocol-version")
        if said is None or said in LEGACY:
            return False
        why = f"The MCP-Protocol-Version {said[:40]!r} is unknown; the legacy ones are {', '.join(LEGACY)}."
        _refuse(sink, 400, INVALID_REQUEST, why, lines)
        return True


def _has_modern_meta(message: Envelope, request: Request) -> bool:
    """ "A request carrying modern per-request `_meta`" (2026-07-28 basic/versioning)."""
    if message.kind is not Kind.REQUEST or _VERSION_IN_BODY not in request.body:
        return False
    params = open_object(message.members["params"]) if "params" in message.members else None
    meta = meta_of(params)
    return meta is not None and VERSION_KEY in meta


def _speaks_modern(request: Request) -> bool:
    said = request.headers.get("mcp-protocol-version")
    return said is not None and (said in MODERN or (said not in LEGACY and era_of(said) is Era.MODERN))


def _refuse(sink: Sink, status: int, code: int, why: str, lines: bytes = b"") -> None:
    sink.respond(status, JSON_LINES + lines, error_message(None, code, why))
