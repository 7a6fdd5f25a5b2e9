"""A legacy client at a legacy back where it has no session of its own there: each request leases one.

With isolation `request` every request gets a session that nobody used before it. What must outlive a request
(subscriptions, tasks) uses one long-lived *companion*; the level is said again to each fresh session. With `shared`
all clients' requests run in one session, under ids and progress tokens that tell them apart; the calls in which the
back may ask are those of one client at a time, which may have many of them.
"""

import asyncio
from collections.abc import Iterable
from math import inf
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from isthmus.engine.questions import Asked, Questions
from isthmus.engine.sharing import Opened
from isthmus.errors import Fault
from isthmus.pool.policy import Key
from isthmus.pool.pool import Lease, Pool
from isthmus.protocol import edits
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CANCELLED, INITIALIZED, PROGRESS, PROGRESS_KEY
from isthmus.protocol.versions import ASSUMED
from isthmus.types import Port, Strays, Through, refuse_twice
from isthmus.wire.codec import close_object, identify, one_line, open_object, parse, parse_own, string
from isthmus.wire.envelope import Envelope, Kind, error_message, result_message

if TYPE_CHECKING:
    from isthmus.engine.back import Back

_OUTLIVE: Final = frozenset(
    {"resources/subscribe", "resources/unsubscribe", "tasks/get", "tasks/result", "tasks/list", "tasks/cancel"}
)
"""Methods whose effect, or whose object, lives on after the request."""


