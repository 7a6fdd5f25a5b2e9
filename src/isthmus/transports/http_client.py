"""The HTTP/1.1 client of the HTTP back: a pool of connections to one origin, and nothing that MCP needn't.

**The pool.** A *slot* is the right to have a connection in use; there are `POOL_CONNECTIONS` of them, idle connections
included. A slot passes from hand to hand: whoever ends an exchange gives its connection, or the bare slot when the
connection is gone, to the call that has waited longest, and only when none waits is the slot free. Idle connections
are taken from the end of the list (the one used last), so those that are not needed grow old and are closed.
"""

import asyncio
import re
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from isthmus.errors import BackFault, BackUnavailable, ConfigError
from isthmus.limits import CLOSE_CONNECTIONS, POOL_CONNECTIONS, POOL_IDLE, REDIRECTS, Limits
from isthmus.transports.http_connect import Origin, Route, connect, find_proxy, follow, split_url
from isthmus.transports.http_response import EventStream, Failure, Response
from isthmus.transports.http_stream import Connection, Waiter
from isthmus.version import __version__, new_id

__all__ = ["EventStream", "HttpClient", "Response", "Statistics"]

_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE: Final = re.compile(r"[\t\x20-\x7e]*\Z")
FRAMING: Final = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "proxy-connection"}
    | {"te", "trailer", "transfer-encoding", "upgrade"}
)
"""Headers that nobody can give a connection: it decides them itself."""
_OURS: Final = frozenset({"accept", "accept-encoding", "content-type"})
_ACCEPT: Final = {
    "POST": b"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\n",
    "GET": b"Accept: text/event-stream\r\n",
}
REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})


class Statistics(NamedTuple):
    """A snapshot: connections `idle` and `used` (those being opened too), ever `opened`, requests on a `reused` one."""

    idle: int
    used: int
    opened: int
    reused: int


