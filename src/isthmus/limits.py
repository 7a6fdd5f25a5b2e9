"""Every bound of the library, each with why it is this number. All durations are in seconds, all sizes in bytes.

A limit that a user may set is a field of `Limits`; the rest are constants of the protocol or of good manners.
"""

import math
from dataclasses import dataclass, fields
from typing import Final

MIB: Final = 1 << 20
_HINT: Final = "Give a large one where there should be none, or leave it out for the default."

JSON_DEPTH: Final = 512
"""Nesting that the slow scanner follows; what real schemas need is under 50, the interpreter bears 1,000."""

HEADER_BYTES: Final = 16 * 1024
"""All of a request's head; nginx and Node take 16 KiB or less (431 beyond)."""
HEADER_FIELDS: Final = 100
"""Envoy takes 100, HAProxy 101."""
URI_BYTES: Final = 8 * 1024
"""nginx's large_client_header_buffers; RFC 9112 §3 recommends at least 8,000 octets (414 beyond)."""
STDERR_BYTES: Final = 8 * 1024
"""The longest line of a back's stderr that is logged whole."""
STDERR_KEPT: Final = 64 * 1024
"""The tail of a back's stderr that is kept for the sentence that says why it died."""
PIECE_BYTES: Final = 64 * 1024
"""The largest piece handed to an ASGI server at once: uvicorn buffers one large send whole."""
STDIN_QUEUE: Final = 32 * MIB
"""What may wait to be read by a back on a channel before calls to it fail: two of the largest messages."""
CHANNEL_UNREAD: Final = 256 * MIB
"""What may wait for a client that has all its answers on one channel, as long as it reads: sixteen of the largest. From
STDIN_QUEUE on nothing more is read from one on stdio."""
TOGETHER: Final = 64 * 1024
"""A message up to this size is copied to stand beside its frame; of a larger one a copy costs more than a write."""
SSE_ENDPOINT: Final = 10.0
"""For an HTTP+SSE back to open its stream and name its endpoint; a stream that never does belongs to something else."""
POST_IN_TURN: Final = 0.5
"""For an HTTP+SSE back to answer a POST before the next is sent; some answer when the call in it is done."""

