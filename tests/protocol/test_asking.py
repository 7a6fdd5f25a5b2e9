"""The machine of a legacy client's call at a modern back: no BUG within reach of a peer, and one answer at most."""

from collections import deque
from typing import Final, NamedTuple

from isthmus.protocol.asking import MOVES, Do, Event, State

ANSWERS: Final = (Do.GIVE, Do.RETURN, Do.FAIL)


class Engine(NamedTuple):
    """What `engine/asking` knows when an event comes, as far as it rules events out."""

    state: State = State.CALLED
    is_sent: bool = True
    """Whether the task of the call waits for a round, and reads what comes of it (`AskingSession._send`)."""
    out: int = 0
    """How many questions are found by their ids (`_Asked.out`)."""
    is_resting: bool = False
    answers: int = 0
    """How many the request was given."""
    has_left: bool = False
    """Whether the client left before it was over."""


def possible(now: Engine) -> list[Event]:
    """What can come now, in whatever order peers speak.

    * A back may answer when it likes, also twice; but a round is read once, by the task that sent it.
    * A question is found by its id until it is answered or withdrawn.
    * The client may leave at any time, and a deadline pass.
    """
    events = [Event.FINISHED, Event.FAILED, Event.LEFT]
    events += [Event.ASKED, Event.DEFERRED] if now.is_sent else []
    events += [Event.REFUSED, Event.COMPLETED if now.out == 1 else Event.ANSWERED] if now.out else []
    events += [Event.RESTED] if now.is_resting else []
    return events


def after(now: Engine, event: Event) -> Engine:
    do, state = MOVES[now.state][event]
    now = now._replace(state=state, answers=now.answers + (do in ANSWERS), has_left=now.has_left or do is Do.CANCEL)
    if event in (Event.ASKED, Event.DEFERRED):
        now = now._replace(is_sent=False)
    if event in (Event.ANSWERED, Event.COMPLETED):
        now = now._replace(out=now.out - 1)
    if event is Event.RESTED:
        now = now._replace(is_resting=False)
    if do is Do.SEND:
        return now._replace(is_sent=True)
    if do is Do.ASK:
        return now._replace(out=2)
    if do is Do.REST:
        return now._replace(is_resting=True)
    return now._replace(out=0) if event in (Event.REFUSED, Event.FAILED) else now


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


def test_no_order_of_events_leads_to_a_bug() -> None:
    found = {
        (*way, event) for now, way in REACHED.items() for event in possible(now) if MOVES[now.state][event][0] is Do.BUG
    }
    assert not found


def test_everything_to_do_comes_up() -> None:
    done = {MOVES[now.state][event][0] for now in REACHED for event in possible(now)}
    assert done == set(Do) - {Do.BUG}


def test_one_answer_and_none_where_the_client_has_left() -> None:
    for now, way in REACHED.items():
        assert now.answers == (now.state is State.OVER and not now.has_left), way


def test_a_call_that_is_not_over_waits_for_something() -> None:
    """For the back, for the client, or for a pause to end."""
    for now, way in REACHED.items():
        waits = {State.CALLED: now.is_sent, State.ASKING: now.out > 0, State.RESTING: now.is_resting, State.OVER: True}
        assert waits[now.state], way
