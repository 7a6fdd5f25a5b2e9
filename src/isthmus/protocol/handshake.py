"""A legacy client's session as its front sees it: from `initialize` to its end, what may come when.

"The initialization phase MUST be the first interaction between client and server" (2025-11-25 basic/lifecycle), and
a session has one. A client "SHOULD NOT send requests other than pings before the server has responded to the
`initialize` request": who does is heard, in its order, once there is a session. Nothing here waits for
`notifications/initialized`: what may be sent before it is for the two ends to keep, and it passes in its order.

On a channel (stdio, HTTP+SSE, memory) the session is the client. Over HTTP it is what a message's `Mcp-Session-Id`
names: without one it is NEW, with that of a session that is not there OVER; nobody has the id of one that is OPENING.

The table is total: what can't happen is named too.

* LATE: an expected race; dropped, over HTTP with a 404, which tells the client to begin again.
* WRONG: against the lifecycle; who asked is told, the rest is dropped.
* BUG: only we can cause it; what is OPENING is cancelled before it is OVER.
"""

from enum import Enum, auto
from typing import Final

from isthmus.protocol.methods import row_of
from isthmus.protocol.versions import Era
from isthmus.wire.envelope import INVALID_REQUEST, METHOD_NOT_FOUND, Envelope, Kind


class State(Enum):
    """Where the session stands."""

    NEW = auto()
    """There is none yet."""
    OPENING = auto()
    """The back is asked what it is."""
    OPEN = auto()
    """`initialize` was answered."""
    OVER = auto()
    """It was ended, by the client or for having been idle too long."""


class Event(Enum):
    """What happens to it."""

    INITIALIZE = auto()
    """The client sent `initialize`."""
    REQUESTED = auto()
    """It sent another request."""
    FOREIGN = auto()
    """It sent a request that only the modern era has."""
    NOTIFIED = auto()
    """It sent a notification."""
    ANSWERED = auto()
    """It answered a question."""
    OPENED = auto()
    """There is a session with the back, and an answer to `initialize`."""
    FAILED = auto()
    """There is none, and an error that says why."""
    ENDED = auto()
    """The session is to end."""


class Do(Enum):
    """What is to be done."""

    BEGIN = auto()
    """Open a session with the back."""
    KEEP = auto()
    """Keep the message until there is a session."""
    START = auto()
    """Answer `initialize`, then pass on what was kept, in its order."""
    FAIL = auto()
    """Answer `initialize`, and the requests that were kept, with the error. The client may try again."""
    PASS = auto()
    """Pass it on to the session."""
    DENY = auto()
    """Answer that there is no such method."""
    END = auto()
    """End the session with the back."""
    GO_ON = auto()
    """Nothing."""
    LATE = auto()
    WRONG = auto()
    BUG = auto()


_N, _G, _O, _X = State.NEW, State.OPENING, State.OPEN, State.OVER

MOVES: Final[dict[State, dict[Event, tuple[Do, State]]]] = {
    State.NEW: {
        Event.INITIALIZE: (Do.BEGIN, _G),
        Event.REQUESTED: (Do.WRONG, _N),
        Event.FOREIGN: (Do.WRONG, _N),
        Event.NOTIFIED: (Do.WRONG, _N),
        Event.ANSWERED: (Do.WRONG, _N),
        Event.OPENED: (Do.BUG, _N),
        Event.FAILED: (Do.BUG, _N),
        Event.ENDED: (Do.GO_ON, _X),
    },
    State.OPENING: {
        Event.INITIALIZE: (Do.WRONG, _G),
        Event.REQUESTED: (Do.KEEP, _G),
        Event.FOREIGN: (Do.DENY, _G),
        Event.NOTIFIED: (Do.KEEP, _G),
        Event.ANSWERED: (Do.KEEP, _G),
        Event.OPENED: (Do.START, _O),
        Event.FAILED: (Do.FAIL, _N),
        Event.ENDED: (Do.GO_ON, _X),
    },
    State.OPEN: {
        Event.INITIALIZE: (Do.WRONG, _O),
        Event.REQUESTED: (Do.PASS, _O),
        Event.FOREIGN: (Do.DENY, _O),
        Event.NOTIFIED: (Do.PASS, _O),
        Event.ANSWERED: (Do.PASS, _O),
        Event.OPENED: (Do.BUG, _O),
        Event.FAILED: (Do.BUG, _O),
        Event.ENDED: (Do.END, _X),
    },
    State.OVER: {
        Event.INITIALIZE: (Do.LATE, _X),
        Event.REQUESTED: (Do.LATE, _X),
        Event.FOREIGN: (Do.LATE, _X),
        Event.NOTIFIED: (Do.LATE, _X),
        Event.ANSWERED: (Do.LATE, _X),
        Event.OPENED: (Do.BUG, _X),
        Event.FAILED: (Do.BUG, _X),
        Event.ENDED: (Do.LATE, _X),
    },
}
"""What each event leads to in each state: what is to be done, and the state after it."""


def event_of(message: Envelope) -> Event:
    """What a message of the client is to the machine."""
    if message.kind is not Kind.REQUEST:
        return Event.NOTIFIED if message.kind is Kind.NOTIFICATION else Event.ANSWERED
    if message.method == "initialize":
        return Event.INITIALIZE
    return Event.REQUESTED if Era.LEGACY in row_of(message.method).eras else Event.FOREIGN


def refusal(do: Do, message: Envelope) -> tuple[int, str]:
    """The code and the sentence for a request that is not passed on: DENY or WRONG."""
    if do is Do.DENY:
        return METHOD_NOT_FOUND, f"Method not found: {message.method} can't be called in this session."
    return INVALID_REQUEST, "The first request must be initialize, and only the first."
