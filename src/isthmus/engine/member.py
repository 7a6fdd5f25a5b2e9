"""One back among many: how it was configured, whether it is there, and what is known of what it offers."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from isthmus.engine.gateway import Gateway
from isthmus.engine.inner import Inner
from isthmus.engine.settings import Settings
from isthmus.errors import BackFault, BackRefused, BackUnavailable, CallExpired, Fault, WrongEra
from isthmus.limits import LISTING, MIRRORED_TOOLS, RESTART_MOST
from isthmus.protocol.breaker import Breaker
from isthmus.routing.choice import Choice
from isthmus.routing.face import Face
from isthmus.transports.target import Target
from isthmus.wire.codec import decode, open_object, string
from isthmus.wire.envelope import Envelope, Members

if TYPE_CHECKING:
    from isthmus.engine.stand import Stand

_log: Final = logging.getLogger("isthmus.engine")


@dataclass(frozen=True, slots=True, eq=False)
class Nested:
    """A target that is no back of its own: `open` gives what its requests are handed to."""

    name: str
    open: Callable[[Settings], Inner]


class Owned(Protocol):
    """What a server in this process has, known without asking it."""

    def has(self, kind: str, shown: str) -> bool:
        """Whether it has a thing of a kind that clients call so; of a resource, also by a template of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One server, as configured. Equal specs keep their sessions when the configuration is read again."""

    name: str
    target: Target | Nested
    settings: Settings = field(default_factory=Settings)
    face: Face = field(default_factory=lambda: Face(None, Choice()))
    """How its names look to clients."""
    ttl: float | None = None
    """Seconds that its lists are good for; None where its own word counts."""
    deadline: float = LISTING
    """Seconds that lists, and clients that open a session, wait for it."""
    required: bool = False
    """Whether the proxy does not start without it."""
    beside: str | None = None
    """The server whose sessions it shares: it is the same one, with another face."""
    stand: "Stand | None" = None
    """What is done in the clients' stead; None for nothing."""
    hears_headers: bool = False
    """Whether it is of this process and is told the HTTP headers of each request, under `names.HEADERS_KEY`."""
    owned: Owned | None = None
    """What it has, where that is known here; what it has not then never goes to it."""


class Said(NamedTuple):
    """What a server said it can do, and of its use."""

    offered: dict[str, Any]
    instructions: str | None


Again = Callable[[], Awaitable[Any]]
"""Does once more what a member was late with."""


class Ends(NamedTuple):
    """What the gateway of an only back tells others: strays of its modern channels, and that it was never there."""

    stray: Callable[[Envelope], None] | None = None
    died: Callable[[str], None] | None = None


_NO_ENDS: Final = Ends()
_ASKED_AGAIN: Final = 3
"""How often something is asked of a member that is late with it, the first time included."""


