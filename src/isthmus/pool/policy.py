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
from math import inf
from typing import Final, Literal, NamedTuple

Isolation = Literal["request", "session", "shared"]


SINGLE: Final = "?"
"""What the principal of a client begins with that nobody knows, and that will not be known again."""


class Key(NamedTuple):
    """Whose client it is, and what a back learns of it once: the parameters of `initialize`, as JSON, and the header
    lines that go on to it with every request."""

    principal: str
    opening: bytes
    forwarded: bytes = b""

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
    parked_since: float | None = None
    """Since when its holder only waits for its client, and may be ended for somebody who waits for the session."""
    is_recalled: bool = False
    """Whether its holder was told to end, and has not yet."""

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
    """How many sessions there may be, how long one may be idle (seconds), how many are kept ready for each key.

    `grace`: seconds that a parked holder keeps its session from those who wait for it.
    """

    most: int
    idle: float
    warm: int
    grace: float = inf


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
    """Tell the waiter that it waits no longer, and why: its session is not open yet, or who has it."""

    waiter: Waiter
    holder: str | None
    is_opening: bool = False


class Recall(NamedTuple):
    """Have the parked holder of a session end, for somebody who waits."""

    slot: Slot


Action = Grant | Open | Close | Refuse | Recall


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
            granted.append(_refused(slots, waiter, isolation))
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
    recalled = _recalled(slots, unserved, opened, isolation, now - bounds.grace)
    return [*map(Close, closed), *granted, *map(Close, given_up), *map(Open, opened), *map(Recall, recalled)]


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


def _recalled(
    slots: Sequence[Slot], unserved: Sequence[Waiter], opened: Sequence[Key], isolation: Isolation, before: float
) -> list[Slot]:
    """The sessions whose holders were parked `before`, as many as those who wait need and will not get otherwise.

    Nobody's parked call is ended for a stranger: it is one that shares the session. The longest parked go first.
    """
    parked = [(slot.parked_since, slot) for slot in slots if slot.parked_since is not None]
    if not parked or not unserved:
        return []
    needed = Counter(_whose(waiter.key, isolation) for waiter in unserved)
    needed.subtract(_whose(key, isolation) for key in opened)
    needed.subtract(_whose(slot.key, isolation) for slot in slots if not slot.is_open or slot.is_recalled)
    recalled = []
    for since, slot in sorted(parked, key=lambda each: each[0]):
        whose = _whose(slot.key, isolation)
        if since <= before and needed[whose] > 0:
            needed[whose] -= 1
            recalled.append(slot)
    return recalled


def _refused(slots: Sequence[Slot], waiter: Waiter, isolation: Isolation) -> Refuse:
    whose = _whose(waiter.key, isolation)
    mine = [slot for slot in slots if _whose(slot.key, isolation) == whose]
    holder = next((slot.holder for slot in mine if slot.holder), None)
    return Refuse(waiter, holder, any(not slot.is_open for slot in mine))
