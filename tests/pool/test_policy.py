"""Who gets which session: scripts of situations, without any loop."""

from typing import Any

import pytest

from isthmus.pool.policy import (
    SINGLE,
    Action,
    Bounds,
    Close,
    Grant,
    Isolation,
    Key,
    Open,
    Recall,
    Refuse,
    Slot,
    State,
    Waiter,
    at_once,
    is_quiet,
)
from isthmus.pool.policy import decide as _decide

A, B, C = (Key(name, b"{}") for name in "abc")
BOTH = pytest.mark.parametrize("is_exclusive", [True, False])
ALL: tuple[Isolation, ...] = ("request", "session", "shared")


def slot(key: Key = A, **state: Any) -> Slot:
    """An open session that was used once and is free."""
    return Slot(key, **{"is_open": True, "uses": 1, **state})


def fresh(key: Key = A, **state: Any) -> Slot:
    return slot(key, uses=0, **state)


def waiter(key: Key = A, *, is_exclusive: bool = True, label: str = "a call", deadline: float = 100.0) -> Waiter:
    return Waiter(key, label, is_exclusive, deadline)


def decide(
    isolation: Isolation,
    slots: tuple[Slot, ...] = (),
    waiters: tuple[Waiter, ...] = (),
    keys: tuple[Key, ...] = (),
    now: float = 0.0,
    **bounds: Any,
) -> list[Action]:
    """What is decided; the situation is left as it is, and deciding again comes to the same."""
    state = State(list(slots), list(waiters), dict.fromkeys(keys))
    before = repr(state)
    made = Bounds(**{"most": 4, "idle": 60.0, "warm": 0, **bounds})
    actions = _decide(state, isolation, made, now)
    assert repr(state) == before
    assert _decide(state, isolation, made, now) == actions
    return actions


@pytest.mark.parametrize("isolation", ALL)
def test_nothing_to_do(isolation: Isolation) -> None:
    assert decide(isolation) == []


@pytest.mark.parametrize("isolation", ALL)
@BOTH
def test_the_first_gets_a_session_opened(isolation: Isolation, is_exclusive: bool) -> None:
    asks = waiter(is_exclusive=is_exclusive)
    assert decide(isolation, (), (asks,)) == [Open(A)]
    assert decide(isolation, (Slot(A),), (asks,)) == []  # it is being opened
    opened = fresh()
    assert decide(isolation, (opened,), (asks,)) == [Grant(asks, opened)]


# -- request ---------------------------------------------------------------------------------------------------------


def test_request_never_uses_a_session_twice() -> None:
    used, asks = slot(), waiter()
    assert decide("request", (used,), (asks,)) == [Close(used), Open(A)]
    held = slot(holder="x")
    assert decide("request", (held,), (asks,)) == [Open(A)]


def test_request_opens_one_for_each_and_no_more_than_are_missing() -> None:
    waiters = waiter(), waiter(), waiter(B)
    assert decide("request", (), waiters) == [Open(A), Open(A), Open(B)]
    assert decide("request", (Slot(A),), waiters) == [Open(A), Open(B)]
    one = fresh()
    assert decide("request", (one, Slot(A)), waiters) == [Grant(waiters[0], one), Open(B)]


def test_a_session_opened_for_one_client_is_no_other_s() -> None:
    theirs, asks = fresh(B), waiter(A)
    assert decide("request", (theirs,), (asks,)) == [Open(A)]
    assert decide("session", (theirs,), (asks,)) == [Open(A)]
    other_opening = Key("a", b'{"capabilities":{"roots":{}}}')
    assert decide("session", (slot(other_opening),), (asks,)) == [Open(A)]


