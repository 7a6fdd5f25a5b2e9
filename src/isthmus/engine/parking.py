"""A modern client's call at a legacy back, from its first request to its last retry.

The call runs in a leased session as a legacy client's would. `Parked` is the port of that call: what comes there goes
to the request of the modern client that is open at the moment (the first one, or a retry); while none is open the call
is *parked*, and what comes is kept, within bounds.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from isthmus import limits
from isthmus.protocol import edits
from isthmus.protocol.crossings import legacy_front, modern_front
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, LOG_LEVEL_KEY, MESSAGE, PROGRESS, PROGRESS_KEY, STATUS_OF_CODE
from isthmus.transports.http_back import error_code
from isthmus.types import Port
from isthmus.wire.codec import close_object, decode, identify, one_line, open_object, parse, string
from isthmus.wire.envelope import (
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    Members,
    error_message,
    notification_message,
    result_message,
)

if TYPE_CHECKING:
    from isthmus.engine.back import Back
    from isthmus.engine.sharing import Opened
    from isthmus.pool.pool import Lease


class Visit:
    """One open request of the modern client: where its messages go, and what it said of itself."""

    def __init__(self, request: ModernRequest, port: Port) -> None:
        self.port = port
        self.id: bytes = request.envelope.id or b"null"
        self.token = request.meta.get(PROGRESS_KEY)
        self.level = string(request.meta.get(LOG_LEVEL_KEY))
        self.capabilities = modern_front.capabilities_of(request)
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the request is answered."""

    def answer(self, message: bytes, status: int) -> None:
        """The final answer of this request."""
        if not self.ended.done():
            self.ended.set_result(None)
            self.port.answer(message, status)


class Parked:
    """One call at a legacy back (`types.Port`), which may outlive the request that began it.

    Args:
        back: the back.
        request: the first request of the client.
        lease: the session that the call runs in.
        digest: what the request asks for; every retry must ask for the same.
    """

    def __init__(self, back: "Back", request: ModernRequest, lease: "Lease[Opened]", digest: str) -> None:
        self.name = secrets.token_urlsafe(12)
        self.id = b""
        """The id of the call in its session."""
        self.principal = request.principal or ""
        self.digest = digest
        self.round = 0
        self.questions: dict[str, tuple[int | str, bytes, str, Members]] = {}
        """By the key a question is asked under: its id in the session, as a key and as text, method and parameters."""
        self._back = back
        self._lease = lease
        self.session = lease.session.session
        self._method = request.row.name
        self._may_ask = request.row.may_ask
        self._visit: Visit | None = None
        self._kept: deque[bytes] = deque(maxlen=limits.PARKED_KEPT)
        self._final: tuple[bytes, int] | None = None
        self._showing: asyncio.Handle | None = None
        self.show: Callable[[], None] = _nothing
        """Called when there are questions to show to the client."""

    # -- the modern side --------------------------------------------------------------------------------------------

    @property
    def visit(self) -> Visit | None:
        """The open request, if there is one."""
        return self._visit

    def attend(self, visit: Visit) -> None:
        """A request of the client is open: give it what was kept, and the answer if it is there."""
        self._visit = visit
        kept, self._kept = list(self._kept), deque(maxlen=limits.PARKED_KEPT)
        for message in kept:
            self.notify(message)
        if self._final is not None:
            self._give(*self._final)
        elif self.questions:
            self._show_soon()

    def detach(self) -> Visit | None:
        """No request is open any more; the one that was."""
        visit, self._visit = self._visit, None
        return visit

    def take_answers(self, answers: Mapping[str, Raw]) -> list[Envelope]:
        """The client's answers to questions that are out, as the session takes them; unknown keys are ignored."""
        taken = []
        for key, raw in answers.items():
            question = self.questions.pop(key, None)
            if question is not None:
                taken.append(_answer(question[0], question[1], raw))
        return taken

    # -- the legacy side (`types.Port`) -----------------------------------------------------------------------------

    is_open = False

    def notify(self, message: bytes) -> None:
        """A notification or a question of the back."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.REQUEST:
            self._asked(envelope)
        elif envelope.method == CANCELLED:
            self._withdrawn(envelope)
        elif self._visit is None:
            self._kept.append(message)
        else:
            self._pass_on(envelope, self._visit)

    def answer(self, message: bytes, status: int) -> None:
        """The back's final answer, or why there is none."""
        self.questions.clear()
        self._lease.release()
        if self._visit is None:
            self._final = (message, status)
        else:
            self._give(message, status)

    def stream(self) -> None:
        """The back answers with a stream; the client gets one when there is something to stream."""

    def abandon(self) -> None:
        """The call was cancelled."""
        self._lease.release()

    async def drain(self) -> None:
        """Wait until the client has read enough."""
        if self._visit is not None:
            await self._visit.port.drain()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _asked(self, envelope: Envelope) -> None:
        session = self.session
        id = envelope.id or b"null"
        if envelope.method == "ping":
            self._back.tasks.start(session.answer(_parsed(result_message(id, {}))))
            return
        params = (open_object(envelope.members["params"]) if "params" in envelope.members else None) or {}
        if not self._may_ask:
            why = f"Method not found: no {envelope.method} can be asked in the middle of {self._method}."
            self._back.tasks.start(session.answer(_parsed(error_message(id, METHOD_NOT_FOUND, why))))
            return
        self.questions[secrets.token_urlsafe(6)] = (envelope.key or 0, id, envelope.method, params)
        if self._visit is not None:
            self._show_soon()

    def _show_soon(self) -> None:
        """Questions that come together are asked together."""
        if self._showing is None:
            self._showing = asyncio.get_running_loop().call_soon(self._show)

    def _show(self) -> None:
        self._showing = None
        if self._visit is None:
            return
        for key, (_, id, method, params) in list(self.questions.items()):
            refused = modern_front.why_not_asked(method, _decoded(params), self._visit.capabilities)
            if refused is not None:
                del self.questions[key]
                self._back.tasks.start(self.session.answer(_parsed(error_message(id, *refused))))
        if self.questions:
            self.show()

    def _withdrawn(self, envelope: Envelope) -> None:
        raw = edits.param(envelope, "requestId")
        id = identify(raw) if raw is not None else None
        for key, question in list(self.questions.items()):
            if question[0] == id:
                del self.questions[key]

    def _pass_on(self, envelope: Envelope, visit: Visit) -> None:
        if envelope.method == PROGRESS:
            if visit.token is None:
                return
            edits.set_param(envelope, PROGRESS_KEY, bytes(visit.token))
        elif (
            envelope.method == MESSAGE and not _is_wanted(envelope, visit.level)
        ) or envelope.method == "notifications/elicitation/complete":
            return
        visit.port.notify(one_line(close_object(envelope.members)))

    def _give(self, message: bytes, status: int) -> None:
        """Answer the open request with the back's final answer."""
        visit = self.detach()
        if visit is None:
            return
        info = self._back.server_info.raw if self._back.server_info is not None else None
        visit.answer(*modern_answer(message, status, self._method, visit.id, info))


