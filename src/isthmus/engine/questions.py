"""Questions of several sessions to one client, each under an id of ours: two sessions may use the same.

So they may of the tokens under which they want progress: the client is told the question's id instead.
"""

from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from msgspec import Raw

from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.names import PROGRESS_KEY
from isthmus.wire.codec import close_object, identify, one_line
from isthmus.wire.envelope import Envelope

W = TypeVar("W")

Asked = dict[int | str, int]
"""The questions that are open in one place: the ids under which the client was asked, by those of the back."""


class _Waiting(NamedTuple, Generic[W]):
    """A question that is open: who asked, what else is open there, and the ids and the token of the back."""

    who: W
    asked: Asked
    id: bytes
    key: int | str
    token: bytes | None


class Questions(Generic[W]):
    """What one client was asked, and who waits for its answers."""

    def __init__(self) -> None:
        self._waiting: Correlator[_Waiting[W]] = Correlator()

    def ask(self, who: W, asked: Asked, question: Envelope, *, is_alone: bool = False) -> bytes:
        """A question of a back as its client is to see it; it is open from now on.

        Args:
            who: waits for the answer.
            asked: what else is open there.
            question: the back's request.
            is_alone: whether nobody else's tokens could be taken for its: then its own stays.
        """
        id, key = self._waiting.mint(), question.key if question.key is not None else 0
        token = edits.set_progress_token(question, id) if not is_alone else None
        self._waiting.expect(id, _Waiting(who, asked, question.id or b"null", key, token))
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
        who, asked, id, key, _ = waiting
        if asked.get(key) == envelope.key:  # not of another question under the same id
            del asked[key]
        envelope.members["id"] = Raw(id)
        envelope.id, envelope.key = id, key
        return who

    def progressed(self, envelope: Envelope) -> W | None:
        """Whose question a `notifications/progress` of the client is about, which then has the back's token.

        None where it is about none that is open.
        """
        waiting = self._waiting.find(edits.token_of(envelope))
        if waiting is None or waiting.token is None:
            return None
        edits.set_param(envelope, PROGRESS_KEY, waiting.token)
        return waiting.who

    def forget(self, ids: Iterable[int]) -> None:
        """Nobody waits for the answers to these any more."""
        for id in ids:
            self._waiting.forget(id)

    def __len__(self) -> int:
        """How many nobody has answered yet."""
        return len(self._waiting)
