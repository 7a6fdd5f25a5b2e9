"""The shell for sockets: an asyncio protocol that uvicorn runs (`uvicorn.Config(http=…)`), on llhttp.

Bounds come first: a head that is too long, too slow or ambiguous never reaches the handler, and whatever can't be
understood is answered once and the connection closed, because nobody knows where the next request would begin
(RFC 9112 §2.2, §6.3). One clock tick a second looks after every deadline of every connection.
"""

import asyncio
import logging
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httptools

from isthmus import limits
from isthmus.transports.http_front.front import Front
from isthmus.transports.http_front.port import JSON_LINES
from isthmus.transports.http_front.request import ONCE, Request
from isthmus.wire.envelope import INTERNAL_ERROR, INVALID_REQUEST, error_message
from isthmus.wire.headers import Headers

if TYPE_CHECKING:
    from collections.abc import Callable

_BETWEEN: Final = 0
_IN_HEAD: Final = 1
_IN_BODY: Final = 2
_NEVER: Final = float("inf")
_FAILED: Final = (500, "Internal error.")
_STOPPING: Final = (503, "The proxy is stopping. Try again later.")
_log: Final = logging.getLogger("isthmus.front")
_STATUS_LINE: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}
_CHUNK_END: Final = b"\r\n"
_EVENT_ENDS: Final = (b"\n\n\r\n", b"\n\n")
_LAST_CHUNK: Final = b"0\r\n\r\n"


