"""What the connections of one listening endpoint share: its handler, its clock, and the heads it has read before."""

import asyncio
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from typing import Any, Protocol

from isthmus import limits
from isthmus.limits import Limits
from isthmus.transports.cork import cork_of
from isthmus.transports.http_front.port import JSON_LINES
from isthmus.transports.http_front.request import Request


class Connection(Protocol):
    """A connection, as the clock sees it."""

    deadline: float
    """The moment, by the front's clock, at which what the connection waits for must have come."""
    stalls: float
    """The moment at which a client that does not read must have read something."""

    def expire(self) -> None:
        """`deadline` has passed."""

    def check_progress(self) -> None:
        """`stalls` has passed."""

    def cut(self) -> None:
        """Nothing is waited for any more."""


class Front:
    """What the connections of one listening endpoint share.

    Args:
        handle: answers a request (`Handler.handle`).
        bounds: sizes and times of requests.
        express: takes a request without a task, if it can (`Handler.express`).
    """

    def __init__(
        self,
        handle: Callable[[Request, Any], Coroutine[Any, Any, None]],
        bounds: Limits,
        express: Callable[[Request, Any], bool] | None = None,
    ) -> None:
        self.express = express
        self.handle = handle
        self.limits = bounds
        self.connections: set[Connection] = set()
        self.running: set[asyncio.Task[None]] = set()
        self.cork = cork_of(asyncio.get_running_loop())
        self._heads: dict[bytes, tuple[Request, int]] = {}
        self.is_stopping = False
        self.date_line = b""
        self.plain_head = b""
        """What every plain answer begins with: everything up to its length."""
        self.now = 0.0
        self.tick(asyncio.get_running_loop().time())

    def tick(self, now: float) -> None:
        """To be called every second."""
        self.now = now
        self.date_line = b"Date: " + formatdate(usegmt=True).encode() + b"\r\n"
        self.plain_head = b"HTTP/1.1 200 OK\r\n" + self.date_line + JSON_LINES + b"Content-Length: "
        for connection in list(self.connections):
            if now > connection.deadline:
                connection.expire()
            elif now > connection.stalls:
                connection.check_progress()

    async def close(self) -> None:
        """Cancel the requests that are still being answered, and wait for them."""
        for task in list(self.running):
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)

    def recall(self, data: bytes) -> Request | None:
        """The whole request that `data` is, if its head is one that was read before; None if that can't be told.

        A head that is byte for byte one that llhttp has read and the handler has admitted means the same again, so
        that neither has to look at it twice. What is not exactly one whole request is left to llhttp.
        """
        at = data.find(b"\r\n\r\n") + 4
        found = self._heads.get(data[:at])
        if found is None or len(data) - at != found[1]:
            return None
        known = found[0]
        if known.grant is not None and known.grant.until <= asyncio.get_running_loop().time():
            del self._heads[data[:at]]
            return None
        request = Request(known.verb, known.path, known.query, known.headers, data[at:])
        request.grant = known.grant
        request.admission = known.admission
        return request

    def remember(self, head: bytes, request: Request) -> None:
        """Keep a head for `recall`; all are forgotten when there are too many."""
        if len(self._heads) >= limits.HEADS_REMEMBERED:
            self._heads.clear()
        request.body = b""
        self._heads[head] = request, int(request.headers["content-length"])