class HttpClient:
    """Requests to one URL.

    Args:
        url: http or https, without user name and password.
        name: the back's, for messages.
        headers: sent with every request. What the protocol itself decides (`Accept`, `Accept-Encoding`,
            `Content-Type`) is left out of them.
        limits: `connect` and `result` are used.

    Raises:
        ConfigError: the URL, a header, or a proxy of the environment can't be used.
    """

    def __init__(self, url: str, *, name: str, headers: Sequence[tuple[str, str]] = (), limits: Limits) -> None:
        try:
            self._origin, self._target = split_url(url)
        except ValueError as error:
            raise ConfigError(f"The URL of {name} {error}.") from None
        self._name = name
        self._limits = limits
        self._route = Route(name, self._origin, find_proxy(self._origin), limits.connect)
        self.via = new_id()
        """What requests call this client in `Via`."""
        self._fixed = _fixed_lines(name, self._origin.authority, headers, self.via)
        self._post_head = self._make_head("POST", self._target)
        self._idle: list[Connection] = []
        self._used = 0
        self._queue: deque[asyncio.Future[Connection | None]] = deque()
        self._sockets: set[Connection] = set()
        self._emptied: asyncio.Future[None] | None = None
        self._closed = False
        self._sweep: asyncio.TimerHandle | None = None
        self._opened = 0
        self._is_short = False
        self._reused = 0

    @property
    def origin(self) -> Origin:
        """Where all requests go."""
        return self._origin

    def find(self, reference: str) -> tuple[Origin, str]:
        """Origin and request target of a URL, or of one relative to this client's own.

        Raises:
            ValueError: it is none; the text is the end of a sentence that begins with what the URL is for.
        """
        return follow(self._origin, self._target, reference)

    async def request(
        self,
        verb: str,
        extra: bytes,
        body: bytes = b"",
        *,
        repeatable: bool = False,
        lasting: bool = False,
        target: str | None = None,
    ) -> Response:
        """One exchange. Waits for the response, or for the head of a stream of events.

        Connecting is bounded by `Limits.connect`; the wait for a free connection and for the response is the caller's
        to bound. Cancelling closes the connection at once, so that the back sees it.

        Args:
            verb: the HTTP method.
            extra: ready header lines, each with its `\\r\\n`.
            body: sent as it is.
            repeatable: whether it may be sent again when a kept connection turns out to have been closed.
            lasting: whether the response is a stream that may stay open for hours; it gets a connection of its own,
                outside the pool, so that listeners never keep calls waiting.
            target: another request target of the same origin, as `find` gives it.

        Raises:
            BackUnavailable: nothing of the request arrived.
            BackFault: the response can't be used, or there was none.
        """
        if target is None:
            head = self._post_head if verb == "POST" else self._make_head(verb, self._target)
        else:
            head = self._make_head(verb, target)
        own_extra = extra
        extra = b"%bContent-Length: %d\r\n\r\n" % (extra, len(body)) if body or verb == "POST" else extra + b"\r\n"
        if lasting:
            connection = self._take_apart() or await self._open(_Apart(self))
        elif self._is_short:
            self._is_short = False
            connection = await self._acquire()
        else:
            connection = self._take_idle() or await self._acquire()
        was_used = connection.served > 0
        waiter: asyncio.Future[Response | Failure] = connection.loop.create_future()
        connection.start(head + extra, body, waiter)
        try:
            outcome = await waiter
        except BaseException:
            connection.abandon(waiter)
            raise
        if type(outcome) is Response:
            response = outcome
        else:
            assert type(outcome) is Failure
            response = await self._repeat(outcome, head + extra, body, repeatable and was_used)
        if response.status not in REDIRECTING:
            return response
        return await self.redirect(verb, response, own_extra, body, target)

    async def redirect(
        self, verb: str, response: Response, extra: bytes, body: bytes, target: str | None = None
    ) -> Response:
        """Where a response leads within the origin; the response itself if it leads nowhere.

        Raises: as `request`.
        """
        extra = b"%bContent-Length: %d\r\n\r\n" % (extra, len(body)) if body or verb == "POST" else extra + b"\r\n"
        target = target or self._target
        for _ in range(REDIRECTS):
            if response.status not in REDIRECTING or "location" not in response.headers:
                return response
            target = self._redirected(verb, target, response)
            connection = self._take_idle() or await self._acquire()
            response = await self._exchange(connection, self._make_head(verb, target) + extra, body)
        if response.status not in REDIRECTING:
            return response
        raise BackFault(f"{self._name} redirected {REDIRECTS + 1} times in a row; give the URL where that ends.")

    def has_idle(self) -> bool:
        """Whether a kept connection may be there for `start`; if not, the next `request` opens one more."""
        if self._idle:
            return True
        self._is_short = self._used < POOL_CONNECTIONS
        return False

    def start(self, extra: bytes, body: bytes, waiter: Waiter) -> Connection | None:
        """POST on a connection that was kept, if there is one; the waiter gets the outcome, whatever it is.

        Redirects are not followed and nothing is repeated. To give it up: `abandon(waiter)` of the connection.
        """
        connection = self._take_idle()
        if connection is not None:
            connection.start(b"%b%bContent-Length: %d\r\n\r\n" % (self._post_head, extra, len(body)), body, waiter)
        return connection

    def statistics(self) -> Statistics:
        """What the pool holds and has done."""
        return Statistics(len(self._idle), self._used, self._opened, self._reused)

    async def close(self) -> None:
        """Close every connection at once; requests in flight or waiting fail, later ones are refused. Idempotent."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for waiter in self._queue:
            if not waiter.done():
                self._used += 1
                waiter.set_result(None)
        self._queue.clear()
        self._idle.clear()
        for connection in list(self._sockets):
            connection.stop(f"The connection to {self._name} was closed from this side before it answered.")
        if self._sockets and self._emptied is None:
            self._emptied = asyncio.get_running_loop().create_future()
        if self._sockets and self._emptied is not None:
            await asyncio.wait([self._emptied], timeout=CLOSE_CONNECTIONS)

    # What connections tell (`http_stream.Owner`).

    def release(self, connection: Connection) -> None:
        """Hand the connection on, or keep it idle."""
        waiter = self._next_waiter() if self._queue else None
        if waiter is not None:
            self._reused += 1
            waiter.set_result(connection)
            return
        self._used -= 1
        if self._closed:
            connection.abort()
            return
        loop = connection.loop
        connection.expires = loop.time() + connection.idle_for
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_at(connection.expires, self._close_expired)
        elif connection.idle_for < POOL_IDLE and connection.expires < self._sweep.when():
            self._sweep.cancel()
            self._sweep = loop.call_at(connection.expires, self._close_expired)

    def forfeit(self) -> None:
        """Hand the bare slot on, or free it."""
        waiter = self._next_waiter()
        if waiter is not None:
            waiter.set_result(None)
        else:
            self._used -= 1

    def unlist(self, connection: Connection) -> None:
        """Forget an idle connection that died."""
        if connection in self._idle:
            self._idle.remove(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a socket."""
        self._sockets.discard(connection)
        if self._emptied is not None and not self._sockets and not self._emptied.done():
            self._emptied.set_result(None)

    async def _repeat(self, failure: Failure, head: bytes, body: bytes, may_repeat: bool) -> Response:
        """The outcome of another try, where one may be made."""
        if not (failure.stale and (may_repeat or failure.unsent)):
            raise BackFault(failure.why) from failure.error
        connection = await self._acquire()
        if connection.served:
            connection.abort()
            connection = await self._open()
        return await self._exchange(connection, head, body)

    async def _exchange(self, connection: Connection, head: bytes, body: bytes) -> Response:
        """One try."""
        waiter: asyncio.Future[Response | Failure] = connection.loop.create_future()
        connection.start(head, body, waiter)
        try:
            outcome = await waiter
        except BaseException:
            connection.abandon(waiter)
            raise
        if type(outcome) is Response:
            return outcome
        assert type(outcome) is Failure
        raise BackFault(outcome.why) from outcome.error

    def _take_idle(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.expires > connection.loop.time() and connection.is_usable():
                self._used += 1
                self._reused += 1
                return connection
            connection.abort()
        return None

    def _take_apart(self) -> Connection | None:
        """An idle connection that leaves the pool."""
        connection = self._take_idle()
        if connection is not None:
            connection.move(_Apart(self))
            self.forfeit()
        return connection

    async def _acquire(self) -> Connection:
        """A fresh connection, or while all slots are taken whatever becomes free first."""
        if self._closed:
            raise BackUnavailable(f"The client for {self._name} is closed; start it again.")
        if self._used + len(self._idle) < POOL_CONNECTIONS:
            self._used += 1
        elif self._idle:
            self._idle.pop(0).abort()
            self._used += 1
        else:
            connection = await self._wait_for_slot()
            if connection is not None:
                return connection
        return await self._open()

    async def _wait_for_slot(self) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._queue.append(waiter)
        try:
            connection = await waiter
        except BaseException:
            if waiter in self._queue:
                self._queue.remove(waiter)
            if waiter.done() and not waiter.cancelled():
                self._give_back(waiter.result())
            raise
        if connection is None or connection.is_usable():
            return connection
        connection.abort()
        return None

    def _give_back(self, connection: Connection | None) -> None:
        if connection is not None and connection.is_usable():
            self.release(connection)
        else:
            self.forfeit()

    async def _open(self, apart: "_Apart | None" = None) -> Connection:
        """A fresh connection: in a slot that the caller has, or apart from all slots."""
        connection = Connection(apart or self, self._name, self._limits.result)
        try:
            if not self._closed:
                await connect(self._route, connection)
            if self._closed:
                raise BackUnavailable(f"The client for {self._name} was closed while it connected; start it again.")
        except BaseException:
            connection.abort()
            (apart or self).forfeit()
            raise
        self._opened += 1
        self._sockets.add(connection)
        return connection

    def _next_waiter(self) -> "asyncio.Future[Connection | None] | None":
        while self._queue:
            waiter = self._queue.popleft()
            if not waiter.done():
                return waiter
        return None

    def _close_expired(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        expired = [connection for connection in self._idle if connection.expires <= now]
        self._idle = [connection for connection in self._idle if connection.expires > now]
        for connection in expired:
            connection.abort()
        earliest = min((connection.expires for connection in self._idle), default=None)
        self._sweep = None if earliest is None else loop.call_at(earliest, self._close_expired)

    def _make_head(self, verb: str, target: str) -> bytes:
        where = f"{self._origin}{target}" if self._route.is_forwarded else target
        head = f"{verb} {where} HTTP/1.1\r\n".encode() + self._fixed + _ACCEPT.get(verb, b"")
        if self._route.is_forwarded and self._route.proxy is not None:
            head += self._route.proxy.authorization
        return head

    def _redirected(self, verb: str, target: str, response: Response) -> str:
        """The target that a response points to, if it may be followed there."""
        try:
            origin, new = follow(self._origin, target, response.headers["location"])
        except ValueError as error:
            raise BackFault(f"{self._name} redirected to a URL that {error}; give the URL it means.") from None
        if origin != self._origin:
            raise BackFault(
                f"{self._name} redirected to another origin, {origin}, and nothing was sent there; "
                "give that URL if it is the right one."
            )
        if verb != "GET" and response.status not in (307, 308):
            raise BackFault(
                f"{self._name} redirected a {verb} with status {response.status}, which would turn it into a GET; "
                "give the URL it points to, or check that it is an MCP endpoint."
            )
        return new


class _Apart:
    """The owner of a connection that belongs to no pool: it is closed after its one response."""

    __slots__ = ("_client",)

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def release(self, connection: Connection) -> None:
        """Never kept."""
        connection.abort()

    def forfeit(self) -> None:
        """It had no slot."""

    def unlist(self, connection: Connection) -> None:
        """It was never idle."""

    def closed(self, connection: Connection) -> None:
        """Its socket is closed."""
        self._client.closed(connection)


def _fixed_lines(name: str, host: str, headers: Sequence[tuple[str, str]], via: str) -> bytes:
    """The header lines that every request has."""
    lines = {"host": f"Host: {host}", "user-agent": f"User-Agent: isthmus/{__version__}"}
    more = ["Accept-Encoding: identity", f"Via: 1.1 {via}"]
    for title, raw in headers:
        value = raw.strip(" \t")
        if not _NAME.match(title):
            raise ConfigError(f"A header for {name} has a name with characters that it can't have: {title!r}.")
        if not _VALUE.match(value):
            raise ConfigError(f"The header {title} for {name} holds a line break or another character that it can't.")
        key = title.lower()
        if key in FRAMING:
            raise ConfigError(f"The header {title} for {name} is decided by the connection itself; leave it out.")
        if key in lines:
            lines[key] = f"{title}: {value}"
        elif key not in _OURS:
            more.append(f"{title}: {value}")
    return "".join(f"{line}\r\n" for line in [*lines.values(), *more]).encode()