class Member:
    """One of many backs.

    Args:
        spec: how it was configured.
        is_local: whether clients of whom nothing is known are all the user of this machine.
        turned: called when it is out, and when it is there again.
        changed: called when what it lists of a kind (None: of any) may be other than before.
        main: the member that it stands beside, whose gateway it uses.
        ends: what its gateway tells others.
    """

    def __init__(
        self,
        spec: Spec,
        *,
        is_local: bool,
        turned: "Callable[[Member], object]",
        changed: "Callable[[Member, str | None], object]",
        main: "Member | None" = None,
        ends: Ends = _NO_ENDS,
    ) -> None:
        self.spec = spec
        self.name = spec.name
        self.face = spec.face
        self.main = main or self
        """Whose gateway and sessions it uses: its own, unless it stands beside another one."""
        settings = replace(spec.settings, is_local=is_local)
        self.gateway: Inner = main.gateway if main is not None else _open(spec, settings, ends)
        if main is None:
            self.gateway.hear(self._failed, partial(changed, self))
        self._offered: dict[bool, dict[str, Any]] = {}
        """What it said it can do, to modern clients and to legacy ones."""
        self.instructions: str | None = None
        """What it said of its use, to anybody."""
        self.is_private = False
        """Whether it tells each client itself what it is."""
        self._breaker = Breaker()
        self._turned = turned
        self._reviving: asyncio.Task[None] | None = None
        self._doubting: asyncio.Task[None] | None = None
        self._is_closed = False
        self._told: set[str] = set()

    @property
    def why_out(self) -> str | None:
        """Why requests don't go there now; None while they do."""
        return self._breaker.why

    def fault(self) -> Fault:
        """What to tell a client whose request would go to a member that is out."""
        if self._breaker.why is None:
            return BackUnavailable(f"{self.name} was taken out of the configuration, or changed there. Try again.")
        return BackUnavailable(f"{self.name} is not there: {self._breaker.why} It is tried again by itself.")

    @property
    def is_met(self) -> bool:
        """Whether it has said what it is."""
        return bool(self._offered)

    def has_met(self, *, is_modern: bool) -> bool:
        """Whether it has said to a client of an era what it is, and would say nothing else to another."""
        has_said = is_modern in self._offered or (is_modern and self.is_met and self.gateway.is_legacy)
        return has_said and not self.is_private

    def capabilities(self, *, is_modern: bool) -> dict[str, Any] | None:
        """What it said to clients of an era that it can do, or else to those of the other; None while it never said.

        A server of both eras need not do the same in both.
        """
        return self._offered.get(is_modern, self._offered.get(not is_modern))

    def offers(self, kind: str) -> bool:
        """Whether it may have things of a kind; one that has never said may, or that says so to each client itself."""
        return not self._offered or self.is_private or any(kind in offered for offered in self._offered.values())

    def announces(self, kind: str) -> bool:
        """Whether it may say that its things of a kind changed; one that has never said what it is may."""
        if not self._offered:
            return True
        each = [offered.get(kind) for offered in self._offered.values()]
        return any(isinstance(offered, dict) and offered.get("listChanged") is True for offered in each)

    def learn(self, said: Members, *, is_modern: bool = False) -> "Said | None":
        """It said to a client of an era what it is: the opened result of `initialize` or `server/discover`.

        Returns:
            The same, where it is for nobody but this client: the member knows who asks, and calls it not public.
        """
        offered = decode(said["capabilities"]) if "capabilities" in said else {}
        what = Said(offered if isinstance(offered, dict) else {}, string(said.get("instructions")))
        self._offered[is_modern] = what.offered
        self.is_private = self.gateway.forwards and string(said.get("cacheScope")) != "public"
        self.instructions = what.instructions if not self.is_private else None
        self.answered()
        return what if self.is_private else None

    def answered(self) -> None:
        """It gave a sign of life."""
        if self._breaker.recovered() and not self._is_closed:
            if self._reviving is not None:
                self._reviving.cancel()
            _log.warning("%s is back.", self.name)
            self._turned(self)

    def late(self, pending: "asyncio.Task[Any]", again: "Again | None" = None) -> None:
        """It did not take part in something within its deadline.

        Args:
            pending: what still waits for it.
            again: what does the same once more; None where it is enough that it says what it is.
        """
        self._trip(self._too_late(), pending, again)

    def begin(self, work: Any) -> "asyncio.Task[Any]":
        """Run a coroutine until it ends or the member is closed."""
        return self.gateway.tasks.start(work)

    async def probe(self) -> None:
        """Ask it what it is.

        Raises:
            Fault: it can't be asked, or gave no answer within `Limits.call`.
        """
        try:
            async with asyncio.timeout(self.gateway.limits.call):
                said = await self.gateway.probe()
        except TimeoutError:
            raise BackUnavailable(f"{self.name} did not answer in time. Is it an MCP server?") from None
        except BackRefused:
            if not self.gateway.forwards:
                raise
            self.answered()  # it is there, and waits for a client's credentials
            return
        self.learn(open_object(said) or {})

    def refused(self, kind: str, text: bytes) -> None:
        """A thing that it lists is not shown to clients; if that is a mistake of the configuration, it is told once."""
        why = self.face.refusal(kind, text)
        if why is not None and why not in self._told and len(self._told) < MIRRORED_TOOLS:
            self._told.add(why)
            _log.warning("%s: %s", self.name, why)

    def is_busy(self) -> bool:
        """Whether calls are in flight, or parked."""
        return self.gateway.is_busy()

    async def close(self) -> None:
        """End every session, process and connection."""
        self._is_closed = True
        if self._reviving is not None:
            self._reviving.cancel()
        if self.main is self:
            await self.gateway.close()

    def _failed(self, fault: Fault) -> None:
        if isinstance(fault, BackRefused) and self.gateway.forwards:
            return  # one client's credentials are nobody else's trouble
        if isinstance(fault, BackUnavailable) and not isinstance(fault, WrongEra):
            self._trip(fault.why)
        elif isinstance(fault, CallExpired):
            if self.why_out is None and (self._doubting is None or self._doubting.done()):
                self._doubting = self.begin(self._doubt())
        elif isinstance(fault, BackFault) and self._breaker.died(asyncio.get_running_loop().time(), fault.why):
            self._out()

    async def _doubt(self) -> None:
        """A call got no answer in its time. If the server does not even say what it is, it is out."""
        try:
            async with asyncio.timeout(self.spec.deadline):
                await self.probe()
        except TimeoutError:
            self._trip(self._too_late())
        except BackUnavailable as fault:
            self._trip(fault.why)
        except Fault as fault:
            _log.info("%s", fault.why)

    def _too_late(self) -> str:
        return f"it did not answer within {self.spec.deadline:g} s."

    def _trip(self, why: str, pending: "asyncio.Task[Any] | None" = None, again: "Again | None" = None) -> None:
        if self._breaker.trip(why):
            self._out(pending, again)

    def _out(self, pending: "asyncio.Task[Any] | None" = None, again: "Again | None" = None) -> None:
        _log.warning("%s is out: %s", self.name, self._breaker.why)
        self._turned(self)
        if not self._is_closed:
            self._reviving = self.begin(self._revive(pending, again))

    async def _revive(self, pending: "asyncio.Task[Any] | None", again: "Again | None") -> None:
        """Try it until it answers, which ends this; one try at a time, each with more patience than the last.

        An answer may have been lost for good, so no try is waited for as long as its request might take; but that a
        process starts is: a second one would be no faster. One that hangs in a single list is not out for good: when
        that was asked for three times, it only has to say what it is.
        """
        patience = self.spec.deadline
        most = max(patience, RESTART_MOST)
        for number in count(1):
            if pending is None:
                await asyncio.sleep(self._breaker.wait(random.random()))
                pending = self.begin(quietly((again or self.probe)()))
            await asyncio.wait([pending], timeout=patience)
            if not pending.done() and self.gateway.is_opening:
                await asyncio.wait([pending])
            if pending.done() or number == _ASKED_AGAIN:
                again = None
            pending.cancel()
            patience, pending = min(2 * patience, most), None


