"""A modern client's request at a legacy back in which the client is asked nothing, and so is never parked."""

from typing import TYPE_CHECKING, Final

from isthmus.engine.legacy_call import CallOwner, LegacyCall
from isthmus.engine.parking import modern_answer
from isthmus.protocol import edits
from isthmus.protocol.crossings import modern_front
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import CANCELLED, MESSAGE, PROGRESS, PROGRESS_KEY
from isthmus.transports.http_back import error_code
from isthmus.types import Port
from isthmus.wire.codec import close_object, one_line, parse, parse_own
from isthmus.wire.envelope import METHOD_NOT_FOUND, Envelope, Kind, error_message, result_message

if TYPE_CHECKING:
    from isthmus.engine.back import Back
    from isthmus.engine.legacy import LegacySession

_UNWANTED: Final = frozenset({CANCELLED, MESSAGE, modern_front.ELICITATION_COMPLETE})
"""What such a client has no use for: it has no question to be withdrawn, and wants no logs."""


class Passing:
    """The way back to one request of a modern client (`types.Port`).

    Args:
        back: the back.
        request: the client's request.
        client: the way back to the client.
        session: the session that the call runs in.
        id: what the back was told as its progress token.
    """

    __slots__ = ("_back", "_client", "_id", "_info", "_request", "_session")

    def __init__(self, back: "Back", request: ModernRequest, client: Port, session: "LegacySession", id: int) -> None:
        self._id = id
        self._back = back
        self._request = request
        self._client = client
        self._session = session
        self._info = back.server_info.raw if back.server_info is not None else None

    def notify(self, message: bytes) -> None:
        """What the back says before it answers; its questions are refused."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope) or envelope.method in _UNWANTED:
            return
        if envelope.kind is Kind.REQUEST:
            self._refuse(envelope)
            return
        if envelope.method == PROGRESS:
            token = self._request.meta.get(PROGRESS_KEY)
            if token is None or edits.token_of(envelope) != self._id:  # late, of a call that was given up
                return
            edits.set_param(envelope, PROGRESS_KEY, bytes(token))
        self._client.notify(one_line(close_object(envelope.members)))

    def answer(self, message: bytes, status: int) -> None:
        """The answer, or why there is none."""
        self.give(parse_own(message))

    def give(self, envelope: Envelope) -> None:
        """The answer, as the session has it."""
        row = self._request.row
        if "error" in envelope.members and row.may_ask and error_code(envelope) == modern_front.URL_REQUIRED:
            envelope = parse_own(error_message(None, **modern_front.MISSING_URL))
        id = self._request.envelope.id or b"null"
        self._client.answer(*modern_answer(envelope, row.name, id, self._info))

    def stream(self, is_chosen: bool = True) -> None:
        """A client that is told nothing but progress needs no stream before there is some."""

    def abandon(self) -> None:
        """Who cancelled waits for nothing."""

    async def drain(self) -> None:
        await self._client.drain()

    def _refuse(self, question: Envelope) -> None:
        id, method = question.id or b"null", question.method
        why = f"Method not found: the client can't be asked {method}."
        reply = result_message(id, {}) if method == "ping" else error_message(id, METHOD_NOT_FOUND, why)
        self._back.tasks.start(self._session.answer(parse_own(reply)))


class PassingCall(LegacyCall):
    """The call of such a request; cancelling its task cancels it at the back, and its answer is not read twice."""

    __slots__ = ("_passing",)

    is_bound = True

    def __init__(self, session: CallOwner, envelope: Envelope, port: Passing) -> None:
        super().__init__(session, envelope, port)
        self._passing = port

    def answered(self, envelope: Envelope, status: int) -> None:
        if self.is_open:
            self.is_answered = True
            self._passing.give(envelope)