KEEP_ALIVE_COMMENT: Final = 15.0
"""Between comments on an idle stream: half of the shortest usual idle timeout of a load balancer (30 s)."""
RESUMABLE: Final = 1.0
"""How long a legacy call may take before its response becomes a stream that its client can resume where it was cut."""
STOP_EOF: Final = 2.0
"""For a process to leave after its stdin closed (2026-07-28 basic/transports/stdio, Shutdown: "a reasonable time")."""
STOP_TERM: Final = 2.0
"""For its group to leave after SIGTERM, before SIGKILL."""
STOP_KILL: Final = 5.0
"""For the kernel to report a killed process; longer means an uninterruptible one, which is left to the watchdog."""
PROBE: Final = 10.0
"""For a stdio back to answer `server/discover` before it counts as legacy; a fresh Python server needs 1.3 to 4 s."""
RESTART_FIRST: Final = 0.1
"""Back-off before the second start of a back that crashed; doubles up to RESTART_MOST."""
RESTART_MOST: Final = 30.0
RESTART_FORGOTTEN: Final = 60.0
"""A back that has lived this long starts again without back-off."""
DNS_AND_CONNECT: Final = 5.0
CLOSE_SESSION: Final = 2.0
"""For the DELETE that ends a back's HTTP session; a courtesy, so short."""
WRITE_STALLED: Final = 30.0
"""For a peer that reads nothing while its buffer is full; nginx's send_timeout is 60 s between two reads."""
LINGER: Final = 2.0
"""For a client to stop sending a request that was refused half read, before its connection is cut."""
LISTEN: Final = 24 * 3600.0
"""For a stream that is meant to be silent (`subscriptions/listen`, GET): after a day it is ended."""
POLL_MOST: Final = 200e-6
"""For the loop to look for what comes next before it sleeps, as long as KVM (halt_poll_ns): a little more than a small
call to a quick server takes."""
POLL_CREDIT: Final = 16
"""What looking may lose; a look in vain takes two, one that brings something gives one back."""
POLL_RETRY: Final = 64
"""Writes of which one is looked after when all of that is lost."""
RETRY_GET: Final = 1.0
"""Before a legacy back's GET stream that ended is opened again, unless it named a `retry`."""
RETRY_MOST: Final = 30.0
HEADS_REMEMBERED: Final = 512
"""Heads of requests or responses that are known byte for byte; a client sends a handful, and one is under 1 KiB."""
HEAD_LONGEST: Final = 2 * 1024
"""Of a response's head that is remembered so; a back can make up longer ones, to fill the memory."""
HEAD_NAMES: Final = 128
"""Names of headers of responses that are known in lower case; servers use some dozens."""
HEAD_NAME_LONGEST: Final = 64
"""Bytes of one that is; the longest in use have about 40."""
ROUTES_REMEMBERED: Final = 4096
"""Names of things of many backs whose way is known; finding one again costs as much as all checks of a call."""
ROUTE_LONGEST: Final = 256
"""Characters of a name that is remembered so; a client can make up longer ones, to fill the memory."""
CLIENT_REMEMBERED: Final = 2 * 1024
"""Of what a client says of itself in each request, to be known byte for byte; what is longer is read each time."""
POOL_IDLE: Final = 50.0
"""An idle connection to a back is closed before the usual 60 s of servers are over: none is reused as it dies."""
POOL_CONNECTIONS: Final = 256
"""Connections to one back, in use and idle; a 257th call waits for one, within its own deadline."""
REDIRECTS: Final = 3
"""Redirects within one origin before it counts as a loop."""
PENDING_STRAYS: Final = 256
"""Messages outside any call that wait for a legacy client to open its GET stream; older ones are dropped, counted."""
REPLAY_TIME: Final = 300.0
"""How long an event of a legacy session can be fetched again; SDKs try for seconds, sleeping laptops minutes."""
REPLAY_EVENTS: Final = 1000
"""Events kept for one session: ten minutes of a call that tells its progress twice a second."""
REPLAY_BYTES: Final = 16 * MIB
"""Bytes kept for one session: the largest message of a back (`Limits.result`)."""
REPLAY_TOTAL: Final = 128 * MIB
"""Bytes kept for all sessions of a front together; beyond, a session keeps nothing new."""
REPLAY_EVENT_COST: Final = 1024
"""What an event costs beside its message, in bytes of the two bounds above: objects, and its place in the order."""
RETRY_TOLD: Final = 1.0
"""What a client is told to wait before it opens a stream again that was cut; the SDKs' own default."""
LOGGING_CHANNELS: Final = 8
"""Channels to one modern back whose calls want log messages at the same time: see `transports/channel_back`."""
LAST_WORDS: Final = 0.5
"""For the rest of stdout and stderr and the exit status, from the first sign of an end; then waiting calls fail."""
STDERR_SAID: Final = 300
"""Characters of stderr's last line in the sentence about an end: a line of a traceback, not a dump."""
STREAM_LINGER: Final = 0.2
"""For a back to end a stream after the answer; a connection that it does not free is closed."""
RETRY_LEAST: Final = 0.05
"""Before a stream is opened again, whatever `retry` the back named: it may not make the proxy spin."""
VERIFY: Final = 5.0
"""For a verifier to say what an access token is worth: an introspection, or a fetch of keys, takes two round trips."""
TOKEN_TRUSTED: Final = 60.0
"""How long a verified token is not verified again, so how long one that was revoked still works at most."""
TOKENS_REMEMBERED: Final = 1024
"""Verified tokens, the oldest forgotten first; a forgotten one is verified again."""
MIRRORED_TOOLS: Final = 10_000
"""Tools whose mirrored parameters are remembered, the oldest forgotten first; a list has 100 pages at most."""
QUESTIONS_TOGETHER: Final = 0.01
"""For a legacy back's next question to come, before those that are there are shown: a round costs the client more."""
PARKED_KEPT: Final = 256
"""Notifications that a parked call keeps for the retry; older ones are dropped."""
RECALLED_KEPT: Final = 256
"""Parked calls that ended for another call and are remembered, to tell a late retry why; four times the sessions."""
ASKING_KEPT: Final = 1024
"""Calls of functions in this process that wait for a modern client's answers; the oldest is given up for another."""
STRAY_QUESTION: Final = 30.0
"""For a question that a legacy back asks outside any call, until a call comes that it can be asked in."""
SPARE_PAUSE: Final = 0.05
"""Before a spare session is opened in place of one that was taken: the start of a process holds up other calls."""
ROUNDS: Final = 16
"""Rounds of questions that one call of a legacy client may take; real servers need two or three."""
ROUND_WAIT: Final = 0.1
"""Before a round that asks for nothing is repeated; doubles up to ROUND_WAIT_MOST, within the call's own deadline."""
ROUND_WAIT_MOST: Final = 5.0
UNHEARD: Final = 10_000
"""Notifications of one request that wait for a user's slow function to hear them; later ones are dropped, logged."""
LIST_PAGES: Final = 100
"""Pages of one list that are followed; a cursor that leads round in a circle ends there."""
BREAKER_DEATHS: Final = 5
"""A back among others that failed so often within BREAKER_WINDOW in the middle of calls is out: a crash loop."""
BREAKER_WINDOW: Final = 60.0
LISTING: Final = 5.0
"""For one of many backs to take part in a list, or in the opening of a session, before it is left out."""
REASON: Final = 300
"""Characters of a back's own words on why it gives no list; every list without it repeats them."""
LIST_BYTES: Final = 64 * MIB
"""All pages of one back's list together: room for 60,000 large tools. One that goes on has no part in the list."""
CATALOG_BYTES: Final = 64 * MIB
"""Lists of single clients that a catalog keeps, the oldest forgotten first; a large one of 100 tools has 100 KiB."""
PAGE_ITEMS: Final = 10_000
"""Items on one page of a list of many backs: clients that follow no cursor see the whole of all but the largest."""
PAGE_BYTES: Final = 8 * MIB
"""Bytes on one page of such a list, to be under what clients take (`Limits.result`)."""
RETIRE_LOOK: Final = 0.2
"""Between looks at whether a back that is configured no more has answered its last call."""
CHECKED: Final = 20.0
"""For one server of a file to tell `isthmus check` all that it asks; a fresh npx or uvx needs some of it."""
INPUT_ROUNDS: Final = 20
"""Times that a server may ask for input before `isthmus call` gives up; a dialogue with a person has a few."""
CLIENT_OPEN: Final = 60.0
"""For a `Client` to connect: `npx` and `uvx` may have to fetch a server first."""
CLIENT_CALL: Final = 3600.0
"""Without any word about a call of a `Client`, unless it was given a `timeout`: users wait for their own tools."""
CLIENT_CALL_MOST: Final = 24 * 3600.0
"""Of such a call altogether, whatever progress it reports."""
OAUTH_LOGIN: Final = 300.0
"""For a user to log in with the browser; after that nobody is there any more."""
RECORD_QUEUE: Final = 32 * MIB
"""What may wait to be written to a recording before messages are left out: two of the largest messages."""
REPLAY_PAUSE: Final = 0.05
"""Between two messages of a replay at most: enough for a client to read the first before the second is there."""
RECORD_CLOSE: Final = 5.0
"""For a recording to be written to its end when the proxy stops."""
CONFIG_BYTES: Final = 4 * MIB
"""A file of servers: a thousand of them are under 1 MiB; what clients keep beside them grows with their history."""
CONFIG_DEPTH: Final = 48
"""Nesting of a file of servers: our own keys need 8, the rest is for values of hidden arguments."""
CONFIG_NUMBER: Final = 1e15
"""A number in a file of servers: a petabyte, were it a size; floats have all whole numbers up to there."""
SECONDS_MOST: Final = 1e9
"""Any time, configured or said by a server: 31 years, which every clock and JSON's integers take."""
NOISE_FIRST: Final = 10_000
"""Lines on stdout that are no messages, before the first that is one: then the command is no MCP server."""
NAME_LONGEST: Final = 64
"""Characters of a tool's or prompt's name with its prefix: the models' interfaces take no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds an operator may set.

    Times in seconds, sizes in bytes; sources are the rows of the hardening tests that each default answers to.
    """

    body: int = 4 * MIB
    """The largest message from a client over HTTP (413 beyond); the Python SDK's own bound."""
    line: int = 16 * MIB
    """The longest line on stdio, either way."""
    result: int = 16 * MIB
    """The largest message from a back."""
    header_time: float = 10.0
    """For a client to send a request's head, and for a fresh connection to begin (408)."""
    body_time: float = 30.0
    """For a client to send a request's body (408)."""
    keep_alive: float = 75.0
    """For an idle connection of a client; nginx's default."""
    call: float = 60.0
    """Without any word about a call, before it fails and is cancelled at the back."""
    call_most: float = 600.0
    """Of one call altogether, whatever progress it reports."""
    connect: float = DNS_AND_CONNECT
    """For a connection to a back, TLS included."""
    answer_wait: float = 600.0
    """For a client to answer a back's question; people are slow."""
    back_sessions: int = 64
    """Sessions with one legacy back that are leased at once; over stdio each is a process. A parked call keeps one."""
    warm: int = 1
    """Sessions with a legacy back to open ahead for each client seen before, where every request gets its own."""
    parked: float = 600.0
    """For a modern client to come back with the answers to a legacy back's question; people are slow."""
    parked_grace: float = 30.0
    """The same while another call waits for the session that the parked one holds: clients that give a question up say
    nothing. Half of `call`: time for a person to read and decide, and half is left to the call that waits."""
    sessions: int = 10_000
    """Legacy sessions of HTTP clients at once (503 beyond)."""
    session_idle: float = 1800.0
    """Before a legacy session without any request is closed."""
    unread: int = MIB
    """Output that may wait for one client before the back is made to wait; cut after `WRITE_STALLED` seconds."""
    drain: float = 25.0
    """For calls in flight when the proxy is told to stop; under Kubernetes' 30 s."""

    def __post_init__(self) -> None:
        """Refuse what nothing could work with.

        Raises:
            ValueError: a bound is no number above 0; `warm` may be 0.
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if (
                isinstance(value, bool)
                or not isinstance(value, int | float)
                or not _least(each.name) <= value < math.inf
            ):
                raise ValueError(f"Limits({each.name}={value!r}): a limit is a number above 0. {_HINT}")


def _least(name: str) -> float:
    """No spares are a choice; no time and no room are none."""
    return 0.0 if name == "warm" else math.ulp(0.0)


# The HTTP client's own bounds (`transports/http_client`).

RESPONSE_HEAD: Final = 64 * 1024
"""What a back may send without a byte of content: its head, interim responses, trailers; Go's default is 1 MiB."""
BODY_TOGETHER: Final = 16 * 1024
"""A body up to this size is copied behind the head and written at once; copying more costs more than a second write."""
STREAM_QUEUE: Final = MIB
"""What may wait on a stream of events that nobody reads, before the back is made to wait."""
STREAM_PIECE: Final = 64 * 1024
"""What is parsed into events at once; the shortest event has 6 bytes and costs 300 as an object."""
HAPPY_EYEBALLS: Final = 0.25
"""Between attempts at the addresses of one name (RFC 8305 §5 recommends 250 ms)."""
CLOSE_CONNECTIONS: Final = 1.0
"""For the loop to report aborted connections as closed; it needs a few turns."""