def modern_answer(message: bytes, status: int, method: str, id: bytes, info: Raw | None) -> tuple[bytes, int]:
    """A legacy answer as a modern one under another id, and its HTTP status."""
    envelope = _parsed(message)
    if "result" in envelope.members:
        result = open_object(envelope.members["result"]) or {}
        modern_front.modern_result(method, result, info)
        envelope.members["result"] = Raw(close_object(result))
        return one_line(edits.with_id(envelope, id)), 200
    error = open_object(envelope.members["error"])
    if error is not None:
        envelope.members["error"] = Raw(close_object(modern_front.modern_error(error)))
    return one_line(edits.with_id(envelope, id)), STATUS_OF_CODE.get(error_code(envelope) or 0, 200)


def cancelled(id: bytes) -> Envelope:
    """The notification that cancels the request with this id."""
    return _parsed(notification_message(CANCELLED, {"requestId": Raw(id)}))


def _nothing() -> None:
    """Nobody is told."""


def _is_wanted(envelope: Envelope, level: str | None) -> bool:
    """Whether a log message is at or above the level that the client asked for; without one it asked for none."""
    if level not in legacy_front.LEVELS:
        return False
    said = string(edits.param(envelope, "level"))
    return said not in legacy_front.LEVELS or legacy_front.LEVELS.index(said) >= legacy_front.LEVELS.index(level)


def _answer(key: int | str, id: bytes, result: Raw) -> Envelope:
    members: Members = {"jsonrpc": Raw(b'"2.0"'), "id": Raw(id), "result": result}
    return Envelope(Kind.ANSWER, members, "", id, key)


def _parsed(message: bytes) -> Envelope:
    envelope = parse(message)
    assert isinstance(envelope, Envelope)
    return envelope


def _decoded(params: Members) -> dict[str, Any]:
    value = decode(close_object(params))
    return value if isinstance(value, dict) else {}
