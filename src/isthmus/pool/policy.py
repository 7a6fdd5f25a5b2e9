"""Who gets which session: one pure function over the whole situation.

A back session is leased. An *exclusive* lease is alone in its session among the calls in which the back may ask or log,
because a legacy server need not say which call it means. What *isolation* says is how far sessions are shared beyond
that:

* `request`: a session that nobody used before, for every request, and closed after it;
* `session`: one for each client (`Key`), kept until it has been idle too long;
* `shared`: one for all.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

Isolation = Literal["request", "session", "shared"]


SINGLE: Final = "?"
"""What the principal of a client begins with that nobody knows, and that will not be known again."""


class Key(NamedTuple):
    """Whose client it is, and what a back learns of it once: the parameters of `initialize`, as JSON."""

    principal: str
    opening: bytes

    @property
    def is_single(self) -> bool:
        """Whether this client will not be known again."""
        return self.principal.startswith(SINGLE)


@dataclass(slots=True, eq=False)
class Slot:
    """One back session, from when it is decided to open it."""

    key: Key
    is_open: bool = False
    holder: str | None = None
    """What the exclusive lease is for."""
    sharers: int = 0
    uses: int = 0
    idle_since: float = 0.0

    @property
    def is_free(self) -> bool:
        """Whether nobody has it."""
        return self.holder is None and not self.sharers


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody who waits for a session."""

    key: Key
    label: str
    is_exclusive: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sessions there may be, how long one may be idle (seconds), how many are kept ready for each key."""

    most: int
    idle: float
    warm: int


@dataclass(slots=True)
class State:
    """The situation: all sessions, and those who wait, in their order. `keys` have been seen before."""

    slots: list[Slot] = field(default_factory=list)
    waiters: list[Waiter] = field(default_factory=list)
    keys: dict[Key, None] = field(default_factory=dict)


class Grant(NamedTuple):
    """Give the session to the waiter."""

    waiter: Waiter
    slot: Slot


class Open(NamedTuple):
    """Open a session for a key."""

    key: Key


class Close(NamedTuple):
    """End a session."""

    slot: Slot


class Refuse(NamedTuple):
    """Tell the waiter that it waits no longer, and who has what it waited for."""

    waiter: Waiter
    holder: str | None


Action = Grant | Open | Close | Refuse


def at_once(state: State, isolation: Isolation, asks: Waiter) -> Slot | None:
    """The session that a newcomer can have with nothing else to be decided: nobody waits, and an open one fits."""
    if isolation == "request" or state.waiters:
        return None
    for slot in state.slots:
        if slot.is_open and (isolation == "shared" or slot.key == asks.key) and _fits(slot, asks, {}):
            return slot
    return None


def is_quiet(state: State, isolation: Isolation, slot: Slot) -> bool:
    """Whether nothing is to be decided when a session is given back, before it has been idle too long."""
    return isolation != "request" and not state.waiters and not slot.key.is_single


def decide(state: State, isolation: Isolation, bounds: Bounds, now: float) -> list[Action]:
    """What is to be done, in this order.

    Args:
        state: the situation; it is left as it is.
        isolation: how far sessions are shared.
        bounds: how many and how long.
        now: on the clock of the deadlines.
    """
    closed = [slot for slot in state.slots if _is_over(slot, isolation, bounds, now)]
    over = set(closed)
    slots = [slot for slot in state.slots if slot not in over]
    offered = _offered(slots, isolation)
    granted: list[Action] = []
    taken: dict[Slot, bool] = {}
    unserved: list[Waiter] = []
    for waiter in state.waiters:
        mine = offered[_whose(waiter.key, isolation)]
        slot = next((each for each in mine if _fits(each, waiter, taken)), None)
        if now >= waiter.deadline:
            granted.append(Refuse(waiter, _holder(slots, waiter, isolation)))
        elif slot is None:
            unserved.append(waiter)
        else:
            taken[slot] = taken.get(slot, False) or waiter.is_exclusive
            granted.append(Grant(waiter, slot))
    wanted = _wanted(slots, unserved, isolation)
    room = max(0, bounds.most - len(slots))
    given_up: list[Slot] = []
    if len(wanted) > room:
        idle = sorted((slot for slot in slots if _is_idle(slot, taken)), key=lambda slot: slot.idle_since)
        given_up = idle[: len(wanted) - room]
        room += len(given_up)
    opened = wanted[:room]
    if isolation == "request":
        forgotten = {slot.key for slot in closed if not slot.uses}  # nobody came for its spare: it may never come again
        keys = [key for key in state.keys if key not in forgotten]
        opened += _spares(keys, slots, taken, unserved, bounds)[: room - len(opened)]
    return [*map(Close, closed), *granted, *map(Close, given_up), *map(Open, opened)]


def _is_over(slot: Slot, isolation: Isolation, bounds: Bounds, now: float) -> bool:
    if not slot.is_open or not slot.is_free:
        return False
    is_used_up = slot.uses > 0 and (isolation == "request" or slot.key.is_single)
    return is_used_up or now - slot.idle_since >= bounds.idle


def _whose(key: Key, isolation: Isolation) -> Key | None:
    """What a session and those who may have it have in common."""
    return None if isolation == "shared" else key


def _offered(slots: Sequence[Slot], isolation: Isolation) -> dict[Key | None, list[Slot]]:
    """The open sessions by whose they are; where every request gets its own, those that nobody has had."""
    offered: dict[Key | None, list[Slot]] = defaultdict(list)
    for slot in slots:
        if slot.is_open and (isolation != "request" or (not slot.uses and slot.is_free)):
            offered[_whose(slot.key, isolation)].append(slot)
    return offered


def _fits(slot: Slot, waiter: Waiter, taken: dict[Slot, bool]) -> bool:
    return not waiter.is_exclusive or (slot.holder is None and not taken.get(slot, False))


def _wanted(slots: Sequence[Slot], unserved: Sequence[Waiter], isolation: Isolation) -> list[Key]:
    """The keys of the sessions to open for those who found none; what is being opened already will do for one."""
    keys = [waiter.key for waiter in unserved]
    if isolation == "shared":
        return keys[:1] if not slots else []
    if isolation == "session":
        there = {slot.key for slot in slots}
        return [key for key in dict.fromkeys(keys) if key not in there]
    coming = Counter(slot.key for slot in slots if not slot.is_open)
    wanted = []
    for key in keys:
        coming[key] -= 1
        if coming[key] < 0:
            wanted.append(key)
    return wanted


def _spares(
    keys: Sequence[Key], slots: Sequence[Slot], taken: dict[Slot, bool], unserved: Sequence[Waiter], bounds: Bounds
) -> list[Key]:
    """The keys of the sessions to open ahead, for the keys that were seen before."""
    fresh = Counter(slot.key for slot in slots if not slot.uses and slot.is_free and slot not in taken)
    fresh.subtract(waiter.key for waiter in unserved)
    return [each for key in keys for each in [key] * (bounds.warm - max(0, fresh[key]))]


def _is_idle(slot: Slot, taken: dict[Slot, bool]) -> bool:
    return slot.is_open and slot.is_free and slot not in taken


def _holder(slots: Sequence[Slot], waiter: Waiter, isolation: Isolation) -> str | None:
    whose = _whose(waiter.key, isolation)
    return next((slot.holder for slot in slots if slot.holder and _whose(slot.key, isolation) == whose), None)
