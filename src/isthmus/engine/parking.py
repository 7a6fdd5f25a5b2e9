"""A modern client's call at a legacy back, from its first request to its last retry.

The call runs in a leased session as a legacy client's would. `Parked` is the port of that call, and does what the
machine in `protocol/exchange` says.
"""

import asyncio
import hashlib
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Raw

from isthmus import limits
from isthmus.protocol import edits
from isthmus.protocol.crossings import legacy_front, modern_front
from isthmus.protocol.exchange import MOVES, Do, Event, State
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, LOG_LEVEL_KEY, MESSAGE, PROGRESS, PROGRESS_KEY, STATUS_OF_CODE
from isthmus.transports.http_back import error_code
from isthmus.types import Port
from isthmus.wire.codec import close_object, identify, one_line, open_object, parse, parse_own, string
from isthmus.wire.envelope import (
    INTERNAL_ERROR,
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


def owner_of(request: ModernRequest) -> str:
    """Whose call it is: who the front says it is, and what of its headers the back goes by."""
    owner = request.principal or ""
    return f"{owner} {hashlib.sha256(request.forwarded).hexdigest()}" if request.forwarded else owner


class Refusing(ModernRequest):
    """A retry by which some questions are answered with errors, which no client can say in `inputResponses`.

    `refusals` are the error objects by key.
    """

    __slots__ = ("refusals",)
    refusals: Mapping[str, Raw]

    @classmethod
    def of(cls, request: ModernRequest, refusals: Mapping[str, Raw]) -> "Refusing":
        """A request, and what it refuses."""
        made = cls.__new__(cls)
        for name in ModernRequest.__slots__:
            setattr(made, name, getattr(request, name))
        made.refusals = refusals
        return made


class Visit:
    """One open request of the modern client: where its messages go, and what it said of itself."""

    def __init__(self, request: ModernRequest, port: Port, capabilities: Mapping[str, Any]) -> None:
        self.port = port
        self.id: bytes = request.envelope.id or b"null"
        self.token = request.meta.get(PROGRESS_KEY)
        self.level = string(request.meta.get(LOG_LEVEL_KEY))
        self.capabilities = capabilities
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the request is answered."""

    def answer(self, message: bytes, status: int) -> None:
        """The final answer of this request."""
        if not self.ended.done():
            self.ended.set_result(None)
            self.port.answer(message, status)


class Question(NamedTuple):
    """A question of the back: its method and opened parameters, its id in the session as text and as a key.

    `id` is None for a URL that the back demanded in an error, and waits for no answer.
    """

    method: str
    params: Members
    id: bytes | None = None
    key: int | str = 0


class _Urls:
    """The URLs that a back demanded in an error: whether the user will open them, and whether all are done."""

    def __init__(self) -> None:
        self.is_demanded = False
        self.is_declined = False
        self.completed = asyncio.Event()
        self._ids: set[str] = set()

    def demand(self, ids: Iterable[str]) -> None:
        """These are to be opened."""
        self.is_demanded = True
        self._ids = set(ids)

    def hear(self, envelope: Envelope) -> None:
        """The back says something outside any call: perhaps that one is done."""
        if envelope.method == modern_front.ELICITATION_COMPLETE:
            self._ids.discard(string(edits.param(envelope, "elicitationId")) or "")
            if not self._ids:
                self.completed.set()


_NO_URLS: Final = _Urls()
"""What calls have of which no URL was demanded."""


class Parked:
    """One call at a legacy back (`types.Port`), which may outlive the request that began it.

    Args:
        back: the back.
        request: the first request of the client.
        lease: the session that the call runs in.
    """

    is_open = False

    def __init__(self, back: "Back", request: ModernRequest, lease: "Lease[Opened]") -> None:
        self.name = ""
        """Its name in the tickets, once it is parked."""
        self.id = b""
        """The id of the call in its session."""
        self.task: str | None = None
        """The back's task that the call is run as, where it takes no other."""
        self.token = 0
        """What the back was told as the progress token of the call."""
        self.principal = owner_of(request)
        self.digest = ""
        """What the request asks for, once it is parked; every retry must ask for the same."""
        self.round = 0
        self.state = State.OPEN
        self.questions: dict[str, Question] = {}
        """The questions that are out, by the key each is asked under."""
        self.park: Callable[[Visit], None] = _nothing
        """Called with the open request when there are questions to answer it with."""
        self.again: Callable[[], None] = _never
        """Called when the back is to be called again: the user has opened the URLs that it demanded."""
        self.lease = lease
        self.session = lease.session.session
        self.late = 0
        self._urls = _NO_URLS
        self._back = back
        self._row = request.row
        self._visit: Visit | None = None
        self._kept: deque[Envelope] = deque(maxlen=limits.PARKED_KEPT)
        self._final: bytes | None = None

    # -- the client's side ------------------------------------------------------------------------------------------

    def begin(self, visit: Visit) -> None:
        """The first request is open."""
        self._visit = visit

    def retry(
        self, visit: Visit, answers: Mapping[str, Raw], refusals: Mapping[str, Raw] = MappingProxyType({})
    ) -> list[Envelope]:
        """The client called again; its answers as the session takes them, unknown ones ignored.

        Args:
            visit: the request.
            answers: the results, by key.
            refusals: the errors, by key (`Refusing`).
        """
        refused = [(self.questions.pop(key), raw) for key, raw in refusals.items() if key in self.questions]
        taken = [(self.questions.pop(key), raw) for key, raw in answers.items() if key in self.questions]
        self._urls.is_declined |= any(each.id is None and not edits.is_accepted(raw) for each, raw in taken + refused)
        self._visit = visit
        self.lease.resume()
        if self._move(Event.RETRIED) is Do.DELIVER:
            self._give()
            return []
        kept, self._kept = list(self._kept), deque(maxlen=limits.PARKED_KEPT)
        for envelope in kept:
            self._pass_on(envelope, visit)
        if self.questions and self._move(Event.ASKED) is Do.ASSEMBLE:
            asyncio.get_running_loop().call_later(limits.QUESTIONS_TOGETHER, self._assembled)
        elif self._urls.is_demanded:
            self._back.tasks.start(self._call_again())
        replies = [_answer(question, raw) for question, raw in taken if question.id is not None]
        return replies + [_answer(question, raw, "error") for question, raw in refused if question.id is not None]

    def leave(self, visit: Visit) -> None:
        """The client gave a request up; if it is the open one, the call is cancelled."""
        if self._visit is visit:
            self._visit = None
            self._end(Event.LEFT)

    def expire(self) -> None:
        """No retry came in time, or another call waits for the session and no retry came soon."""
        self.lease.resume()  # it ends now, and need not be ended for anybody
        self._end(Event.EXPIRED)

    # -- the back's side (`types.Port`) -----------------------------------------------------------------------------

    def notify(self, message: bytes) -> None:
        """A notification or a question of the back."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.REQUEST:
            self._asked(envelope)
        elif envelope.method == CANCELLED:
            self._withdrawn(envelope)
        elif envelope.method != PROGRESS or edits.token_of(envelope) == self.token:
            do = self._move(Event.SAID)
            if do is Do.PASS and self._visit is not None:
                self._pass_on(envelope, self._visit)
            elif do is Do.KEEP:
                self._kept.append(envelope)

    def answer(self, message: bytes, status: int) -> None:
        """The back's final answer, or why there is none."""
        self.questions.clear()
        if self._visit is not None and self._row.may_ask and modern_front.may_demand_urls(message):
            demand = parse_own(message)
            if error_code(demand) == modern_front.URL_REQUIRED:
                if self._demand_urls(demand, self._visit):
                    return
                message = error_message(self.id, **modern_front.MISSING_URL)
        self._release()
        self._final = message
        if self._move(Event.FINISHED) is Do.GIVE:
            self._give()

    def stream(self, is_chosen: bool = True) -> None:
        """The back may say something before it answers: a client that would be told gets a stream."""
        if self._visit is not None and self.lease.is_exclusive:
            self._visit.port.stream(is_chosen)

    def abandon(self) -> None:
        """The call was cancelled."""
        self._release()

    async def drain(self) -> None:
        """Wait until the client has read enough."""
        if self._visit is not None:
            await self._visit.port.drain()

    # -- inside -----------------------------------------------------------------------------------------------------

    def _move(self, event: Event) -> Do:
        do, self.state = MOVES[self.state][event]
        if do in (Do.LATE, Do.WRONG):
            self.late += 1
        assert do is not Do.BUG, f"{event} in {self.state}"
        return do

    def _asked(self, envelope: Envelope) -> None:
        id, method = envelope.id or b"null", envelope.method
        if method == "ping":
            self._reply(result_message(id, {}))
        elif not self._row.may_ask:
            why = f"Method not found: no {method} can be asked in the middle of {self._row.name}."
            self._reply(error_message(id, METHOD_NOT_FOUND, why))
        else:
            raw = envelope.members.get("params")
            params = (open_object(raw) if raw is not None else None) or {}
            if not self._hold(Question(method, params, id, envelope.key or 0)):
                why = f"Method not found: the call in which {method} was asked has ended."
                self._reply(error_message(id, METHOD_NOT_FOUND, why))

    def _hold(self, question: Question) -> bool:
        """Keep a question for the next round; whether there will be one."""
        do = self._move(Event.ASKED)
        if do in (Do.ASSEMBLE, Do.HOLD):
            self.questions[secrets.token_urlsafe(6)] = question
        if do is Do.ASSEMBLE:
            asyncio.get_running_loop().call_later(limits.QUESTIONS_TOGETHER, self._assembled)
        return do in (Do.ASSEMBLE, Do.HOLD)

    def _demand_urls(self, demand: Envelope, visit: Visit) -> bool:
        """The back wants URLs opened before it is called again; whether the client can be asked to."""
        demanded = modern_front.urls_of(demand)
        if not demanded or not modern_front.can_open_urls(visit.capabilities):
            return False
        self._urls = _Urls()
        self._urls.demand(id for id, _ in demanded)
        self.lease.session.listeners.append(self._urls.hear)
        for _, params in demanded:
            self._hold(Question("elicitation/create", params))
        return True

    async def _call_again(self) -> None:
        """Once the user is done with the URLs, as the back says, or has had time enough."""
        if self._urls.is_declined:
            self.answer(error_message(self.id, INTERNAL_ERROR, "The user did not open the URL that this needs."), 200)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._back.limits.call):
                await self._urls.completed.wait()
        if self.state is State.OVER:
            return
        self.lease.session.listeners.remove(self._urls.hear)
        self._urls = _NO_URLS
        self.again()

    def _release(self) -> None:
        if self._urls.hear in self.lease.session.listeners:
            self.lease.session.listeners.remove(self._urls.hear)
        self.lease.release()

    def _assembled(self) -> None:
        """The questions that came together are asked together, as far as the client may be asked."""
        visit = self._visit
        if visit is None:
            return
        for key, question in list(self.questions.items()):
            refused = modern_front.why_not_asked(question.method, question.params, visit.capabilities)
            if refused is not None and question.id is not None:
                del self.questions[key]
                self._reply(error_message(question.id, *refused))
        if self._move(Event.ASSEMBLED if self.questions else Event.EMPTIED) is Do.PARK:
            self._visit = None
            self.park(visit)

    def _withdrawn(self, envelope: Envelope) -> None:
        raw = edits.param(envelope, "requestId")
        id = identify(raw) if raw is not None else None
        if self._move(Event.WITHDRAWN) is Do.FORGET:
            self.questions = {key: each for key, each in self.questions.items() if each.key != id}

    def _pass_on(self, envelope: Envelope, visit: Visit) -> None:
        if envelope.method == PROGRESS:
            if visit.token is None:
                return
            edits.set_param(envelope, PROGRESS_KEY, bytes(visit.token))
        is_unwanted = envelope.method == MESSAGE and not _is_wanted(envelope, visit.level)
        if is_unwanted or envelope.method == modern_front.ELICITATION_COMPLETE:
            return
        visit.port.notify(one_line(close_object(envelope.members)))

    def _give(self) -> None:
        """Answer the open request with the back's final answer."""
        visit, self._visit = self._visit, None
        if visit is not None and self._final is not None:
            info = self._back.server_info.raw if self._back.server_info is not None else None
            visit.answer(*modern_answer(parse_own(self._final), self._row.name, visit.id, info))

    def _end(self, event: Event) -> None:
        do = self._move(event)
        if do is Do.CANCEL:
            self._back.tasks.start(self._cancel())
        if do in (Do.CANCEL, Do.DROP):
            self._final = None
            self._kept.clear()

    async def _cancel(self) -> None:
        await self.session.notify(_cancelled(self.id))
        if self.task is not None:
            await self.lease.session.ask("tasks/cancel", {"taskId": self.task})
        if self._urls.is_demanded:
            self._urls.completed.set()
            self._release()

    def _reply(self, message: bytes) -> None:
        """Answer a question of the back's ourselves."""
        self._back.tasks.start(self.session.answer(parse_own(message)))


