"""Backs reached over streamable HTTP: modern requests each on their own, legacy sessions with their GET stream.

Both read the answer to one POST the same way (`_Reader`): a JSON body, or server-sent events of which the last is the
answer. What the response can't be becomes a `BackFault` whose sentence names the back and the HTTP status.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from math import inf
from typing import Any, Final

from isthmus import limits
from isthmus.errors import BackFault, BackRefused, BackUnavailable
from isthmus.protocol.names import MODERN_CODES
from isthmus.protocol.versions import era_of, has_version_header
from isthmus.transports.http_client import EventStream, HttpClient, Response
from isthmus.transports.session import SessionOwner
from isthmus.types import Call, Collect
from isthmus.wire.codec import identify, open_object, parse, string
from isthmus.wire.envelope import Batch, Envelope, Kind, Malformed

_log: Final = logging.getLogger("isthmus.back")
_STATUS_SAYS_LEGACY: Final = frozenset({400, 404, 405, 406, 415, 422, 501})
_STATUS_SAYS_WHO: Final = frozenset({401, 403, 407, 421, 429})
"""Refusals of the client, or for now; what the server has is not known then."""
_STATUS_SAYS_CREDENTIALS: Final = frozenset({401, 403})
_Resume = Callable[[str], Awaitable[EventStream | None]]


class SessionGone(BackFault):
    """The back no longer knows the session (HTTP 404)."""


class NotStreamable(BackFault):
    """The back refused a POST of `initialize` as one does that has only HTTP+SSE."""


def is_modern_answer(envelope: Envelope) -> bool:
    """Whether an answer to `server/discover` comes from a modern server (2026-07-28 basic/transports/stdio)."""
    if "result" in envelope.members:
        result = open_object(envelope.members["result"])
        return result is not None and "supportedVersions" in result
    return error_code(envelope) in MODERN_CODES


def error_code(envelope: Envelope) -> int | None:
    """The code of an error response."""
    error = open_object(envelope.members["error"]) if "error" in envelope.members else None
    code = identify(error["code"]) if error is not None and "code" in error else None
    return code if isinstance(code, int) else None


async def post_modern(client: HttpClient, name: str, call: Call, text: bytes, extra: bytes) -> None:
    """Send one modern request and hand what comes back to `call`; returns when it is answered.

    Cancelling closes the connection, which is the protocol's cancellation.

    Raises:
        BackUnavailable, BackFault: there is no answer and there will be none.
    """
    row = call.row
    response = await client.request("POST", extra, text, repeatable=row.is_repeatable, lasting=row.is_endless)
    await read_modern(name, call, response)


async def read_modern(name: str, call: Call, response: Response) -> None:
    """Hand a modern response to `call`, to its end.

    Raises:
        BackFault: it is no answer.
    """
    if response.stream is None:
        read_answer(name, call, response)
    else:
        await _Reader(name, call).follow(response.stream, None)


def read_answer(name: str, call: Call, response: Response) -> None:
    """Hand a complete response to `call`.

    Raises:
        BackFault: it is no answer.
    """
    _Reader(name, call).read_body(response)


async def probe_http(client: HttpClient, name: str, probe: Collect, text: bytes, extra: bytes) -> bool:
    """Whether the server answers `probe`, a `server/discover`, as a modern one does.

    Raises:
        BackUnavailable, BackFault: it can't be reached, or answers with what says nothing about its era.
    """
    response = await client.request("POST", extra, text, repeatable=True)
    envelope: Envelope | Batch | Malformed | None
    if response.stream is not None:
        await _Reader(name, probe).follow(response.stream, None)
        envelope = probe.answer
    else:
        envelope = parse(response.body)
    if isinstance(envelope, Envelope) and envelope.kind is Kind.ANSWER:
        return is_modern_answer(envelope)
    if response.status in _STATUS_SAYS_LEGACY or response.status < 300:
        return False
    kind = BackRefused if response.status in _STATUS_SAYS_CREDENTIALS else BackFault
    raise kind(f"{name} answered HTTP {response.status} to server/discover. Check its URL and credentials.")


class HttpSession:
    """One legacy session with a back.

    Args:
        client: the connections to the back.
        name: the back's name, for sentences.
        owner: who gets what the back says outside a call.
        start: starts a task that lives until `close` at the longest.
        forwarded: header lines of every request, each with its line break.
    """

    def __init__(
        self,
        client: HttpClient,
        name: str,
        owner: SessionOwner,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        forwarded: bytes = b"",
    ) -> None:
        self._client = client
        self._name = name
        self._owner = owner
        self._start = start
        self._extra = forwarded
        self.heard_since = inf
        self._has_session = False
        self._listening: asyncio.Task[None] | None = None
        self._waiting: dict[int, _Waiting] = {}

    async def initialize(self, call: Call, text: bytes) -> None:
        """Send `initialize`; the session id and the version that the answer names are sent with all that follows.

        Raises:
            NotStreamable: the back may be one that has only HTTP+SSE.
            BackUnavailable, BackFault: there is no answer and there will be none.
        """
        response = await self._client.request("POST", self._extra, text)
        if _may_be_older(response, call.id):
            with suppress(BackFault):
                await self._read(call, response)
            raise NotStreamable(_unexpected(self._name, response))
        session = response.headers.get("mcp-session-id")
        if session is not None and response.status < 300:
            self._has_session = True
            self._extra += b"Mcp-Session-Id: " + session.encode("latin-1") + b"\r\n"
        await self._read(call, response)

    def settle(self, version: str) -> None:
        """The negotiated revision is known."""
        if has_version_header(version) and era_of(version) is not None:
            self._extra += b"MCP-Protocol-Version: " + version.encode("ascii", "replace") + b"\r\n"

    async def request(self, call: Call, text: bytes) -> None:
        """Send one request and hand what comes back to `call`; returns when it is answered.

        Raises:
            SessionGone: the back has forgotten the session.
            BackUnavailable, BackFault: there is no answer and there will be none.
        """
        waiting = self._waiting[call.id] = _Waiting(call, asyncio.current_task())
        try:
            response = await self._client.request("POST", self._extra, text, repeatable=call.row.is_repeatable)
            await self._read(call, response)
        except asyncio.CancelledError:
            if not waiting.is_over or waiting.task is None or waiting.task.uncancel() > 0:
                raise
        finally:
            del self._waiting[call.id]

    async def send(self, text: bytes) -> None:
        """Send a notification or an answer.

        Raises:
            SessionGone, BackUnavailable, BackFault: it was not taken.
        """
        response = await self._client.request("POST", self._extra, text)
        if response.stream is not None:
            response.stream.close()
        if response.status >= 300:
            raise self._refused(response)

    def listen(self) -> None:
        """Keep the session's GET stream open, once it is initialized."""
        if self._listening is None:
            self._listening = self._start(self._listen())

    async def close(self) -> None:
        """End the session, with a DELETE if it has an id."""
        if self._listening is not None:
            self._listening.cancel()
        if self._has_session:
            self._has_session = False
            with suppress(BackUnavailable, BackFault, TimeoutError):
                async with asyncio.timeout(limits.CLOSE_SESSION):
                    response = await self._client.request("DELETE", self._extra)
                    if response.stream is not None:
                        response.stream.close()

    async def _read(self, call: Call, response: Response) -> None:
        reader = _Reader(self._name, call)
        if response.stream is not None:
            await reader.follow(response.stream, self._resume)
        elif response.status == 404 and self._has_session:
            raise self._refused(response)
        else:
            reader.read_body(response)

    async def _resume(self, last_id: str) -> EventStream | None:
        """Open a stream that was cut again, after its last event (2025-11-25 basic/transports, *Resumability*).

        None where that may succeed later.

        Raises:
            SessionGone: the back has forgotten the session.
            BackFault: it is refused.
        """
        extra = self._extra + b"Last-Event-ID: " + last_id.encode("utf-8") + b"\r\n"
        try:
            response = await self._client.request("GET", extra, repeatable=True)
        except (BackUnavailable, BackFault) as fault:
            _log.debug("%s: a stream could not be resumed yet: %s", self._name, fault)
            return None
        if response.status == 404 and self._has_session:
            raise self._refused(response)
        if response.stream is None and response.status < 500:
            raise BackFault(
                f"{self._name} ended a call's stream before its answer and would not resume it "
                f"(HTTP {response.status}). Try the call again."
            )
        return response.stream

    async def _listen(self) -> None:
        last_id: str | None = None  # until there was a stream
        retry, fruitless = None, 0
        while True:
            extra = self._extra + (b"Last-Event-ID: " + last_id.encode() + b"\r\n" if last_id else b"")
            fruitless += 1
            with suppress(BackUnavailable, BackFault, TimeoutError):
                async with asyncio.timeout(limits.LISTEN):
                    response = await self._client.request("GET", extra, repeatable=True, lasting=True)
                    if response.stream is not None:
                        if last_id == "":  # there was a stream, and it gave nothing to resume it by
                            self._owner.missed()
                        had, self.heard_since = last_id, asyncio.get_running_loop().time()
                        last_id, retry = await self._hear(response.stream, last_id or "", retry)
                        fruitless = 1 if last_id != had else fruitless
                    elif response.status == 404 and last_id is not None and self._has_session:
                        self._owner.lost(self._refused(response).why)
                        return
                    elif response.status < 500:
                        return  # "or else return HTTP 405 Method Not Allowed": no stream is offered here
            if self.heard_since < inf:
                self.heard_since = inf
                self._owner.unheard()
            await asyncio.sleep(_wait(retry, fruitless))

    async def _hear(self, stream: EventStream, last_id: str, retry: int | None) -> tuple[str, int | None]:
        try:
            async with asyncio.timeout(limits.LISTEN):
                while events := await stream.events():
                    for event in events:
                        last_id = event.id if event.id is not None else last_id
                        retry = event.retry if event.retry is not None else retry
                        for message in _messages(event.data):
                            if message.kind is Kind.NOTIFICATION:
                                self._owner.notified(message)
                            elif message.kind is Kind.REQUEST:
                                self._owner.asked(message)
                            else:
                                self._answered(message)
        except (BackFault, TimeoutError) as fault:
            _log.debug("%s: GET stream: %s", self._name, fault)
        finally:
            stream.close()
        return last_id, retry

    def _answered(self, answer: Envelope) -> None:
        """An answer came on the GET stream, where none may be; a call that waits for it has it all the same.

        Servers put it there when the stream of its own request broke; the wait on that stream is over.
        """
        waiting = self._waiting.get(answer.key) if isinstance(answer.key, int) else None
        if waiting is None:
            _log.info("%s answered on its GET stream what nobody waits for; it was dropped.", self._name)
        elif not waiting.is_over and waiting.task is not None:
            waiting.is_over = True
            waiting.call.answered(answer, 200)
            waiting.task.cancel()

    def _refused(self, response: Response) -> BackFault:
        if response.status == 404 and self._has_session:
            return SessionGone(f"{self._name} no longer knows this session. Start a new one.")
        return _fault_of(self._name, response)