def test_spares_are_opened_for_those_who_were_seen() -> None:
    assert decide("request", (), (), (A, B), warm=1) == [Open(A), Open(B)]
    assert decide("request", (), (), (A,), warm=3) == [Open(A)] * 3
    assert decide("request", (fresh(), Slot(A)), (), (A,), warm=3) == [Open(A)]
    assert decide("request", (), (), (A,), warm=0) == []
    for isolation in ("session", "shared"):
        assert decide(isolation, (), (), (A,), warm=1) == []


def test_a_spare_that_is_taken_is_opened_again() -> None:
    spare, asks = fresh(), waiter()
    assert decide("request", (spare,), (asks,), (A,), warm=1) == [Grant(asks, spare), Open(A)]


def test_what_is_opened_for_one_who_waits_is_no_spare() -> None:
    assert decide("request", (Slot(A),), (waiter(),), (A,), warm=1) == [Open(A)]
    assert decide("request", (Slot(A), Slot(A)), (waiter(),), (A,), warm=1) == []


def test_spares_take_only_the_room_that_is_left() -> None:
    held = [slot(holder="x") for _ in range(3)]
    assert decide("request", tuple(held), (), (A, B, C), warm=1) == [Open(A)]
    assert decide("request", tuple(held), (waiter(B),), (A,), warm=1) == [Open(B)]
    assert decide("request", (*held, slot(holder="x")), (), (A,), warm=1) == []


def test_a_spare_makes_room_for_one_who_waits_and_is_not_opened_again_at_once() -> None:
    held = [slot(holder="x") for _ in range(3)]
    spare, asks = fresh(B), waiter(A)
    assert decide("request", (*held, spare), (asks,), (A, B), warm=1) == [Close(spare), Open(A)]


def test_a_spare_that_nobody_wanted_for_long_is_not_opened_again() -> None:
    """Else a client that never comes back would keep a process for ever."""
    spare = fresh(idle_since=0)
    assert decide("request", (spare,), (), (A, B), now=60, warm=1) == [Close(spare), Open(B)]


# -- session ---------------------------------------------------------------------------------------------------------


def test_session_keeps_one_for_each_key() -> None:
    mine = slot()
    first, second, other = waiter(), waiter(), waiter(B)
    assert decide("session", (mine,), (first,)) == [Grant(first, mine)]
    assert decide("session", (), (first, second, other)) == [Open(A), Open(B)]
    assert decide("session", (Slot(A),), (first, second)) == []


def test_session_gives_one_exclusive_lease_at_a_time() -> None:
    mine, first, second = slot(), waiter(), waiter()
    assert decide("session", (mine,), (first, second)) == [Grant(first, mine)]
    assert decide("session", (slot(holder="x"),), (second,)) == []


def test_lists_and_the_like_share_it_with_whoever_has_it() -> None:
    held, shared, asks = slot(holder="x"), slot(sharers=2), waiter(is_exclusive=False)
    assert decide("session", (held,), (asks,)) == [Grant(asks, held)]
    assert decide("session", (shared,), (asks,)) == [Grant(asks, shared)]
    alone = waiter()
    assert decide("session", (shared,), (alone,)) == [Grant(alone, shared)]  # alone among those that may be asked
    mine, another = slot(), waiter(is_exclusive=False)
    assert decide("session", (mine,), (alone, another)) == [Grant(alone, mine), Grant(another, mine)]


def test_they_are_served_in_their_order() -> None:
    mine = slot()
    waiters = [waiter(label=str(n)) for n in range(3)]
    assert decide("session", (mine,), tuple(waiters)) == [Grant(waiters[0], mine)]
    later = waiter(B), *waiters
    theirs = slot(B)
    assert decide("session", (mine, theirs), later) == [Grant(later[0], theirs), Grant(waiters[0], mine)]


def test_a_session_that_was_idle_too_long_is_closed() -> None:
    assert decide("session", (slot(idle_since=0),), now=59.9) == []
    over = slot(idle_since=0)
    assert decide("session", (over,), now=60) == [Close(over)]
    assert decide("session", (slot(idle_since=0, sharers=1),), now=99) == []
    assert decide("session", (slot(idle_since=0, holder="x"),), now=99) == []
    assert decide("session", (Slot(A),), now=99) == []  # it is being opened


