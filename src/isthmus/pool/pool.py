"""Does what the policy decides: opens, grants, closes."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any, Generic, TypeVar

from isthmus import limits
from isthmus.errors import BackUnavailable, Fault
from isthmus.pool.policy import (
    Bounds,
    Close,
    Grant,
    Isolation,
    Key,
    Open,
    Refuse,
    Slot,
    State,
    Waiter,
    at_once,
    decide,
    is_quiet,
)

S = TypeVar("S")


class Lease(Generic[S]):
    """A session for a while. `release` gives it back; what is still said in it then belongs to nobody.

    `is_exclusive`: no other call in which the back may ask or log runs in it meanwhile.
    """

    def __init__(self, pool: "Pool[S]", slot: Slot, session: S, is_exclusive: bool) -> None:
        self._pool = pool
        self._slot: Slot | None = slot
        self.session = session
        self.is_exclusive = is_exclusive

    def park(self, end: Callable[[], None]) -> None:
        """The holder only waits for its client now: for somebody who waits for the session it may be told to `end`."""
        if self._slot is not None:
            self._pool.parked(self._slot, end)

    def resume(self) -> None:
        """The holder goes on."""
        if self._slot is not None:
            self._pool.resumed(self._slot)

    def release(self) -> None:
        """Give the session back; idempotent."""
        slot, self._slot = self._slot, None
        if slot is not None:
            self._pool.released(slot, self.is_exclusive)


class Pool(Generic[S]):
    """The sessions with one back.

    Args:
        connect: opens a session for a key.
        end: ends one.
        start: starts a task.
        isolation: how far sessions are shared.
        bounds: how many there may be.
        name: the back's, for the sentence to those who get none.
    """

    def __init__(
        self,
        connect: Callable[[Key], Awaitable[S]],
        end: Callable[[S], Awaitable[None]],
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        isolation: Isolation,
        bounds: Bounds,
        name: str = "The server",
    ) -> None:
        self._connect = connect
        self._end = end
        self._start = start
        self.isolation = isolation
        self._bounds = bounds
        self._name = name
        self._state = State()
        self._sessions: dict[Slot, S] = {}
        self._futures: dict[Waiter, asyncio.Future[Lease[S]]] = {}
        self._ends: dict[Slot, Callable[[], None]] = {}
        self._now = asyncio.get_running_loop().time
        self._ending: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    async def lease(self, key: Key, label: str, *, is_exclusive: bool, wait: float) -> Lease[S]:
        """A session for a request.

        Args:
            key: whose.
            label: what for, for the sentence to those who wait for it.
            is_exclusive: whether the back may ask or log in the middle of the request.
            wait: seconds to wait for it.

        Raises:
            BackUnavailable: none was free in time, or none can be opened.
        """
        if self._is_closed:
            raise BackUnavailable("The proxy is about to stop.")
        waiter = Waiter(key, label, is_exclusive or self.isolation == "request", self._now() + wait)
        slot = at_once(self._state, self.isolation, waiter)
        if slot is not None:
            return self._take(waiter, slot)
        future: asyncio.Future[Lease[S]] = asyncio.get_running_loop().create_future()
        self._futures[waiter] = future
        self._state.waiters.append(waiter)
        self._step()
        try:
            async with asyncio.timeout(wait + 1.0):
                return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                future.result().release()
            raise
        except TimeoutError:
            raise BackUnavailable(f"No session was free for {label} within {wait:.0f} s. Try again.") from None
        finally:
            self._futures.pop(waiter, None)
            if waiter in self._state.waiters:
                self._state.waiters.remove(waiter)

    def released(self, slot: Slot, is_exclusive: bool) -> None:
        """A lease of the session has ended."""
        if is_exclusive:
            slot.holder = None
        else:
            slot.sharers -= 1
        if self._ends:
            self.resumed(slot)
        slot.is_recalled = False
        slot.idle_since = self._now()
        if self._timer is None or not is_quiet(self._state, self.isolation, slot):
            self._step()

    def parked(self, slot: Slot, end: Callable[[], None]) -> None:
        """The holder of the session waits for its client; `end` ends it."""
        slot.parked_since = self._now()
        self._ends[slot] = end
        if self._state.waiters:
            self._step()

    def resumed(self, slot: Slot) -> None:
        """The holder of the session, if it was parked, is not any more."""
        slot.parked_since = None
        self._ends.pop(slot, None)

    async def close(self) -> None:
        """End every session; whoever waits is refused."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in list(self._state.waiters):
            self._refuse(waiter, BackUnavailable("The proxy is about to stop."))
        sessions, self._sessions = list(self._sessions.values()), {}
        self._state.slots.clear()
        await asyncio.gather(*(self._end(session) for session in sessions), *self._ending, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._state.slots)

    def __iter__(self) -> Iterator[S]:
        """The sessions that are open."""
        return iter(self._sessions.values())

    def is_awaited(self) -> bool:
        """Whether anybody waits for a session."""
        return len(self._state.waiters) > 0

    def __repr__(self) -> str:
        slots = self._state.slots
        held = sum(1 for slot in slots if slot.holder is not None)
        parked = f" ({len(self._ends)} parked)" if self._ends else ""
        shared = sum(1 for slot in slots if slot.sharers)
        opening = sum(1 for slot in slots if not slot.is_open)
        spare = sum(1 for slot in slots if slot.is_open and slot.is_free and not slot.uses)
        idle = sum(1 for slot in slots if slot.is_open and slot.is_free and slot.uses)
        return (
            f"<Pool {self.isolation}: {len(slots)} sessions ({opening} opening, {held} held{parked}, {shared} shared, "
            f"{spare} spare, {idle} idle), {len(self._state.waiters)} waiting>"
        )

    # -- inside -----------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        if self._is_closed:
            return
        # one who has just left would take what somebody else waits for
        self._state.waiters = [each for each in self._state.waiters if not self._futures[each].done()]
        for action in decide(self._state, self.isolation, self._bounds, self._now()):
            if isinstance(action, Grant):
                self._grant(action.waiter, action.slot)
            elif isinstance(action, Open):
                slot = Slot(action.key)
                self._state.slots.append(slot)
                is_ahead = all(each.key != action.key for each in self._state.waiters)
                self._start(self._open(slot, limits.SPARE_PAUSE if is_ahead else 0.0))
            elif isinstance(action, Close):
                self._state.slots.remove(action.slot)
                if not action.slot.uses:  # a spare that nobody came for
                    self._state.keys.pop(action.slot.key, None)
                session = self._sessions.pop(action.slot, None)
                if session is not None:
                    ending = self._start(self._ended(session))
                    self._ending.add(ending)
                    ending.add_done_callback(self._ending.discard)
            elif isinstance(action, Refuse):
                self._refuse(action.waiter, BackUnavailable(self._why(action)))
            else:  # these come last: whoever ends may give the session back at once
                end = self._ends[action.slot]
                self.resumed(action.slot)
                action.slot.is_recalled = True
                end()
        self._set_timer()

    def _why(self, refused: Refuse) -> str:
        if refused.is_opening:
            return f"{self._name} did not open a session for {refused.waiter.label} in time. Is it running?"
        held = f" It is held by {refused.holder}." if refused.holder else ""
        return f"No session was free for {refused.waiter.label} in time.{held} Try again."

    def _grant(self, waiter: Waiter, slot: Slot) -> None:
        self._state.waiters.remove(waiter)
        self._futures[waiter].set_result(self._take(waiter, slot))

    def _take(self, waiter: Waiter, slot: Slot) -> Lease[S]:
        if waiter.is_exclusive:
            slot.holder = waiter.label
        else:
            slot.sharers += 1
        slot.uses += 1
        if not slot.key.is_single:
            self._state.keys[slot.key] = None
        if len(self._state.keys) > self._bounds.most:
            del self._state.keys[next(iter(self._state.keys))]
        return Lease(self, slot, self._sessions[slot], waiter.is_exclusive)

    def _refuse(self, waiter: Waiter, fault: Fault) -> None:
        self._state.waiters.remove(waiter)
        future = self._futures[waiter]
        if not future.done():
            future.set_exception(fault)

    async def _open(self, slot: Slot, pause: float) -> None:
        try:
            if pause and self.isolation == "request":
                await asyncio.sleep(pause)
            session = await self._connect(slot.key)
        except Fault as fault:
            self._failed(slot, fault)
            return
        except BaseException:
            self._failed(slot, Fault("The proxy failed to open a session with the back. See its log."))
            raise
        if slot not in self._state.slots:
            await self._end(session)
            return
        self._sessions[slot] = session
        slot.is_open = True
        slot.idle_since = self._now()
        self._step()

    def _failed(self, slot: Slot, fault: Fault) -> None:
        """A session can't be opened: those who wait for one like it are told."""
        if slot in self._state.slots:
            self._state.slots.remove(slot)
        self._state.keys.pop(slot.key, None)  # no spares for a key that the back refuses
        for waiter in [each for each in self._state.waiters if each.key == slot.key or self.isolation == "shared"]:
            self._refuse(waiter, fault)
        self._step()

    async def _ended(self, session: S) -> None:
        await self._end(session)

    def _set_timer(self) -> None:
        """Look again when the next deadline passes, or the next session has been idle too long."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        times = [waiter.deadline for waiter in self._state.waiters]
        times += [slot.idle_since + self._bounds.idle for slot in self._state.slots if slot.is_open and slot.is_free]
        if times and self._state.waiters:
            times += [slot.parked_since + self._bounds.grace for slot in self._ends if slot.parked_since is not None]
        if times and not self._is_closed:
            self._timer = asyncio.get_running_loop().call_at(min(times), self._step)