class _Waiting:
    """A call whose answer is awaited; `is_over`: it came elsewhere, and the task was cancelled for it."""

    __slots__ = ("call", "is_over", "task")

    def __init__(self, call: Call, task: asyncio.Task[Any] | None) -> None:
        self.call = call
        self.task = task
        self.is_over = False


class _Reader:
    """Reads the answer to one POST."""

    __slots__ = ("_call", "_name")

    def __init__(self, name: str, call: Call) -> None:
        self._name = name
        self._call = call

    def read_body(self, response: Response) -> None:
        """The answer is the body."""
        message = parse(response.body)
        if isinstance(message, Batch):
            items = [parse(item) for item in message.items]
            answers = [item for item in items if isinstance(item, Envelope) and item.key == self._call.id]
            for item in items:
                if isinstance(item, Envelope) and item not in answers:
                    self._deliver(item)
            message = answers[-1] if answers else Malformed(0, "no answer among the batch")
        if isinstance(message, Envelope) and message.kind is Kind.ANSWER:
            if message.key == self._call.id or (response.status >= 400 and "error" in message.members):
                self._call.answered(message, response.status)
                return
            raise BackFault(
                f"{self._name} answered another request than the one it was asked. Report it to its makers."
            )
        raise _fault_of(self._name, response)

    async def follow(self, stream: EventStream, resume: _Resume | None) -> None:
        """The answer is the last event. A stream cut after an event id is resumed where that is possible.

        Raises:
            BackFault: the stream ended without the answer.
        """
        last_id: str | None = None
        retry: int | None = None
        fruitless = 0
        self._call.streamed()
        try:
            while True:
                fault: BackFault | None = None
                try:
                    events = await stream.events()
                except BackFault as error:
                    events, fault = [], error
                for event in events:
                    last_id = event.id if event.id is not None else last_id
                    retry = event.retry if event.retry is not None else retry
                    if event.data and self._take(event.data):
                        await self._finish(stream)
                        return
                if events:
                    fruitless = 0
                    await self._call.drain()
                    continue
                if resume is None or last_id is None:
                    raise fault or BackFault(
                        f"{self._name} ended the stream of {self._call.row.name} before its answer. Try again."
                    )
                stream.close()
                resumed = None
                while resumed is None:
                    fruitless += 1
                    await asyncio.sleep(_wait(retry, fruitless))
                    resumed = await resume(last_id)
                stream = resumed
        finally:
            stream.close()

    async def _finish(self, stream: EventStream) -> None:
        """After the answer "the server SHOULD terminate the stream"; until then the connection can't be used again."""
        if stream.is_over:
            return
        with suppress(BackFault, TimeoutError):
            async with asyncio.timeout(limits.STREAM_LINGER):
                while await stream.events():
                    pass

    def _take(self, data: bytes) -> bool:
        """Hand on what an event holds; whether the answer was there."""
        message = parse(data)
        if isinstance(message, Batch):
            answered = [self._deliver(parse(item)) for item in message.items]
            return any(answered)
        return self._deliver(message)

    def _deliver(self, message: Envelope | Batch | Malformed) -> bool:
        """Hand a message on; whether it was the answer."""
        if not isinstance(message, Envelope):
            _log.warning("%s sent an event that is no JSON-RPC message; it was skipped.", self._name)
        elif message.kind is Kind.NOTIFICATION:
            self._call.notified(message)
        elif message.kind is Kind.REQUEST:
            self._call.asked(message)
        elif message.key == self._call.id:
            self._call.answered(message, 200)
            return True
        else:
            _log.warning("%s answered a request that was not asked on this stream; it was dropped.", self._name)
        return False