class FrontProtocol(asyncio.Protocol):
    """One connection of a client; also the `Sink` of the request that it is answering.

    `deadline` is the moment, by the front's clock, at which what the connection waits for must have come; `stalls` the
    one at which a client that does not read must have read something.
    """

    def __init__(self, front: Front, connections: "set[Any]") -> None:
        self._front = front
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._queue: deque[tuple[Request, bool, bool]] = deque()
        self._refusal: tuple[int, str] | None = None
        self.task: asyncio.Task[None] | None = None
        self._next: asyncio.Future[Request] | None = None
        self._turn = 0
        self._held = b""
        self._loop = asyncio.get_running_loop()
        self._request: Request | None = None
        self._chunk = b""
        self._head = b""
        self._part = _BETWEEN
        self._head_size = 0
        self._is_busy = False
        self._is_streaming = False
        self._keeps_alive = True
        self._is_head_only = False
        self._is_http_1_0 = False
        self._is_reading = True
        self._is_broken = False
        self._owes_continue = False
        self._writable: asyncio.Future[None] | None = None
        self._unread = 0
        self._unread_most = 0
        self.gone: Callable[[], object] | None = None
        self.deadline = front.now + front.limits.header_time
        self.stalls = _NEVER
        self._body: list[bytes] = []
        self._reset()

    # -- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's transports are no subclass
        transport.set_write_buffer_limits(high=self._front.limits.unread)  # type: ignore[attr-defined]
        self._front.connections.add(self)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._queue.clear()
        self._front.connections.discard(self)
        self._connections.discard(self)
        self.resume_writing()
        if self._is_busy and self.gone is not None:
            self.gone()
        if self._next is not None and self.task is not None:
            self.task.cancel()
        self.gone = None

    def eof_received(self) -> None:
        """A client that closes its side has left: half-closed connections are not served."""

    def data_received(self, data: bytes) -> None:
        if self._is_broken:
            return
        if self._part == _BETWEEN and not self._is_busy:
            request = self._front.recall(data)
            if request is not None:
                self._answer(request, True, False)
                return
            self._chunk = data
        if self._part != _IN_BODY:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            is_coding = str(error) == "Request has invalid `Transfer-Encoding`"
            self._break(501 if is_coding else 400, f"This is no HTTP/1.1 request: {error}.")
        else:
            if self._part == _IN_HEAD and self._head_size > limits.HEADER_BYTES:
                self._break(431, f"The head of a request may have {limits.HEADER_BYTES} bytes.")
        self._chunk = b""

    def pause_writing(self) -> None:
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()
            self._watch_reading()

    def resume_writing(self) -> None:
        self.stalls = _NEVER
        if self._writable is not None:
            if not self._writable.done():
                self._writable.set_result(None)
            self._writable = None

    def shutdown(self) -> None:
        """uvicorn is stopping: what is being answered is answered, then the connection closes."""
        self._keeps_alive = False
        if not self._is_busy:
            self._close(lingers=False)

    def cut(self) -> None:
        """Nothing is waited for any more: what is not answered is refused, and its handler cancelled."""
        if self._is_busy and self.gone is not None:
            self.gone()
        if self.task is not None:
            self.task.cancel()
        if self._is_streaming:
            self._abort()
        elif self._is_busy:
            self._refuse(503, "The proxy is stopping. Try again later.", INTERNAL_ERROR)
        self._close(lingers=False)

    # -- llhttp -----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset()
        self._part = _IN_HEAD
        if not self._is_busy:
            self.deadline = self._front.now + self._front.limits.header_time

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > limits.URI_BYTES:
            self._break(414, f"A request's target may have {limits.URI_BYTES} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields += 1
        self._fields_size += len(name) + len(value) + 4
        if self._fields > limits.HEADER_FIELDS or self._fields_size > limits.HEADER_BYTES:
            self._break(431, "The request has too many or too long header fields.")
            return
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1").strip(" \t")
        if key in self._headers:
            if key in ONCE:
                self._break(400, f"The header {key} may be given once.")
            text = f"{self._headers[key]}, {text}"
        self._headers[key] = text

    def on_headers_complete(self) -> None:
        self._part = _IN_BODY
        if self._is_broken:
            return
        headers = self._headers
        if "host" not in headers:
            self._break(400, "The request has no Host header.")
            return
        coding = headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            self._break(501, f"The transfer coding {coding[:40]!r} is not served here.")
            return
        length = headers.get("content-length")
        if length is not None and int(length) > self._front.limits.body:
            self._break(413, f"A message may have {self._front.limits.body} bytes.")
            return
        if length not in (None, "0") or coding is not None:
            if not self._is_busy:
                self.deadline = self._front.now + self._front.limits.body_time
            if "expect" in headers and headers["expect"].lower() == "100-continue":
                self._owes_continue = self._parser.get_http_version() != "1.0"
                self._pay_continue()

    def on_body(self, body: bytes) -> None:
        if self._is_broken:
            return
        self._body_size += len(body)
        if self._body_size > self._front.limits.body:
            self._break(413, f"A message may have {self._front.limits.body} bytes.")
            return
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._part = _BETWEEN
        self._head_size = 0
        if self._is_broken or ("upgrade" in self._headers and self._parser.should_upgrade()):
            return
        path, _, query = self._url.decode("latin-1").partition("?")
        if not path.startswith("/"):
            path = "/" + path.partition("://")[2].partition("/")[2] if "://" in path else path
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._owes_continue = False
        request = Request(self._parser.get_method().decode(), path, query, self._headers, body)
        is_http_1_0 = self._parser.get_http_version() == "1.0"
        # "Connection: keep-alive" of HTTP/1.0 is not kept up: it would have to be confirmed in the response.
        keeps_alive = not is_http_1_0 and self._parser.should_keep_alive()
        if not self._is_busy:
            if keeps_alive and "content-length" in self._headers and "expect" not in self._headers:
                at = self._chunk.find(b"\r\n\r\n") + 4
                self._head = self._chunk[:at] if len(self._chunk) == at + len(body) else b""
            self._answer(request, keeps_alive, is_http_1_0)
            return
        self._queue.append((request, keeps_alive, is_http_1_0))
        if self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    # -- Sink -------------------------------------------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """Send a whole response."""
        if self._transport is None or not self._is_busy:
            return
        is_plain = status == 200 and lines is JSON_LINES and self._keeps_alive and not self._is_head_only
        if is_plain and len(body) < limits.TOGETHER:
            self._hold(b"%b%d\r\n\r\n%b" % (self._front.plain_head, len(body), body))
            self._finish()
            return
        length = b"" if status in (204, 304) else b"Content-Length: %d\r\n" % len(body)
        ending = b"\r\n" if self._keeps_alive else b"Connection: close\r\n\r\n"
        head = b"%b%b%b%b%b" % (_STATUS_LINE[status], self._front.date_line, lines, length, ending)
        if self._is_head_only or len(body) < limits.TOGETHER:
            self._hold(head if self._is_head_only else head + body)
        else:
            self.uncork()
            self._transport.write(head)
            self._transport.write(body)
        self._finish()

    def _hold(self, data: bytes) -> None:
        """Write something at the end of the loop's turn, together with what else is written in it."""
        if not self._held:
            self._front.cork.hold(self)
        self._held += data
        if len(self._held) >= limits.TOGETHER:
            self.uncork()

    def uncork(self) -> None:
        """Write what was held back to the end of the loop's turn."""
        if self._held and self._transport is not None and not self._transport.is_closing():
            self._transport.write(self._held)
        self._held = b""

    def begin(self, status: int, lines: bytes, unread: int = 0) -> None:
        """Send the head of a response that streams; see `Sink`."""
        if self._transport is None or not self._is_busy:
            return
        self._is_streaming = True
        self._unread_most = unread or self._front.limits.result
        if self._is_http_1_0:
            self._keeps_alive = False
            framing = b"Connection: close\r\n\r\n"
        else:
            ending = b"\r\n" if self._keeps_alive else b"Connection: close\r\n\r\n"
            framing = b"Transfer-Encoding: chunked\r\n" + ending
        self._hold(_STATUS_LINE[status] + self._front.date_line + lines + framing)

    def write(self, *pieces: bytes) -> None:
        """Send something more of a streaming response."""
        if self._transport is None or not self._is_streaming:
            return
        size = sum(map(len, pieces))
        if self._writable is not None:
            self._unread += size
            if self._transport.get_write_buffer_size() > self._unread_most:
                self._transport.abort()
                return
        if not self._is_http_1_0:
            pieces = (b"%x\r\n" % size, *pieces, _CHUNK_END)
        # One event a write: there are clients that lose the progress which they read together with the answer.
        if size >= limits.TOGETHER or self._held.endswith(_EVENT_ENDS):
            self.uncork()
        if size < limits.TOGETHER:
            self._hold(b"".join(pieces))
            return
        for piece in pieces:
            self._transport.write(piece)

    def end(self) -> None:
        """End a streaming response."""
        if self._transport is None or not self._is_streaming:
            return
        if not self._is_http_1_0:
            self._hold(_LAST_CHUNK)
        self._finish()

    async def drain(self) -> None:
        """Wait while more than `Limits.unread` waits to be read; `check_progress` cuts a client that reads nothing."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    # -- inside -----------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The deadline passed: an answer that says so where a request had begun, and the end."""
        if self._is_broken:
            self._abort()
        elif self._part != _BETWEEN:
            self._break(408, "The request did not arrive in time.")
        else:
            self._close()

    def check_progress(self) -> None:
        """Cut the client off unless it has read something of what waited, and of what came since (`_unread`)."""
        if self._transport is not None and self._transport.get_write_buffer_size() < self._unread:
            self._watch_reading()
        else:
            self._abort()

    def _watch_reading(self) -> None:
        if self._transport is not None:
            self._unread = self._transport.get_write_buffer_size()
            self.stalls = self._front.now + limits.WRITE_STALLED

    def _reset(self) -> None:
        self._url = b""
        self._headers = Headers()
        self._fields = 0
        self._fields_size = 0
        self._body = []
        self._body_size = 0

    def _answer(self, request: Request, keeps_alive: bool, is_http_1_0: bool) -> None:
        self._request = request
        self._is_http_1_0 = is_http_1_0
        self._is_busy = True
        self._is_head_only = request.verb == "HEAD"
        self._keeps_alive = keeps_alive and not self._front.is_stopping
        self.deadline = _NEVER
        if request.admission is not None and self._front.express is not None and self._front.express(request, self):
            return
        if self._next is not None:
            self._next.set_result(request)
            self._next = None
        else:
            self._turn += 1
            self.task = self._loop.create_task(self._serve(request, self._turn))
            self._front.running.add(self.task)
            self.task.add_done_callback(self._front.running.discard)

    async def _serve(self, request: Request, turn: int) -> None:
        """Handle requests, one after the other: a task for each would cost more than its parsing.

        A request that comes while the handler of the one before is still at work, with its response sent, gets a task
        of its own, and this one ends after that work.
        """
        while True:
            error = None
            try:
                await self._front.handle(request, self)
            except asyncio.CancelledError:
                error = _STOPPING
            except Exception:
                _log.exception("A request could not be handled; this is a bug of isthmus.")
                error = _FAILED
            if turn != self._turn:
                return
            if self._is_busy and self._transport is not None:
                self._fail(error or _FAILED)
            if error is not None or self.is_closed:
                self._turn += 1
                return
            self._next = self._loop.create_future()
            request = await self._next

    def _fail(self, error: tuple[int, str]) -> None:
        """The handler ended without a whole response."""
        if self._is_streaming:
            self._abort()
        else:
            self._refuse(*error, INTERNAL_ERROR)

    def _finish(self) -> None:
        self._is_busy = False
        self._is_streaming = False
        self._is_head_only = False
        self.gone = None
        if self._head:
            if self._request is not None and self._request.admission is not None:
                self._front.remember(self._head, self._request)
            self._head = b""
        if not self._keeps_alive:
            self._close()
        elif self._queue:
            self._answer(*self._queue.popleft())
        elif self._refusal is not None:
            self._refuse(*self._refusal)
        else:
            bounds = self._front.limits
            wait = (bounds.keep_alive, bounds.header_time, bounds.body_time)[self._part]
            self.deadline = self._front.now + wait
            self._pay_continue()
            if not self._is_reading and self._transport is not None:
                self._is_reading = True
                self._transport.resume_reading()

    def _pay_continue(self) -> None:
        """Invite a body that waits for it, but never into the middle of another response."""
        if self._owes_continue and not self._is_busy and self._transport is not None:
            self._owes_continue = False
            self.uncork()
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _ignore_upgrade(self, rest: bytes) -> None:
        """ "A server MAY ignore a received Upgrade header field" (RFC 9110 §7.8), which llhttp can't: it reads again.

        Java's HTTP client asks for h2c in its first request.
        """
        verb = self._parser.get_method()
        if verb == b"CONNECT":
            self._break(405, "CONNECT is not served here.")
            return
        version = self._parser.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (verb, self._url, version)]
        for name, value in self._headers.items():
            if name == "connection":
                value = "close" if "close" in value.lower() else "keep-alive"
            if name not in ("upgrade", "expect"):
                lines.append(f"{name}: {value}".encode("latin-1"))
        self._parser = httptools.HttpRequestParser(self)
        self._part = _BETWEEN
        self.data_received(b"\r\n".join(lines) + b"\r\n\r\n" + rest)

    def _break(self, status: int, why: str) -> None:
        """Answer with an error, once and in its turn, and close: what follows on the connection can't be trusted."""
        if self._is_broken:
            return
        self._is_broken = True
        self._refusal = (status, why)
        if not self._is_busy:
            self._refuse(status, why)

    def _refuse(self, status: int, why: str, code: int = INVALID_REQUEST) -> None:
        self._is_busy = True
        self._keeps_alive = False
        self.respond(status, b"Content-Type: application/json\r\n", error_message(None, code, why))

    def _close(self, *, lingers: bool = True) -> None:
        """Close when all is written; a client whose request was not read to its end may still be sending.

        "If a server performs an immediate close of a TCP connection, there is a significant risk that the client will
        not be able to read the last HTTP response" (RFC 9112 §9.6).
        """
        self.deadline = _NEVER
        if self._transport is None:
            return
        self.uncork()
        if lingers and self._is_broken and self._transport.can_write_eof():
            self._transport.write_eof()
            self.deadline = self._front.now + limits.LINGER
            if not self._is_reading:
                self._is_reading = True
                self._transport.resume_reading()
        else:
            self._transport.close()
        self._watch_reading()

    def _abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
