"""A legacy session that modern clients lease: what was said at its opening, and who hears what belongs to no call."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from isthmus import limits
from isthmus.engine.legacy import LegacySession
from isthmus.protocol.names import INITIALIZED
from isthmus.wire.codec import open_object, parse
from isthmus.wire.envelope import (
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    Members,
    error_message,
    notification_message,
    request_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from isthmus.engine.back import Back

_INITIALIZED: Final = notification_message(INITIALIZED)


class Opened:
    """An open session with a legacy back (`types.Strays` for what belongs to no call in it).

    `initialized` is the opened result of `initialize`; `level` the log level that the session was told.
    """

    is_open = False

    def __init__(self, back: "Back") -> None:
        self._back = back
        self.session = LegacySession(back, self)
        self.initialized: Members = {}
        self.level: str | None = None
        self.listeners: list[Callable[[Envelope], None]] = []
        self._asked: deque[bytes] = deque(maxlen=limits.PENDING_STRAYS)

    async def open(self, params: "dict[str, Any]") -> None:
        """Open it.

        Args:
            params: of `initialize`.

        Raises:
            Fault: it can't be opened.
        """
        request = parse(request_message(b"0", "initialize", params))
        assert isinstance(request, Envelope)
        answer = parse(await self.session.open(request))
        assert isinstance(answer, Envelope)
        self.initialized = open_object(answer.members["result"]) or {}
        told = parse(_INITIALIZED)
        assert isinstance(told, Envelope)
        await self.session.notify(told)

    async def close(self) -> None:
        """End it."""
        await self.session.close()

    def take_questions(self) -> list[bytes]:
        """The questions that came outside any call and wait for one; whoever takes them answers them."""
        asked = list(self._asked)
        self._asked.clear()
        return asked

    # -- what belongs to no call (`types.Strays`) -------------------------------------------------------------------

    def notify(self, message: bytes) -> None:
        """A notification for those who listen, or a question for the next call that may be asked one."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.NOTIFICATION:
            for listener in list(self.listeners):
                listener(envelope)
            return
        self._asked.append(message)
        asyncio.get_running_loop().call_later(limits.STRAY_QUESTION, self._refuse, message)

    def answer(self, message: bytes, status: int) -> None:
        """Nothing is answered here."""

    def stream(self) -> None:
        """Nothing is chosen here."""

    def abandon(self) -> None:
        """Nothing is ended here."""

    async def drain(self) -> None:
        """Nothing is read here."""

    def _refuse(self, message: bytes) -> None:
        """No call came that the question could be asked in."""
        if message in self._asked:
            self._asked.remove(message)
            envelope = parse(message)
            assert isinstance(envelope, Envelope)
            why = f"Method not found: there is no call in which {envelope.method} could be asked."
            refusal = parse(error_message(envelope.id, METHOD_NOT_FOUND, why))
            assert isinstance(refusal, Envelope)
            self._back.tasks.start(self.session.answer(refusal))
