"""The back of HTTP+SSE (2024-11-05 basic/transports): one stream of events to read, one URI to POST messages to.

A stream is one client's session; when it ends, so does the session.

**The order of POSTs.** What was written first is sent first, and a POST waits until the one before it was answered: on
connections of their own the two could overtake one another. But some servers answer the POST of a call only when the
call is done, and the call may wait for what comes after it, the answer to a question or a cancellation. So a POST waits
for `POST_IN_TURN` seconds at most.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final

from isthmus.errors import BackFault, BackUnavailable, Fault
from isthmus.limits import LISTEN, MIB, POST_IN_TURN, SSE_ENDPOINT, STDIN_QUEUE, Limits
from isthmus.transports.channel import Listener
from isthmus.transports.http_client import EventStream, HttpClient
from isthmus.wire.codec import parse
from isthmus.wire.envelope import INTERNAL_ERROR, Batch, Envelope, Kind, error_message
from isthmus.wire.sse import Event

_log: Final = logging.getLogger("isthmus.back")

Start = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


async def connect(
    client: HttpClient, name: str, limits: Limits, listener: Listener, start: Start, extra: bytes = b""
) -> "SseChannel":
    """Open a stream of events at the client's URL and read where messages are to be sent.

    Args:
        client: the connections to the back; its URL is that of the stream.
        name: the back's.
        limits: `call_most` bounds each POST.
        listener: hears the back.
        start: starts a task that lives until the channel ends.
        extra: header lines of every request, each with its line break.

    Raises:
        BackUnavailable: no stream came, or nothing on it says where to send messages.
    """
    try:
        async with asyncio.timeout(SSE_ENDPOINT):
            response = await client.request("GET", extra, repeatable=True, lasting=True)
            stream = response.stream
            if stream is None:
                raise BackUnavailable(
                    f"{name} answered a GET with HTTP {response.status} and no stream of events; "
                    "check that its URL is that of an HTTP+SSE server."
                )
            try:
                target, rest = _find_endpoint(client, name, await stream.events())
            except BaseException:
                stream.close()
                raise
    except TimeoutError:
        raise BackUnavailable(
            f"{name} did not say within {SSE_ENDPOINT:.0f} s where messages are to be sent; "
            "check that its URL is that of an HTTP+SSE server."
        ) from None
    except BackFault as fault:
        raise BackUnavailable(fault.why) from fault
    channel = SseChannel(client, name, limits, listener, start, extra)
    channel.open(stream, target, rest)
    return channel


def _find_endpoint(client: HttpClient, name: str, events: list[Event]) -> tuple[str, list[Event]]:
    """The request target for messages, and the events after the one that named it.

    "When a client connects, the server MUST send an `endpoint` event containing a URI for the client to use for sending
    messages."
    """
    if not events or events[0].type != "endpoint":
        raise BackUnavailable(
            f"{name} began its stream without saying where messages are to be sent; "
            "check that its URL is that of an HTTP+SSE server."
        )
    try:
        origin, target = client.find(events[0].data.decode("utf-8", "replace").strip())
    except ValueError as error:
        raise BackUnavailable(f"{name} wants messages at a URL that {error}; report it to its makers.") from None
    if origin != client.origin:
        raise BackUnavailable(
            f"{name} wants messages at another origin, {origin}, and nothing is sent there; "
            "give the URL of its stream at that origin."
        )
    return target, events[1:]


class SseChannel:
    """One open stream of events, and what is sent to its endpoint (`channel.Channel`). For `connect`."""

    def __init__(
        self, client: HttpClient, name: str, limits: Limits, listener: Listener, start: Start, extra: bytes
    ) -> None:
        self._client = client
        self._name = name
        self._limits = limits
        self._listener = listener
        self._start = start
        self._extra = extra
        self._stream: EventStream | None = None
        self._target = ""
        self._queue: deque[bytes] = deque()
        self._size = 0
        self._is_over = False
        self._sending: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()

    @property
    def is_alive(self) -> bool:
        """Whether it takes messages."""
        return not self._is_over

    def open(self, stream: EventStream, target: str, events: list[Event]) -> None:
        """Begin: hear `events` and then the stream, and send to `target`."""
        self._stream, self._target = stream, target
        self._run(self._hear(stream, events))

    def write(self, message: bytes) -> None:
        """Send one message after those before it.

        Raises:
            BackUnavailable: the stream has ended, or `limits.STDIN_QUEUE` bytes wait to be sent.
        """
        if self._is_over:
            raise BackUnavailable(f"{self._name} has just ended its stream of events; call again.")
        if self._size + len(message) > STDIN_QUEUE:
            raise BackUnavailable(
                f"{self._name} takes no messages, {STDIN_QUEUE // MIB} MiB wait to be sent; call later or restart it."
            )
        self._queue.append(message)
        self._size += len(message)
        if self._sending is None:
            self._sending = self._run(self._send_all())

    async def stop(self) -> None:
        """Close the stream, which is all that this transport knows of an end. Idempotent."""
        self._end(f"The stream of events of {self._name} was closed from this side.")

    async def _hear(self, stream: EventStream, events: list[Event]) -> None:
        why = f"{self._name} ended its stream of events, and with it the session."
        try:
            self._take(events)
            async with asyncio.timeout(LISTEN):
                while events := await stream.events():
                    self._take(events)
        except BackFault as fault:
            why = fault.why
        except TimeoutError:
            why = f"The stream of events of {self._name} was closed after {LISTEN / 3600:.0f} hours."
        self._end(why)

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._is_over:
                return
            message = parse(event.data) if event.type == "message" and event.data else None
            if isinstance(message, Envelope):
                self._listener.received(message)
            elif isinstance(message, Batch):
                self._listener.received_batch(message)
            elif message is not None:
                _log.warning("%s sent an event that is no JSON-RPC message; it was skipped.", self._name)

    async def _send_all(self) -> None:
        """Send what waits, one message after the other."""
        while self._queue:
            message = self._queue.popleft()
            self._size -= len(message)
            await asyncio.wait([self._run(self._post(message))], timeout=POST_IN_TURN)
        self._sending = None

    async def _post(self, message: bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.call_most):
                response = await self._client.request("POST", self._extra, message, target=self._target)
        except TimeoutError:
            why = f"{self._name} did not answer a POST within {self._limits.call_most:.0f} s. Try again."
        except Fault as fault:
            why = fault.why
        else:
            if response.stream is not None:
                response.stream.close()
            if response.status < 300:
                return
            why = f"{self._name} refused a message with HTTP {response.status}."
            if response.status in (401, 403):
                why += " It wants credentials: give them with --header 'Authorization: Bearer …'."
            else:
                why += " Try again; if that does not help, restart it."
        self._refused(message, why)

    def _refused(self, message: bytes, why: str) -> None:
        """A message did not arrive: who waits for an answer to it gets this one."""
        request = parse(message)
        if self._is_over or not isinstance(request, Envelope) or request.kind is not Kind.REQUEST:
            _log.info("A message was lost on its way to %s: %s", self._name, why)
            return
        answer = parse(error_message(request.id, INTERNAL_ERROR, why))
        assert isinstance(answer, Envelope)
        self._listener.received(answer)

    def _end(self, why: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        self._queue.clear()
        if self._stream is not None:
            self._stream.close()
        for task in self._running:
            if task is not asyncio.current_task():
                task.cancel()
        self._listener.lost(why)

    def _run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._start(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task
