"""The machine of a call at a legacy back: all of it in use, and no BUG within reach of a peer."""

from collections import deque
from typing import Final, NamedTuple

from isthmus.protocol.exchange import MOVES, Do, Event, State


def test_what_is_kept_or_passed_moves_nothing() -> None:
    for state, row in MOVES.items():
        for event, (do, after) in row.items():
            if do in (Do.KEEP, Do.PASS, Do.HOLD, Do.FORGET):
                assert after is state, (state, event)


class Engine(NamedTuple):
    """What `engine/parking` and `engine/visiting` know when an event comes, as far as it rules events out."""

    state: State = State.OPEN
    is_open: bool = True
    """Whether a request of the client is open (`Parked._visit`)."""
    is_kept: bool = False
    """Whether a ticket leads to the call and its timer runs (`Visiting._parked`)."""
    is_assembling: bool = False
    """Whether questions wait for the end of this turn of the loop (`Parked._assembled` is scheduled)."""
    is_called: bool = True
    """Whether the back owes an answer: a session gives one for each request, also when it dies."""


def possible(now: Engine) -> list[Event]:
    """What can come now, in whatever order peers speak.

    * The back talks as it likes, and owes one answer (`LegacySession.request` answers its port once).
    * A retry is one only with a good ticket, and it takes the ticket along (`_redeem`, then `_parked.pop`).
    * The timer is set with the ticket and goes with it.
    * The client can leave only a request that is open (`Parked.leave` compares the visit).
    * `_assembled` does nothing where no request is open.
    """
    events = [Event.SAID, Event.ASKED, Event.WITHDRAWN]
    events += [Event.FINISHED] if now.is_called else []
    events += [Event.ASSEMBLED, Event.EMPTIED] if now.is_assembling and now.is_open else []
    events += [Event.RETRIED, Event.EXPIRED] if now.is_kept else []
    events += [Event.LEFT] if now.is_open else []
    return events


def after(now: Engine, event: Event) -> Engine:
    do, state = MOVES[now.state][event]
    now = now._replace(state=state)
    if event is Event.FINISHED:
        now = now._replace(is_called=False)
    if event in (Event.ASSEMBLED, Event.EMPTIED):
        now = now._replace(is_assembling=False)
    if event is Event.LEFT:
        now = now._replace(is_open=False)
    if event in (Event.RETRIED, Event.EXPIRED):
        now = now._replace(is_kept=False)
    if do is Do.ASSEMBLE:
        return now._replace(is_assembling=True)
    if do is Do.PARK:
        return now._replace(is_open=False, is_kept=True)
    if do is Do.GIVE or do is Do.DELIVER:
        return now._replace(is_open=False)
    return now._replace(is_open=True) if do is Do.RESUME else now


def reached() -> dict[Engine, tuple[Event, ...]]:
    """Every situation that there can be, and a shortest way to it."""
    ways: dict[Engine, tuple[Event, ...]] = {Engine(): ()}
    queue = deque(ways)
    while queue:
        now = queue.popleft()
        for event in possible(now):
            then = after(now, event)
            if then not in ways:
                ways[then] = (*ways[now], event)
                queue.append(then)
    return ways


REACHED: Final = reached()


def test_every_state_is_reached() -> None:
    assert {now.state for now in REACHED} == set(State)


def test_no_order_of_events_leads_to_a_bug() -> None:
    found = {
        (*way, event) for now, way in REACHED.items() for event in possible(now) if MOVES[now.state][event][0] is Do.BUG
    }
    assert not found


def test_everything_to_do_comes_up() -> None:
    done = {MOVES[now.state][event][0] for now in REACHED for event in possible(now)}
    assert done == set(Do) - {Do.BUG}


def test_an_open_request_is_answered_or_waits_for_somebody() -> None:
    """No request of the client is forgotten: while one is open, the back owes an answer or questions are about to be
    shown; and where the last answer was given, none is open."""
    for now, way in REACHED.items():
        if now.state is State.OVER:
            assert not now.is_open, way
        elif now.is_open:
            assert now.is_called or now.is_assembling, way
        else:
            assert now.is_kept, way  # parked or answered: the ticket leads back to it, or the timer ends it
