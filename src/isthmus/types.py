"""What the rooms hand to one another: the way back to a client, and a request on its way to a back."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from isthmus.limits import Limits
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.methods import Method
from isthmus.wire.envelope import INVALID_REQUEST, Envelope, error_message


class Port(Protocol):
    """The way back to one request of a client.

    Messages are whole JSON-RPC messages as bytes, without line breaks. After `answer` nothing more is sent.
    """

    def notify(self, message: bytes) -> None:
        """Send a notification or a question before the answer."""

    def answer(self, message: bytes, status: int) -> None:
        """Send the final answer; `status` is the HTTP status where one can still be chosen."""

    def stream(self, is_chosen: bool = True) -> None:
        """The back answers as a stream: so does the front, where it can choose and the client can read one.

        Args:
            is_chosen: False where the back's transport has no such choice: then the client's preference decides.
        """

    def abandon(self) -> None:
        """End without an answer: the client cancelled the request."""

    async def drain(self) -> None:
        """Wait until the client has read enough; bounded by `limits.WRITE_STALLED`, after which it is cut off."""


def refuse_twice(id: bytes | None, port: Port) -> None:
    """Answer a request whose id another one in flight has (basic/index: ids are not used twice in a session)."""
    why = "A request with this id is still in flight; ids may not be used twice."
    port.answer(error_message(id, INVALID_REQUEST, why), 409)


class Strays(Port, Protocol):
    """Where messages go that belong to no request of the client."""

    opened: Callable[[], object] | None
    """Called, where there is one, when the client begins to read there; not where it always does."""

    @property
    def is_open(self) -> bool:
        """Whether the client reads there now."""


class Through:
    """A port before another, which gets whatever a subclass does not take."""

    __slots__ = ("_port",)

    def __init__(self, port: Port) -> None:
        self._port = port

    def notify(self, message: bytes) -> None:
        self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        self._port.answer(message, status)

    def stream(self, is_chosen: bool = True) -> None:
        self._port.stream(is_chosen)

    def abandon(self) -> None:
        self._port.abandon()

    async def drain(self) -> None:
        await self._port.drain()


class Mute:
    """Strays that nobody listens to, and a port that nobody waits at; a subclass says what matters to it."""

    opened: Callable[[], object] | None = None

    @property
    def is_open(self) -> bool:
        return False

    def notify(self, message: bytes) -> None:
        """Nobody hears it."""

    def answer(self, message: bytes, status: int) -> None:
        """Nothing is answered here."""

    def stream(self, is_chosen: bool = True) -> None:
        """Nothing is chosen here."""

    def abandon(self) -> None:
        """Nothing is ended here."""

    async def drain(self) -> None:
        """Nothing is read here."""


class Session(Protocol):
    """A legacy client's session, as its front sees it."""

    version: str
    """The revision that was negotiated."""

    @property
    def heard_since(self) -> float:
        """Since when on the loop's clock the back says in it what of its lists has changed; infinite where it can't."""

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to the back and its answer to `port`."""

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification to the back."""

    async def answer(self, envelope: Envelope) -> None:
        """Take the answer to a question of the back there."""

    async def close(self) -> None:
        """The client is gone."""


class Relay(Protocol):
    """What a front hands its messages to: the engine."""

    limits: Limits

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        """Take one modern request to the back and its answer to `port`; cancelling cancels it there.

        Args:
            request: a request that was judged.
            port: the way back to the client.
            headers: the client's HTTP headers by lower-case name; None where its transport has none.
            task: the task that this runs in, where the caller has it at hand; it is cancelled when the deadline passes.
        """

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Take one modern request to the back without a task, where it can go at once.

        Returns:
            What to call if the client leaves before the answer; None where the request can't go this way: nothing has
            been done then, and `relay` is to be called.
        """

    def is_named(self, via: str) -> bool:
        """Whether the header `Via` of a request says that it was sent by this relay itself, to a back."""

    def can_express(self) -> bool:
        """Whether `express` is likely to take a request now."""

    async def notify(self, envelope: Envelope, version: str) -> None:
        """Take a modern client's notification to the back."""

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        """A session for a legacy client, and the answer to its `initialize`.

        Args:
            envelope: its `initialize`.
            strays: where messages go that belong to no request of it.
            headers: of the HTTP request that opened the session; those that are forwarded go on with all its requests.

        Raises:
            Fault: the back can't be opened, or refused.
        """

    async def end_session(self, session: Session) -> None:
        """A legacy client left."""


class Call(ABC):
    """One request on its way to a back, under the proxy's own `id`, and where its answer goes.

    Transports call the methods below from their readers; none of them waits and none raises.
    """

    __slots__ = ("deadline", "expires", "id", "is_expired", "row", "task")

    def __init__(self, id: int, row: Method) -> None:
        self.id = id
        self.row = row
        self.deadline = 0.0
        """The deadline where `Deadlines` watches it; moved on every sign of life."""
        self.expires = 0.0
        """The moment that no sign of life moves the deadline beyond, on the loop's clock."""
        self.task: asyncio.Task[Any] | None = None
        """The task that waits for the answer."""
        self.is_expired = False
        """Whether the deadline passed, and the task was cancelled for it."""

    def expire(self) -> None:
        """The deadline has passed: the task that waits is cancelled, and `is_expired` says why."""
        self.is_expired = True
        if self.task is not None:
            self.task.cancel()

    def extend(self, seconds: float) -> None:
        """A sign of life: the deadline is `seconds` from now, but not after `expires`."""
        self.deadline = min(asyncio.get_running_loop().time() + seconds, self.expires)

    @abstractmethod
    def streamed(self) -> None:
        """The back began to answer with a stream."""

    @abstractmethod
    def notified(self, envelope: Envelope) -> None:
        """The back sent a notification that belongs to this call."""

    @abstractmethod
    def asked(self, envelope: Envelope) -> None:
        """The back sent a request of its own in the middle of this call."""

    @abstractmethod
    def answered(self, envelope: Envelope, status: int) -> None:
        """The back answered; `status` is its HTTP status, 200 where there is none."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait until the client has read enough."""


class Collect(Call):
    """A request of the proxy's own: its answer is kept, whatever comes before is not."""

    __slots__ = ("answer",)

    def __init__(self, id: int, row: Method) -> None:
        super().__init__(id, row)
        self.answer: Envelope | None = None

    def streamed(self) -> None:
        """Nothing that comes before the answer matters."""

    def notified(self, envelope: Envelope) -> None:
        """Nothing that comes before the answer matters."""

    def asked(self, envelope: Envelope) -> None:
        """Nothing that comes before the answer matters."""

    def answered(self, envelope: Envelope, status: int) -> None:
        self.answer = envelope

    async def drain(self) -> None:
        """Nobody reads it."""