def test_one_that_is_over_is_not_granted() -> None:
    over, asks = slot(idle_since=0), waiter()
    assert decide("session", (over,), (asks,), now=60) == [Close(over), Open(A)]


@pytest.mark.parametrize("isolation", ["session", "request"])
def test_a_client_that_nobody_will_know_again_leaves_nothing(isolation: Isolation) -> None:
    single = Key(SINGLE + "x", b"{}")
    used = slot(single)
    assert decide(isolation, (used,)) == [Close(used)]
    assert decide(isolation, (slot(single, holder="x"),)) == []
    assert decide(isolation, (fresh(single),)) == []


# -- shared ----------------------------------------------------------------------------------------------------------


def test_shared_is_one_for_all() -> None:
    one = slot(A)
    mine, theirs = waiter(A, is_exclusive=False), waiter(B, is_exclusive=False)
    assert decide("shared", (one,), (mine, theirs)) == [Grant(mine, one), Grant(theirs, one)]
    assert decide("shared", (), (mine, theirs)) == [Open(A)]
    assert decide("shared", (Slot(B),), (mine, theirs)) == []


def test_shared_gives_one_exclusive_lease_at_a_time() -> None:
    one, mine, theirs = slot(A), waiter(A), waiter(B)
    assert decide("shared", (one,), (mine, theirs)) == [Grant(mine, one)]
    assert decide("shared", (slot(holder="x"),), (theirs,)) == []


# -- ceilings and queues ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["session", "request"])
def test_the_ceiling(isolation: Isolation) -> None:
    held = [slot(Key(f"k{n}", b""), holder="x") for n in range(4)]
    assert decide(isolation, tuple(held), (waiter(),)) == []
    assert decide(isolation, tuple(held[:3]), (waiter(A), waiter(B))) == [Open(A)]


def test_idle_sessions_make_room_the_longest_idle_first() -> None:
    old, older = slot(B, idle_since=2), slot(C, idle_since=1)
    held = slot(Key("d", b""), holder="x"), slot(Key("e", b""), sharers=1)
    assert decide("session", (old, older, *held), (waiter(A),), now=3) == [Close(older), Open(A)]
    asks = waiter(A), waiter(Key("f", b""))
    assert decide("session", (old, older, *held), asks, now=3) == [
        Close(older),
        Close(old),
        Open(A),
        Open(asks[1].key),
    ]


def test_one_that_is_granted_now_makes_no_room() -> None:
    mine, asks, other = slot(A), waiter(A), waiter(B)
    assert decide("session", (mine,), (asks, other), most=1) == [Grant(asks, mine)]


@pytest.mark.parametrize("isolation", ALL)
def test_who_waited_too_long_is_told_who_has_it(isolation: Isolation) -> None:
    held, late = slot(holder="tools/call dig"), waiter(deadline=5)
    assert decide(isolation, (held,), (late,), now=4.9, most=1) == []
    assert decide(isolation, (held,), (late,), now=5, most=1) == [Refuse(late, "tools/call dig")]


def test_the_holder_of_another_s_session_is_not_named() -> None:
    """What one client does is no other's to know, except where all share one session."""
    theirs, late = slot(B, holder="tools/call secret"), waiter(A, deadline=5)
    assert decide("session", (theirs,), (late,), now=5, most=1) == [Refuse(late, None)]
    assert decide("request", (theirs,), (late,), now=5, most=1) == [Refuse(late, None)]
    assert decide("shared", (theirs,), (late,), now=5) == [Refuse(late, "tools/call secret")]


def test_one_who_waited_too_long_keeps_nobody_waiting() -> None:
    mine, late, next = slot(), waiter(deadline=5), waiter(deadline=9)
    assert decide("session", (mine,), (late, next), now=6) == [Refuse(late, None), Grant(next, mine)]