def modern_answer(envelope: Envelope, method: str, id: bytes, info: Raw | None) -> tuple[bytes, int]:
    """A legacy answer as a modern one under another id, and its HTTP status."""
    if "result" in envelope.members:
        result = open_object(envelope.members["result"]) or {}
        modern_front.modern_result(method, result, info)
        envelope.members["result"] = Raw(close_object(result))
        return one_line(edits.with_id(envelope, id)), 200
    error = open_object(envelope.members["error"])
    if error is not None:
        envelope.members["error"] = Raw(close_object(modern_front.modern_error(error)))
    return one_line(edits.with_id(envelope, id)), STATUS_OF_CODE.get(error_code(envelope) or 0, 200)


def _cancelled(id: bytes) -> Envelope:
    """The notification that cancels the request with this id."""
    return parse_own(notification_message(CANCELLED, {"requestId": Raw(id)}))


def _nothing(visit: Visit) -> None:
    """Nobody is told."""


def _never() -> None:
    """Nobody calls again."""


def _is_wanted(envelope: Envelope, level: str | None) -> bool:
    """Whether a log message is at or above the level that the client asked for; without one it asked for none."""
    if level not in legacy_front.LEVELS:
        return False
    said = string(edits.param(envelope, "level"))
    return said not in legacy_front.LEVELS or legacy_front.LEVELS.index(said) >= legacy_front.LEVELS.index(level)


def _answer(question: Question, outcome: Raw, kind: str = "result") -> Envelope:
    id = question.id or b"null"
    members: Members = {"jsonrpc": Raw(b'"2.0"'), "id": Raw(id), kind: outcome}
    return Envelope(Kind.ANSWER, members, "", id, question.key)