class _Running:
    """A request that is under way: in which session and under which id, once it has one; `front` is the client's id."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.id = 0
        self.front = b"null"
        self.is_cancelled = False
        self.task = asyncio.current_task()


class _LeasedPort(Through):
    """The way back to one request that runs in a leased session (`types.Port`).

    Questions get an id that is unique among the client's sessions, and progress the client's own token: that of this
    request, which the back was told as `running.id`, and not that of one before it which the back still goes on about.
    """

    def __init__(
        self, owner: "LeasingSession", port: Port, opened: Opened, running: "_Running", token: Raw | None
    ) -> None:
        self._owner = owner
        super().__init__(port)
        self._running = running
        self._opened = opened
        self._token = token
        self.asked: Asked = {}

    def notify(self, message: bytes) -> None:
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.REQUEST:
            message = self._owner.questions.ask(self._opened, self.asked, envelope)
        elif envelope.method == CANCELLED:
            withdrawn = self._owner.questions.withdraw(self.asked, envelope)
            if withdrawn is None:
                return
            message = withdrawn
        elif envelope.method == PROGRESS:
            if self._token is None or edits.token_of(envelope) != self._running.id:
                return
            edits.set_param(envelope, PROGRESS_KEY, bytes(self._token))
            message = one_line(close_object(envelope.members))
        self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        self._port.answer(one_line(edits.with_id(parse_own(message), self._running.front)), status)


class LeasingSession:
    """One legacy client that leases sessions (`types.Session`).

    Args:
        back: the back.
        pool: its sessions.
        strays: where messages go that belong to no request of the client.
        forwarded: lines of the client's headers for every request.
    """

    def __init__(self, back: "Back", pool: Pool[Opened], strays: Strays, forwarded: bytes) -> None:
        self.version = ASSUMED
        self.questions: Questions[Opened] = Questions()
        self._back = back
        self._pool = pool
        self._strays = strays
        self._key = Key("", b"{}", forwarded)
        self._fresh: Lease[Opened] | None = None
        self._companion: Lease[Opened] | None = None
        self._level: str | None = None
        self._running: dict[int | str, _Running] = {}
        self._joining = asyncio.Lock()
        self._taking = asyncio.Lock()
        self._taken: tuple[Lease[Opened], int] | None = None
        self._unanswered: set[int] = set()

    @property
    def heard_since(self) -> float:
        """Only where all share one session, that is the one that answers."""
        if self._companion is None or self._pool.isolation != "shared":
            return inf
        return self._companion.session.session.heard_since

    async def open(self, envelope: Envelope) -> bytes:
        """Open the first session with the client's `initialize`; its answer, for the client.

        Raises:
            Fault: the back can't be opened, or refused.
        """
        self._key = self._key._replace(opening=bytes(envelope.members.get("params", b"{}")))
        lease = self._fresh = await self._lease("initialize")
        self.version = string(lease.session.initialized.get("protocolVersion")) or ASSUMED
        if self._pool.isolation == "shared":
            self._fresh = None
            self._companion = lease
            lease.session.listeners.append(self._hear)
        return one_line(result_message(envelope.id or b"null", Raw(close_object(lease.session.initialized))))

    async def request(self, envelope: Envelope, port: Port) -> None:
        """Take one request to the back, in a session leased for it, and its answer to `port`."""
        key = envelope.key if envelope.key is not None else 0
        if key in self._running:
            refuse_twice(envelope.id, port)
            return
        running = self._running[key] = _Running()
        id = envelope.id
        try:
            await self._lease_and_run(running, envelope, port)
        except Fault as fault:
            port.answer(error_message(id, fault.code, fault.why, fault.data), fault.status)
        except asyncio.CancelledError:
            if not running.is_cancelled or running.task is None or running.task.uncancel() > 0:
                raise
            port.abandon()
        finally:
            del self._running[key]

    async def notify(self, envelope: Envelope) -> None:
        """Take a notification of the client to where it belongs."""
        if envelope.method == CANCELLED:
            raw = edits.param(envelope, "requestId")
            key = identify(raw) if raw is not None else None
            running = self._running.get(key) if key is not None else None
            if running is not None and running.opened is not None:
                edits.set_param(envelope, "requestId", str(running.id).encode())
                await running.opened.session.notify(envelope)
            elif running is not None and running.task is not None:
                running.is_cancelled = True
                running.task.cancel()
        elif envelope.method == PROGRESS:
            asking = self.questions.progressed(envelope)
            if asking is not None:
                await asking.session.notify(envelope)
        elif envelope.method != INITIALIZED:  # each session was told when it was opened
            used = {each.opened for each in self._running.values() if each.opened is not None}
            for opened in used or set(self._kept()):
                await opened.session.notify(envelope)

    async def answer(self, envelope: Envelope) -> None:
        """Take the client's answer to a question there; an answer to nothing is dropped, counted."""
        opened = self.questions.answered(envelope)
        if opened is not None:
            await opened.session.answer(envelope)

    async def close(self) -> None:
        """The client is gone."""
        for lease in (self._fresh, self._companion):
            if lease is not None:
                if self._hear in lease.session.listeners:
                    lease.session.listeners.remove(self._hear)
                lease.release()
        self._fresh = self._companion = None

    # -- inside -----------------------------------------------------------------------------------------------------

    async def _lease(self, label: str, *, is_exclusive: bool = False) -> Lease[Opened]:
        return await self._pool.lease(self._key, label, is_exclusive=is_exclusive, wait=self._back.limits.call)

    async def _lease_and_run(self, running: _Running, envelope: Envelope, port: Port) -> None:
        if envelope.method in _OUTLIVE:
            await self._run(running, envelope, port, await self._long_lived())
            return
        fresh, self._fresh = self._fresh, None
        lease = fresh or await self._take(
            f"{envelope.method} {_name(envelope)}".strip(), is_exclusive=row_of(envelope.method).may_ask
        )
        try:
            await self._run(running, envelope, port, lease.session)
        finally:
            self._give(lease)

    async def _take(self, label: str, *, is_exclusive: bool) -> Lease[Opened]:
        """A session for a request; where all share one, the client's other calls may be in it already."""
        if not is_exclusive or self._pool.isolation != "shared":
            return await self._lease(label, is_exclusive=is_exclusive)
        async with self._taking:
            lease, count = self._taken or (await self._lease(label, is_exclusive=True), 0)
            self._taken = lease, count + 1
            return lease

    def _give(self, lease: Lease[Opened]) -> None:
        """A request is over: its session is given back, by the last of the client's that are in it."""
        if self._taken is not None and self._taken[0] is lease:
            count = self._taken[1] - 1
            self._taken = (lease, count) if count else None
            if count:
                return
        lease.release()

    async def _run(self, running: _Running, envelope: Envelope, port: Port, opened: Opened) -> None:
        if envelope.method == "logging/setLevel":
            self._level = string(edits.param(envelope, "level"))
        else:
            await opened.set_level(self._level)
        id = opened.mint()
        token = _token(envelope)
        running.opened, running.id, running.front = opened, id, envelope.id or b"null"
        envelope.members["id"] = Raw(str(id).encode())
        envelope.id, envelope.key = str(id).encode(), id
        if token is not None:
            edits.set_progress_token(envelope, id)
        answering = _LeasedPort(self, port, opened, running, token)
        is_whole = self._pool.isolation == "request" and row_of(envelope.method).listed is not None
        try:
            if is_whole and edits.param(envelope, "cursor") is None:
                answering.answer(await opened.list_all(envelope), 200)
            else:
                await opened.session.request(envelope, answering)
        finally:
            self._forget(answering.asked.values())

    def _forget(self, ids: Iterable[int]) -> None:
        """A request is over, and with it what was asked in it, unless the client has others there: one may be meant."""
        self._unanswered.update(ids)
        if self._taken is None or self._taken[1] <= 1:
            self.questions.forget(self._unanswered)
            self._unanswered.clear()

    async def _long_lived(self) -> Opened:
        """The companion."""
        async with self._joining:
            if self._companion is None:
                self._companion, self._fresh = self._fresh or await self._lease("companion"), None
                self._companion.session.listeners.append(self._hear)
            return self._companion.session

    def _kept(self) -> list[Opened]:
        return [lease.session for lease in (self._companion, self._fresh) if lease is not None]

    def _hear(self, envelope: Envelope) -> None:
        """The companion says something that belongs to no request; progress belongs to one that is over."""
        if envelope.method != PROGRESS:
            self._strays.notify(one_line(close_object(envelope.members)))


def _name(envelope: Envelope) -> str:
    return string(edits.param(envelope, row_of(envelope.method).routed or "")) or ""


def _token(envelope: Envelope) -> Raw | None:
    params = open_object(envelope.members["params"]) if "params" in envelope.members else None
    meta = open_object(params["_meta"]) if params is not None and "_meta" in params else None
    return meta.get(PROGRESS_KEY) if meta is not None else None
