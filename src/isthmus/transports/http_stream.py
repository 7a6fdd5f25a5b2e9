"""One connection to a back: a request goes out as bytes, a response or a stream of events comes back.

**A connection's life.** *Idle* until `start`; *asked* from then until the response has ended; then handed back to the
pool (`release`), or closed (`forfeit`). Asked is the same as having a waiter: the future that `start` returned, which
is also the exchange's identity: whoever gives it up shows it (`abandon`), so that a late cancellation can't close a
connection that already belongs to somebody else.

**Outcomes are values.** A waiter is never given an exception: a task that is cancelled in the very turn in which its
future fails would leave an exception that nobody retrieved. `Failure` is turned into a fault where it is awaited.
"""

import asyncio
import re
from io import BytesIO
from typing import Final, Protocol

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from isthmus.limits import (
    BODY_TOGETHER,
    HEAD_LONGEST,
    HEAD_NAME_LONGEST,
    HEAD_NAMES,
    HEADS_REMEMBERED,
    POOL_IDLE,
    RESPONSE_HEAD,
)
from isthmus.transports.cork import cork_of
from isthmus.transports.http_response import EventStream, Failure, Response
from isthmus.transports.per_loop import PerLoop

_TIMEOUT: Final = re.compile(r"\btimeout=([0-9]{1,6})\b", re.IGNORECASE)
_FRAMELESS: Final = (202, 204, 304)
"""Statuses without a body; for 202 that is MCP's rule, not HTTP's, so servers forget to say `Content-Length: 0`."""


class Owner(Protocol):
    """What a connection tells its pool."""

    def release(self, connection: "Connection") -> None:
        """An exchange has ended, and the connection can serve another."""

    def forfeit(self) -> None:
        """An exchange has ended, and its connection with it."""

    def unlist(self, connection: "Connection") -> None:
        """Never hand this connection out."""

    def closed(self, connection: "Connection") -> None:
        """Its socket is closed."""


class Waiter(Protocol):
    """Who waits for an exchange's outcome: a future, or somebody who takes it at once."""

    def done(self) -> bool:
        """Whether there is an outcome, or nobody waits any more."""

    def set_result(self, outcome: Response | Failure, /) -> None:
        """The outcome; may not raise."""


class Known:
    """What backs send again and again: the keys of headers' names, and whole heads of plain responses.

    A head that is byte for byte one that llhttp has read means the same again, whoever sends it; its callbacks cost
    more than the rest. So a loop has one for all backs: many send the same, and the date is another every second.
    """

    __slots__ = ("cork", "heads", "keys")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.cork = cork_of(loop)
        self.keys: dict[bytes, str] = {}
        self.heads: dict[bytes, tuple[dict[str, str], int]] = {}


known_of: Final = PerLoop(Known)