# -- what needs no decision ------------------------------------------------------------------------------------------


def test_a_newcomer_gets_at_once_what_would_be_decided() -> None:
    """And never before those who wait, nor where the next step is to be decided too."""
    mine, theirs, held, coming = slot(), slot(B), slot(holder="x"), Slot(A)
    for isolation in ALL:
        for slots in ([], [mine], [theirs], [held], [coming], [held, mine], [theirs, mine]):
            for is_exclusive in (True, False):
                asks = waiter(is_exclusive=is_exclusive)
                got = at_once(State(list(slots)), isolation, asks)
                decided = [each for each in decide(isolation, tuple(slots), (asks,)) if isinstance(each, Grant)]
                expected = [] if isolation == "request" else decided
                assert ([Grant(asks, got)] if got is not None else []) == expected
                assert at_once(State(list(slots), [waiter()]), isolation, asks) is None


def test_what_was_given_back_changes_nothing_where_nobody_waits() -> None:
    mine, single = slot(), slot(Key(SINGLE + "x", b"{}"))
    for isolation in ("session", "shared"):
        assert is_quiet(State([mine]), isolation, mine) and decide(isolation, (mine,)) == []
        assert not is_quiet(State([mine], [waiter(B)]), isolation, mine)
        assert not is_quiet(State([single]), isolation, single)
    assert not is_quiet(State([mine]), "request", mine)


def test_one_who_waits_for_an_opening_too_long_is_told_so() -> None:
    late = waiter(deadline=5)
    for isolation in ALL:
        assert decide(isolation, (Slot(A),), (late,), now=5, most=1) == [Refuse(late, None, is_opening=True)]


@pytest.mark.parametrize("isolation", ["session", "shared"])
def test_a_parked_holder_ends_for_one_who_waits_when_its_grace_is_over(isolation: Isolation) -> None:
    parked, asks = slot(holder="ask", parked_since=10.0), waiter()
    assert decide(isolation, (parked,), (asks, waiter()), now=39.9, grace=30) == []
    assert decide(isolation, (parked,), (asks, waiter()), now=40.0, grace=30) == [Recall(parked)]
    assert decide(isolation, (parked,), (), now=40.0, grace=30) == []  # nobody wants it
    assert decide(isolation, (slot(holder="dig"),), (asks,), now=40.0, grace=30) == []  # it is at work
    told = slot(holder="ask", is_recalled=True)
    assert decide(isolation, (told,), (asks,), now=40.0, grace=30) == []


def test_a_parked_holder_ends_for_no_stranger() -> None:
    parked, asks = slot(holder="ask", parked_since=0.0), waiter(B)
    assert decide("session", (parked,), (asks,), now=40.0, grace=30, most=1) == []
    assert decide("request", (parked,), (asks,), now=40.0, grace=30, most=1) == []
    assert decide("shared", (parked,), (asks,), now=40.0, grace=30) == [Recall(parked)]  # the session is everybody's


def test_at_the_ceiling_the_longest_parked_end_first_and_no_more_than_are_needed() -> None:
    slots = tuple(slot(holder="ask", parked_since=since) for since in (3.0, 1.0, 2.0))
    one, two = waiter(), waiter()
    assert decide("request", slots, (one,), now=40.0, grace=30, most=4) == [Open(A)]  # there is room
    assert decide("request", slots, (one,), now=40.0, grace=30, most=3) == [Recall(slots[1])]
    assert decide("request", slots, (one, two), now=40.0, grace=30, most=3) == [Recall(slots[1]), Recall(slots[2])]
    assert decide("request", slots, (one, two), now=40.0, grace=30, most=4) == [Open(A), Recall(slots[1])]
    told = slot(holder="ask", is_recalled=True)
    assert decide("request", (*slots, told), (one,), now=40.0, grace=30, most=4) == []
