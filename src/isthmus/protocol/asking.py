"""One call of a legacy client at a modern back, as a machine: what may come when, and what it leads to.

The client's request is one; the back's are several: the call, and the call again for every round of its questions
(2026-07-28 basic/patterns/mrtr). Between two rounds the questions are with the client, or the back is left in peace for
a while. It is the mirror of a parked call (`exchange`), and easier: nobody is gone between two rounds. The table is
total: what can't happen is named too.

* LATE: an expected race (an answer after the client cancelled); dropped.
* WRONG: a peer does what its specification forbids; what it sent is dropped.
* BUG: only we can cause it: a question is found by its id, and all that are out are withdrawn where ASKING ends.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where the call stands."""

    CALLED = auto()
    """A round is with the back."""
    ASKING = auto()
    """The questions of a round are with the client; the call's deadline rests."""
    RESTING = auto()
    """The back had no question, but is to be called again: in a while."""
    OVER = auto()
    """The request was answered, or nobody wants the answer any more."""


class Event(Enum):
    """What happens to it."""

    FINISHED = auto()
    """The back gave its final answer, a result or an error."""
    ASKED = auto()
    """The back answered with questions."""
    DEFERRED = auto()
    """The back answered with a state and no question."""
    ANSWERED = auto()
    """The client answered one question; others are out."""
    COMPLETED = auto()
    """The client answered the last one."""
    REFUSED = auto()
    """The client answered one with an error, which no round can carry."""
    RESTED = auto()
    """The back was left in peace long enough."""
    FAILED = auto()
    """The back died, asked for what can't be asked or too often; or a deadline passed, the back's or the client's."""
    LEFT = auto()
    """The client cancelled its request."""


class Do(Enum):
    """What is to be done."""

    SEND = auto()
    """Call the back again, with this round's answers and this round's state."""
    ASK = auto()
    """Send all questions to the client, on the stream of its call."""
    REST = auto()
    """Wait, longer each time."""
    KEEP = auto()
    """Keep the answer for the next round."""
    GIVE = auto()
    """Answer the request with the back's answer."""
    RETURN = auto()
    """Withdraw the other questions, and answer the request with the client's own error."""
    FAIL = auto()
    """Withdraw what is out, and answer the request with an error that says what happened."""
    CANCEL = auto()
    """Withdraw what is out, cancel the round at the back, and answer nothing."""
    LATE = auto()
    WRONG = auto()
    BUG = auto()


_C, _A, _R, _X = State.CALLED, State.ASKING, State.RESTING, State.OVER

MOVES: Final[dict[State, dict[Event, tuple[Do, State]]]] = {
    State.CALLED: {
        Event.FINISHED: (Do.GIVE, _X),
        Event.ASKED: (Do.ASK, _A),
        Event.DEFERRED: (Do.REST, _R),
        Event.ANSWERED: (Do.BUG, _C),
        Event.COMPLETED: (Do.BUG, _C),
        Event.REFUSED: (Do.BUG, _C),
        Event.RESTED: (Do.BUG, _C),
        Event.FAILED: (Do.FAIL, _X),
        Event.LEFT: (Do.CANCEL, _X),
    },
    State.ASKING: {
        Event.FINISHED: (Do.WRONG, _A),
        Event.ASKED: (Do.BUG, _A),
        Event.DEFERRED: (Do.BUG, _A),
        Event.ANSWERED: (Do.KEEP, _A),
        Event.COMPLETED: (Do.SEND, _C),
        Event.REFUSED: (Do.RETURN, _X),
        Event.RESTED: (Do.BUG, _A),
        Event.FAILED: (Do.FAIL, _X),
        Event.LEFT: (Do.CANCEL, _X),
    },
    State.RESTING: {
        Event.FINISHED: (Do.WRONG, _R),
        Event.ASKED: (Do.BUG, _R),
        Event.DEFERRED: (Do.BUG, _R),
        Event.ANSWERED: (Do.BUG, _R),
        Event.COMPLETED: (Do.BUG, _R),
        Event.REFUSED: (Do.BUG, _R),
        Event.RESTED: (Do.SEND, _C),
        Event.FAILED: (Do.FAIL, _X),
        Event.LEFT: (Do.CANCEL, _X),
    },
    State.OVER: {
        Event.FINISHED: (Do.LATE, _X),
        Event.ASKED: (Do.LATE, _X),
        Event.DEFERRED: (Do.LATE, _X),
        Event.ANSWERED: (Do.LATE, _X),
        Event.COMPLETED: (Do.LATE, _X),
        Event.REFUSED: (Do.LATE, _X),
        Event.RESTED: (Do.LATE, _X),
        Event.FAILED: (Do.LATE, _X),
        Event.LEFT: (Do.LATE, _X),
    },
}
"""What each event leads to in each state: what is to be done, and the state after it."""