class Connection(asyncio.Protocol):
    """One connection; see the module's opening.

    Args:
        owner: the pool.
        name: the back's, for messages.
        bound: the largest body and the largest event, in bytes.
    """

    __slots__ = (
        "_body",
        "_bound",
        "_done",
        "_extra",
        "_failure",
        "_fields",
        "_held",
        "_is_large",
        "_keep",
        "_keep_text",
        "_known",
        "_name",
        "_owner",
        "_parser",
        "_paused",
        "_quiet",
        "_response",
        "_size",
        "_transport",
        "_until_close",
        "_waiter",
        "expires",
        "idle_for",
        "loop",
        "on_header",
        "served",
    )

    def __init__(self, owner: Owner, name: str, bound: int) -> None:
        self._owner = owner
        self._name = name
        self._bound = bound
        self.loop = asyncio.get_running_loop()
        self._known = known_of(self.loop)
        self._transport: asyncio.Transport | None = None
        self._parser: HttpResponseParser | None = None
        self._waiter: Waiter | None = None
        self._response: Response | None = None
        self._failure: Failure | None = None
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: BytesIO | None = None
        self._size = 0
        self._quiet = 0
        self._held = b""
        self._is_large = False
        self._keep = False
        self._done = False
        self._extra = False
        self._until_close = False
        self._keep_text = ""
        self._paused = False
        self.expires = 0.0
        self.idle_for = POOL_IDLE
        self.served = 0
        append = self._fields.append
        self.on_header = lambda name, value: append((name, value))

    def is_usable(self) -> bool:
        """Whether a request may still be written on it."""
        return self._transport is not None and not self._transport.is_closing()

    def move(self, owner: Owner) -> None:
        """Belong to somebody else from now on."""
        self._owner = owner

    def start(self, head: bytes, body: bytes, waiter: Waiter) -> None:
        """Write a request; the waiter gets its result when the response is complete or its stream has begun."""
        self._waiter = waiter
        self._quiet = 0
        transport = self._transport
        if transport is None or transport.is_closing():
            self._fail(self._closed_failure(None))
        elif len(body) <= BODY_TOGETHER:
            self._is_large = False
            self._held = head + body
            self._known.cork.hold(self)
        else:
            self._is_large = True
            transport.write(head)
            transport.write(body)

    def uncork(self) -> None:
        """Write the request that was held back to the end of the loop's turn."""
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._held)
        self._held = b""

    def abandon(self, waiter: Waiter | None = None) -> None:
        """Give the exchange up and close the connection at once; nothing happens if `waiter` is another exchange's."""
        if self._waiter is None or (waiter is not None and self._waiter is not waiter):
            return
        stream = self._response.stream if self._response is not None else None
        self._waiter = self._response = None
        self._held = b""
        self.abort()
        self._owner.forfeit()
        if stream is not None:
            stream.end()

    def stop(self, why: str) -> None:
        """Close the connection at once; an exchange on it fails with `why`."""
        if self._waiter is not None:
            self._fail(Failure(why))
        self.abort()

    def abort(self) -> None:
        """Close the socket at once, without TLS's farewell: HTTP's own framing says what is complete."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Make the back wait."""
        if not self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is not a subclass of asyncio's
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        is_fresh = self._response is None and not self._quiet
        if is_fresh and self._recall(data):
            return
        if self._response is None and self._quiet + len(data) > RESPONSE_HEAD:
            is_fresh = False
            room = RESPONSE_HEAD - self._quiet
            self.data_received(data[:room])
            data = data[room:]
        if self._waiter is None or self._parser is None:
            self._owner.unlist(self)
            self.abort()
            return
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            self._extra = True
            if not self._done and self._failure is None:
                why = (
                    f"{self._name} answered with something that is not HTTP/1.1 ({error}); check that its URL is right."
                )
                self._failure = Failure(why, error=error)
        if self._done:
            if is_fresh:
                self._remember(data)
            self._finish()
        elif self._failure is not None:
            self._fail(self._failure)
        elif self._quiet >= RESPONSE_HEAD:
            self._fail(
                Failure(f"{self._name} sent more than {RESPONSE_HEAD} bytes of headers; check that it is sound.")
            )

    def _recall(self, data: bytes) -> bool:
        """Take `data` as a whole response if its head is, byte for byte, one that llhttp has read; whether it was."""
        if self._waiter is None or self._is_large:
            return False
        at = data.find(b"\r\n\r\n") + 4
        known = self._known.heads.get(data[:at])
        if known is None or len(data) - at != known[1] or known[1] > self._bound:
            return False
        self._response = response = Response(200, known[0])
        response.body = data[at:]
        self._keep = True
        self._finish()
        return True

    def _remember(self, data: bytes) -> None:
        """Keep the head of a plain response, all of which is `data`, for `_recall`."""
        response, at = self._response, data.find(b"\r\n\r\n") + 4
        if response is None or response.status != 200 or response.stream is not None or not self._keep:
            return
        headers, is_short = response.headers, at <= HEAD_LONGEST
        is_whole = len(data) - at == len(response.body) <= self._bound and not self._extra
        if is_short and is_whole and "content-length" in headers and "keep-alive" not in headers:
            if len(self._known.heads) >= HEADS_REMEMBERED:
                self._known.heads.clear()
            self._known.heads[data[:at]] = (headers, len(response.body))

    def eof_received(self) -> None:
        self._owner.unlist(self)

    def connection_lost(self, error: Exception | None) -> None:
        if self._waiter is not None:
            if self._until_close and error is None and self._failure is None:
                self._finish()
            else:
                self._fail(self._closed_failure(error))
        self._transport = None
        self._parser = None
        self._owner.unlist(self)
        self._owner.closed(self)

    # httptools' callbacks. They may not raise, so what they find is left in the attributes that `data_received` reads.

    def on_message_begin(self) -> None:
        if self._done:
            self._extra = True

    def on_headers_complete(self) -> None:
        parser, fields = self._parser, self._fields
        assert parser is not None
        if self._done or self._failure is not None:
            return
        status = parser.get_status_code()
        if status < 200:
            if status == 101:
                self._failure = Failure(f"{self._name} switched to another protocol; check that its URL is right.")
            fields.clear()
            return
        names = self._known.keys
        headers: dict[str, str] = {}
        for name, value in fields:
            key = names.get(name) or self._new_name(name)
            text = value.decode("latin-1")
            headers[key] = f"{headers[key]}, {text}" if key in headers else text
        fields.clear()
        self._response = response = Response(status, headers)
        self._keep = parser.should_keep_alive()
        self._judge(status, headers)
        if "keep-alive" in headers and headers["keep-alive"] != self._keep_text:
            self._heed_keep_alive(headers["keep-alive"])
        if status == 200 and _is_event_stream(headers.get("content-type", "")):
            self._begin_stream(response)
        elif self._size > self._bound:
            self._failure = self._too_large()
        self._size = 0

    def on_body(self, data: bytes) -> None:
        response = self._response
        if response is None or self._failure is not None or self._done:
            return
        self._quiet = 0
        if response.stream is not None:
            response.stream.push(data)
            return
        self._size += len(data)
        if self._size > self._bound:
            self._failure = self._too_large()
        elif self._size == len(data):
            response.body = data
        else:
            if self._body is None:
                self._body = BytesIO()  # which gives its bytes away without a copy
                self._body.write(response.body)
                response.body = b""
            self._body.write(data)

    def on_message_complete(self) -> None:
        if self._response is not None and self._failure is None:
            self._done = True

    def _begin_stream(self, response: Response) -> None:
        response.stream = EventStream(self, self._name, self._bound)
        if self._failure is None and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(response)

    def _new_name(self, name: bytes) -> str:
        """The key for a header's name; names are remembered, as a back sends the same ones again and again."""
        key = name.decode("latin-1").lower()
        if len(name) <= HEAD_NAME_LONGEST:
            if len(self._known.keys) >= HEAD_NAMES:
                self._known.keys.clear()
            self._known.keys[name] = key
        return key

    def _heed_keep_alive(self, text: str) -> None:
        self._keep_text = text
        seconds = _TIMEOUT.search(text)
        self.idle_for = min(POOL_IDLE, int(seconds[1]) - 1.0) if seconds else POOL_IDLE

    def _judge(self, status: int, headers: dict[str, str]) -> None:
        """Whether the body can be read, and where it ends (RFC 9112 §6.3); lengths that contradict, llhttp refuses."""
        if "content-encoding" in headers and headers["content-encoding"].strip().lower() not in ("", "identity"):
            self._failure = Failure(
                f"{self._name} compressed its answer although it was asked not to; switch compression off there."
            )
        if "content-length" in headers:
            self._size = int(headers["content-length"])
        elif "transfer-encoding" in headers:
            if headers["transfer-encoding"].strip().lower() != "chunked":
                self._failure = Failure(f"{self._name} answered with a transfer encoding other than chunked.")
        elif status in _FRAMELESS:
            self._done = True
        else:
            self._until_close = True

    def _too_large(self) -> Failure:
        return Failure(
            f"{self._name} answered with more than {self._bound} bytes; raise the limit for results if it may."
        )

    def _closed_failure(self, error: Exception | None) -> Failure:
        if self._response is None and not self._quiet:
            unsent, self._held = bool(self._held), b""
            return Failure(
                f"{self._name} closed the connection before it answered; whether it did what was asked is unknown.",
                stale=True,
                unsent=unsent,
                error=error,
            )
        return Failure(f"{self._name} closed the connection in the middle of its answer; try again.", error=error)

    def _finish(self) -> None:
        waiter, response, transport = self._waiter, self._response, self._transport
        assert waiter is not None and response is not None
        if self._body is not None:
            response.body = self._body.getvalue()
            self._body = None
        is_written = not self._held and (
            not self._is_large or (transport is not None and not transport.get_write_buffer_size())
        )
        self._held = b""
        self._waiter = self._response = None
        self._done = False
        self.served += 1
        if self._keep and is_written and not self._extra and self.idle_for > 0.0:
            if self._paused:
                self.resume()
            self._owner.release(self)
        else:
            self.abort()
            self._owner.forfeit()
        if response.stream is not None:
            response.stream.end()
        elif not waiter.done():
            waiter.set_result(response)

    def _fail(self, failure: Failure) -> None:
        waiter, response = self._waiter, self._response
        assert waiter is not None
        self._waiter = self._response = self._failure = None
        self.abort()
        self._owner.forfeit()
        if response is not None and response.stream is not None:
            response.stream.end(failure.why)
        if not waiter.done():
            waiter.set_result(failure)


def _is_event_stream(value: str) -> bool:
    return value[:5].lower() == "text/" and value.partition(";")[0].strip().lower() == "text/event-stream"
