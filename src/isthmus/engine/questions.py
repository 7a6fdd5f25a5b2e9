"""Questions of several sessions to one client, each under an id of ours: two sessions may use the same."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Raw

from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.wire.codec import close_object, identify, one_line
from isthmus.wire.envelope import Envelope

W = TypeVar("W")

Asked = dict[int | str, int]
"""The questions that are open in one place: the ids under which the client was asked, by those of the back."""


class Questions(Generic[W]):
    """What one client was asked, and who waits for its answers."""

    def __init__(self) -> None:
        self._waiting: Correlator[tuple[W, Asked, bytes, int | str]] = Correlator()

    def ask(self, who: W, asked: Asked, question: Envelope) -> bytes:
        """A question of a back as its client is to see it; it is open from now on.

        Args:
            who: waits for the answer.
            asked: what else is open there.
            question: the back's request.
        """
        id, key = self._waiting.mint(), question.key if question.key is not None else 0
        self._waiting.expect(id, (who, asked, question.id or b"null", key))
        asked[key] = id
        return one_line(edits.with_id(question, str(id).encode()))

    def withdraw(self, asked: Asked, envelope: Envelope) -> bytes | None:
        """A back's `notifications/cancelled` of a question as its client is to see it; None where none is open."""
        raw = edits.param(envelope, "requestId")
        key = identify(raw) if raw is not None else None
        id = asked.pop(key, None) if key is not None else None
        if id is None:
            return None
        self._waiting.forget(id)
        edits.set_param(envelope, "requestId", str(id).encode())
        return one_line(close_object(envelope.members))

    def answered(self, envelope: Envelope) -> W | None:
        """Who waits for an answer of the client, which then has the back's id; None, counted, where nobody does."""
        waiting = self._waiting.take(envelope.key)
        if waiting is None:
            return None
        who, asked, id, key = waiting
        if asked.get(key) == envelope.key:  # not of another question under the same id
            del asked[key]
        envelope.members["id"] = Raw(id)
        envelope.id, envelope.key = id, key
        return who

    def forget(self, ids: Iterable[int]) -> None:
        """Nobody waits for the answers to these any more."""
        for id in ids:
            self._waiting.forget(id)

    def __len__(self) -> int:
        """How many nobody has answered yet."""
        return len(self._waiting)
