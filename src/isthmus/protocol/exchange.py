"""One call of a modern client at a legacy back, as a machine: what may come when, and what it leads to.

The back's call is one; the client's requests for it are several: the first, and a retry for every round of questions.
While a request of the client is open, what the back says goes there. While none is (*parked*), it is kept. The table
is total: what can't happen is named too.

* LATE: an expected race (an answer after the client cancelled); counted by who sees it, and dropped.
* WRONG: a peer does what its specification forbids; it is told, or what it sent is dropped.
* BUG: only we can cause it.
"""

from enum import Enum, auto
from typing import Final


class State(Enum):
    """Where the call stands."""

    OPEN = auto()
    """A request of the client is open, and nothing is asked of it."""
    ASKING = auto()
    """A request is open, and questions are about to answer it."""
    PARKED = auto()
    """No request is open; questions are with the client."""
    ANSWERED = auto()
    """No request is open; the back's final answer waits for the retry."""
    OVER = auto()
    """The final answer was given, or nobody wants it any more."""


class Event(Enum):
    """What happens to it."""

    SAID = auto()
    """The back sent a notification."""
    ASKED = auto()
    """The back asked a question."""
    WITHDRAWN = auto()
    """The back withdrew one."""
    FINISHED = auto()
    """The back gave its final answer, or died."""
    ASSEMBLED = auto()
    """The questions that came together are there."""
    EMPTIED = auto()
    """Of the questions that were to be shown none is left."""
    RETRIED = auto()
    """The client called again, with a state that is good."""
    LEFT = auto()
    """The client gave its open request up."""
    EXPIRED = auto()
    """No retry came in time."""


class Do(Enum):
    """What is to be done."""

    PASS = auto()
    """Send it on to the open request."""
    KEEP = auto()
    """Keep it for the retry."""
    HOLD = auto()
    """Keep the question for the next round."""
    ASSEMBLE = auto()
    """Keep the question, and wait a moment for others that come with it."""
    FORGET = auto()
    """Ask it no more."""
    PARK = auto()
    """Answer the open request with the questions and a sealed state."""
    GIVE = auto()
    """Answer the open request with the final answer."""
    STORE = auto()
    """Keep the final answer for the retry."""
    RESUME = auto()
    """The retry is the open request now: give it what was kept."""
    DELIVER = auto()
    """Answer the retry with the final answer that was kept."""
    CANCEL = auto()
    """Cancel the call at the back."""
    DROP = auto()
    """Forget the answer that nobody came for."""
    GO_ON = auto()
    """Nothing."""
    LATE = auto()
    WRONG = auto()
    BUG = auto()


_O, _A, _P, _F, _X = State.OPEN, State.ASKING, State.PARKED, State.ANSWERED, State.OVER

MOVES: Final[dict[State, dict[Event, tuple[Do, State]]]] = {
    State.OPEN: {
        Event.SAID: (Do.PASS, _O),
        Event.ASKED: (Do.ASSEMBLE, _A),
        Event.WITHDRAWN: (Do.LATE, _O),
        Event.FINISHED: (Do.GIVE, _X),
        Event.ASSEMBLED: (Do.LATE, _O),
        Event.EMPTIED: (Do.GO_ON, _O),
        Event.RETRIED: (Do.WRONG, _O),
        Event.LEFT: (Do.CANCEL, _X),
        Event.EXPIRED: (Do.BUG, _O),
    },
    State.ASKING: {
        Event.SAID: (Do.PASS, _A),
        Event.ASKED: (Do.HOLD, _A),
        Event.WITHDRAWN: (Do.FORGET, _A),
        Event.FINISHED: (Do.GIVE, _X),
        Event.ASSEMBLED: (Do.PARK, _P),
        Event.EMPTIED: (Do.GO_ON, _O),
        Event.RETRIED: (Do.WRONG, _A),
        Event.LEFT: (Do.CANCEL, _X),
        Event.EXPIRED: (Do.BUG, _A),
    },
    State.PARKED: {
        Event.SAID: (Do.KEEP, _P),
        Event.ASKED: (Do.HOLD, _P),
        Event.WITHDRAWN: (Do.FORGET, _P),
        Event.FINISHED: (Do.STORE, _F),
        Event.ASSEMBLED: (Do.BUG, _P),
        Event.EMPTIED: (Do.BUG, _P),
        Event.RETRIED: (Do.RESUME, _O),
        Event.LEFT: (Do.LATE, _P),
        Event.EXPIRED: (Do.CANCEL, _X),
    },
    State.ANSWERED: {
        Event.SAID: (Do.LATE, _F),
        Event.ASKED: (Do.WRONG, _F),
        Event.WITHDRAWN: (Do.LATE, _F),
        Event.FINISHED: (Do.BUG, _F),
        Event.ASSEMBLED: (Do.BUG, _F),
        Event.EMPTIED: (Do.BUG, _F),
        Event.RETRIED: (Do.DELIVER, _X),
        Event.LEFT: (Do.LATE, _F),
        Event.EXPIRED: (Do.DROP, _X),
    },
    State.OVER: {
        Event.SAID: (Do.LATE, _X),
        Event.ASKED: (Do.LATE, _X),
        Event.WITHDRAWN: (Do.LATE, _X),
        Event.FINISHED: (Do.LATE, _X),
        Event.ASSEMBLED: (Do.LATE, _X),
        Event.EMPTIED: (Do.LATE, _X),
        Event.RETRIED: (Do.WRONG, _X),
        Event.LEFT: (Do.LATE, _X),
        Event.EXPIRED: (Do.LATE, _X),
    },
}
"""What each event leads to in each state: what is to be done, and the state after it."""