def _open(spec: Spec, settings: Settings, ends: Ends) -> Inner:
    inner: Inner
    if isinstance(spec.target, Nested):
        inner = spec.target.open(settings)
    else:
        inner = Gateway(spec.target, settings, stray=ends.stray, died=ends.died)
    if spec.stand is None:
        return inner
    from isthmus.engine.standin import stand_in

    return stand_in(inner, spec.stand)


async def quietly(work: Awaitable[Any]) -> None:
    """Do what a member may fail at: it has been put out for that, if it is to be."""
    try:
        await work
    except Fault as fault:
        _log.info("%s", fault.why)


class Awaited(NamedTuple):
    """What a member is to do: the task that waits for it, and what does it once more (`Member.late`)."""

    member: Member
    task: "asyncio.Task[Any]"
    again: Again | None = None


async def within_deadlines(
    waiting: Sequence[Awaited], now: Callable[[], float], spared: Collection[Member] = ()
) -> None:
    """Wait for what each member is to do until it is done or the member's deadline has passed; then the member is out.

    The tasks go on. Those that are `spared` are not put out.
    """
    began = now()
    for deadline in sorted({each.member.spec.deadline for each in waiting}):
        tasks = {each.task for each in waiting if each.member.spec.deadline == deadline and not each.task.done()}
        left = began + deadline - now()
        if tasks and left > 0:
            await asyncio.wait(tasks, timeout=left)
    for member, task, again in waiting:
        if not task.done() and member not in spared:
            member.late(task, again)