def _may_be_older(response: Response, id: int) -> bool:
    """Whether a refusal of `initialize` may come from a server that has only HTTP+SSE.

    "HTTP 4xx status code (e.g., 405 Method Not Allowed or 404 Not Found)" (2025-03-26 basic/transports, *Backwards
    Compatibility*), "and the response body is not a recognized modern JSON-RPC error" (2026-07-28).
    """
    if not 400 <= response.status < 500 or response.status in _STATUS_SAYS_WHO:
        return False
    message = parse(response.body)
    if not isinstance(message, Envelope) or message.kind is not Kind.ANSWER:
        return True
    return message.key != id and error_code(message) not in MODERN_CODES


def _messages(data: bytes) -> list[Envelope]:
    """The messages of an event: one, or those of a batch."""
    message = parse(data) if data else None
    if isinstance(message, Batch):
        return [each for each in map(parse, message.items) if isinstance(each, Envelope)]
    return [message] if isinstance(message, Envelope) else []


def _wait(retry: int | None, fruitless: int) -> float:
    """Seconds before a stream is opened again: what the back said (in ms), or ever longer while that brings nothing."""
    if retry is not None:
        return min(max(retry / 1000, limits.RETRY_LEAST), limits.RETRY_MOST)
    return min(limits.RETRY_GET * 2.0 ** min(fruitless - 1, 16), limits.RETRY_MOST)


def _fault_of(name: str, response: Response) -> BackFault:
    kind = BackRefused if response.status in _STATUS_SAYS_CREDENTIALS else BackFault
    return kind(_unexpected(name, response))


def _unexpected(name: str, response: Response) -> str:
    kind = response.headers.get("content-type", "no content type").split(";")[0]
    hint = ""
    if response.status == 401:
        hint = " It wants credentials: give them with --header 'Authorization: Bearer …'."
    elif response.status in (404, 405):
        hint = " Check the path of its URL."
    message = parse(response.body) if response.body else None
    raw = message.members.get("error") if isinstance(message, Envelope) else None
    error = open_object(raw) if raw is not None else None
    said = string(error["message"]) if error is not None and "message" in error else None
    if said is not None:
        hint = f" It says: {said[:300]}"
    return f"{name} answered HTTP {response.status} ({kind}) with what is no MCP answer.{hint}"
