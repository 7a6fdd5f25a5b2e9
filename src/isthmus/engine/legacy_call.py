"""One request between a legacy client and its session's back, and one question between the back and the client."""

import asyncio
from typing import Protocol

from isthmus.engine.deadlines import Deadlines
from isthmus.errors import Fault
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.methods import row_of
from isthmus.transports.session import BackSession
from isthmus.types import Call, Collect, Port
from isthmus.wire.codec import one_line
from isthmus.wire.envelope import Envelope, error_message


class CallOwner(Protocol):
    """The session that a call belongs to."""

    ids: Correlator[None]
    deadlines: Deadlines

    def notified(self, envelope: Envelope, call: "LegacyCall | None" = None) -> None:
        """The back sent a notification, on the stream of `call` where its transport tells."""

    def asked(self, envelope: Envelope, call: "LegacyCall | None" = None) -> None:
        """The back asks the client, on the stream of `call` where its transport tells."""

    def remember(self, envelope: Envelope) -> None:
        """The back accepted a request that a session replacing it must hear again."""


class Question:
    """A request of the back that waits for the client: who asked, the stream it went out on, the calls that wait.

    `is_shared`: the transport did not tell which call asks, so that every call of the session waits.
    """

    __slots__ = ("calls", "id", "is_shared", "key", "port", "there", "timer")

    def __init__(self, there: BackSession, envelope: Envelope, port: Port, timer: asyncio.TimerHandle) -> None:
        self.there = there
        self.id: bytes = envelope.id or b"null"
        self.key = envelope.key
        self.port = port
        self.timer = timer
        self.calls: list[LegacyCall] = []
        self.is_shared = False


class LegacyCall(Call):
    """One request of a legacy client."""

    __slots__ = (
        "_envelope",
        "_paused",
        "_questions",
        "_session",
        "front_id",
        "is_answered",
        "is_cancelled",
        "port",
        "task",
        "token",
    )

    is_bound = False
    """Whether cancelling its task cancels it at the back."""

    def __init__(self, session: CallOwner, envelope: Envelope, port: Port) -> None:
        super().__init__(session.ids.mint(), row_of(envelope.method))
        self._session = session
        self._envelope = envelope
        self._questions = 0
        self._paused = 0.0
        self.front_id: bytes = envelope.id or b"null"
        self.port = port
        self.task = asyncio.current_task()
        self.token = edits.progress_token(envelope)
        self.is_answered = False
        self.is_cancelled = False

    @property
    def is_open(self) -> bool:
        """Whether the client still waits for the answer."""
        return not self.is_answered and not self.is_cancelled

    def extend(self, seconds: float) -> None:
        if not self._questions:
            super().extend(seconds)

    def pause(self, most: float) -> None:
        """A question is with the client: neither deadline runs until `resume`, which comes in `most` seconds."""
        now = self._session.deadlines.now()
        if not self._questions:
            self._paused = now
        self._questions += 1
        self.deadline = now + most

    def resume(self, seconds: float) -> None:
        """The question is over; with the last one the deadlines run on, the idle one anew."""
        self._questions -= 1
        if not self._questions:
            deadlines = self._session.deadlines
            now = deadlines.now()
            self.expires += now - self._paused
            deadlines.move(self, min(now + seconds, self.expires))

    def expire(self) -> None:
        if self.is_open:
            super().expire()

    def streamed(self) -> None:
        self.port.stream()

    def notified(self, envelope: Envelope) -> None:
        self._session.notified(envelope, self)

    def asked(self, envelope: Envelope) -> None:
        self._session.asked(envelope, self)

    def answered(self, envelope: Envelope, status: int) -> None:
        if not self.is_open:
            return
        self.is_answered = True
        if "result" in envelope.members:
            self._session.remember(self._envelope)
        self.port.answer(one_line(edits.with_id(envelope, self.front_id)), status if status < 300 else 200)

    def fail(self, fault: Fault) -> None:
        """Answer with a fault of ours, unless the call is answered."""
        if self.is_open:
            self.is_answered = True
            self.port.answer(error_message(self.front_id, fault.code, fault.why, fault.data), fault.status)

    async def drain(self) -> None:
        await self.port.drain()


class OwnCall(Collect):
    """A request of the session's own; what the back says before the answer belongs to no call of the client."""

    __slots__ = ("_session",)

    def __init__(self, session: CallOwner, method: str) -> None:
        super().__init__(session.ids.mint(), row_of(method))
        self._session = session

    def notified(self, envelope: Envelope) -> None:
        self._session.notified(envelope)

    def asked(self, envelope: Envelope) -> None:
        self._session.asked(envelope)
