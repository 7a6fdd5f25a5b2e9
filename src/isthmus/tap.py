"""Where a recording listens: around the relay for the front leg, around channels and HTTP clients for the back leg."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from isthmus.engine.gateway import Gateway
from isthmus.errors import Fault
from isthmus.protocol.judge import ModernRequest
from isthmus.record import Recorder
from isthmus.transports.channel import Channel, Connect, Listener
from isthmus.transports.http_client import HttpClient
from isthmus.transports.http_response import EventStream, Response
from isthmus.types import Port, Session, Strays, Through
from isthmus.wire.codec import close_object, parse
from isthmus.wire.envelope import Batch, Envelope, Malformed, error_message
from isthmus.wire.sse import Event


class _Port(Through):
    """A way back to a client whose messages are noted."""

    def __init__(self, port: Port, recorder: Recorder, **where: Any) -> None:
        super().__init__(port)
        self._recorder = recorder
        self._where = where

    def notify(self, message: bytes) -> None:
        self._recorder.note("front", "out", message, **self._where)
        self._port.notify(message)

    def answer(self, message: bytes, status: int) -> None:
        self._recorder.note("front", "out", message, **self._where, http={"status": status} if status != 200 else None)
        self._port.answer(message, status)


class _Strays(_Port):
    """The same, for messages that belong to no call."""

    def __init__(self, strays: Strays, recorder: Recorder, session: int) -> None:
        super().__init__(strays, recorder, session=session)
        self._strays = strays

    @property
    def is_open(self) -> bool:
        return self._strays.is_open

    @property
    def opened(self) -> Callable[[], object] | None:
        return self._strays.opened

    @opened.setter
    def opened(self, opened: Callable[[], object] | None) -> None:
        self._strays.opened = opened


class _Session:
    """A legacy client's session whose messages are noted."""

    def __init__(self, session: Session, recorder: Recorder, number: int) -> None:
        self.session = session
        self._recorder = recorder
        self._number = number
        self.version = session.version

    @property
    def heard_since(self) -> float:
        return self.session.heard_since

    async def request(self, envelope: Envelope, port: Port) -> None:
        call = next(self._recorder.calls)
        self._note(envelope, call=call)
        await self.session.request(envelope, _Port(port, self._recorder, call=call, session=self._number))

    async def notify(self, envelope: Envelope) -> None:
        self._note(envelope)
        await self.session.notify(envelope)

    async def answer(self, envelope: Envelope) -> None:
        self._note(envelope)
        await self.session.answer(envelope)

    async def close(self) -> None:
        await self.session.close()

    def _note(self, envelope: Envelope, **where: Any) -> None:
        self._recorder.note("front", "in", close_object(envelope.members), **where, session=self._number)


class RecordedRelay:
    """A relay between which and its front all messages are noted; see `types.Relay`."""

    def __init__(self, relay: Gateway, recorder: Recorder) -> None:
        self._relay = relay
        self._recorder = recorder
        self.limits = relay.limits
        self.tasks = relay.tasks

    def relay(
        self,
        request: ModernRequest,
        port: Port,
        headers: Mapping[str, str] | None,
        task: asyncio.Task[None] | None = None,
    ) -> Coroutine[Any, Any, None]:
        call = next(self._recorder.calls)
        http = {"headers": self._recorder.headers(headers)} if headers is not None else None
        self._recorder.note("front", "in", close_object(request.envelope.members), call=call, http=http)
        return self._relay.relay(request, _Port(port, self._recorder, call=call), headers, task)

    def express(self, request: ModernRequest, port: Port, headers: Mapping[str, str]) -> Callable[[], None] | None:
        """Nothing is in a hurry that is recorded."""
        return None

    def is_named(self, via: str) -> bool:
        """See `types.Relay`."""
        return self._relay.is_named(via)

    def can_express(self) -> bool:
        return False

    async def notify(self, envelope: Envelope, version: str) -> None:
        self._recorder.note("front", "in", close_object(envelope.members))
        await self._relay.notify(envelope, version)

    async def open_session(
        self, envelope: Envelope, strays: Strays, headers: Mapping[str, str] | None = None
    ) -> tuple[Session, bytes]:
        call, number = next(self._recorder.calls), next(self._recorder.sessions)
        to = _Strays(strays, self._recorder, number)
        where = {"call": call, "session": number}
        self._recorder.note("front", "in", close_object(envelope.members), **where)
        try:
            session, answer = await self._relay.open_session(envelope, to, headers)
        except Fault as fault:
            self._recorder.note("front", "out", error_message(envelope.id, fault.code, fault.why, fault.data), **where)
            raise
        self._recorder.note("front", "out", answer, **where)
        return _Session(session, self._recorder, number), answer

    async def end_session(self, session: Session) -> None:
        await self._relay.end_session(session.session if isinstance(session, _Session) else session)

    def stray(self, envelope: Envelope, to: Callable[[Envelope], None]) -> None:
        """Note what a modern back says outside any call, too."""
        self._recorder.note("front", "out", close_object(envelope.members))
        to(envelope)


class _Listener:
    """Who hears a channel, preceded by the recorder."""

    def __init__(self, listener: Listener, recorder: Recorder, session: int) -> None:
        self._listener = listener
        self._recorder = recorder
        self._session = session

    def received(self, envelope: Envelope) -> None:
        self._recorder.note("back", "in", close_object(envelope.members), session=self._session)
        self._listener.received(envelope)

    def received_batch(self, batch: Batch) -> None:
        for item in batch.items:
            self._recorder.note("back", "in", item, session=self._session)
        self._listener.received_batch(batch)

    def lost(self, why: str) -> None:
        self._listener.lost(why)


class _Channel:
    """A channel whose messages are noted."""

    def __init__(self, channel: Channel, recorder: Recorder, session: int) -> None:
        self._channel = channel
        self._recorder = recorder
        self._session = session

    @property
    def is_alive(self) -> bool:
        return self._channel.is_alive

    def write(self, message: bytes) -> None:
        self._channel.write(message)
        self._recorder.note("back", "out", message, session=self._session)

    async def stop(self) -> None:
        await self._channel.stop()


def recorded_connect(connect: Connect, recorder: Recorder) -> Connect:
    """Opens channels whose messages are noted."""

    async def opened(listener: Listener) -> Channel:
        session = next(recorder.sessions)
        return _Channel(await connect(_Listener(listener, recorder, session)), recorder, session)

    return opened


class _Stream:
    """A stream of events whose messages are noted."""

    def __init__(self, stream: EventStream, recorder: Recorder, call: int) -> None:
        self._stream = stream
        self._recorder = recorder
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def events(self) -> list[Event]:
        events = await self._stream.events()
        for event in events:
            if not isinstance(parse(event.data), Malformed):
                self._recorder.note("back", "in", event.data, call=self._call)
        return events


class _Client:
    """An HTTP client whose exchanges are noted, each under a number of its own; all go the long way."""

    def __init__(self, client: HttpClient, recorder: Recorder) -> None:
        self._client = client
        self._recorder = recorder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def has_idle(self) -> bool:
        return False

    def start(self, extra: bytes, body: bytes, waiter: Any) -> None:
        return None

    async def request(self, verb: str, extra: bytes, body: bytes = b"", **how: Any) -> Response:
        call = next(self._recorder.calls)
        lines = (line.partition(": ") for line in extra.decode("latin-1").split("\r\n") if line)
        headers = self._recorder.headers((name, value) for name, _, value in lines)
        self._recorder.note("back", "out", body or None, call=call, http={"verb": verb, "headers": headers})
        response = await self._client.request(verb, extra, body, **how)
        http = {"status": response.status, "headers": self._recorder.headers(response.headers)}
        is_message = response.body and not isinstance(parse(response.body), Malformed)
        self._recorder.note("back", "in", response.body if is_message else None, call=call, http=http)
        if response.stream is None:
            return response
        noted = Response(response.status, response.headers)  # the connection goes on filling the stream of its own
        noted.stream = cast(EventStream, _Stream(response.stream, self._recorder, call))
        return noted


def recorded_client(client: HttpClient, recorder: Recorder) -> HttpClient:
    """A client whose exchanges are noted."""
    return cast(HttpClient, _Client(client, recorder))


def record(gateway: Gateway, recorder: Recorder) -> RecordedRelay:
    """Have both legs of a gateway noted: give the relay to the front, instead of the gateway."""
    gateway.back.tap(
        lambda client: recorded_client(client, recorder), lambda connect: recorded_connect(connect, recorder)
    )
    return RecordedRelay(gateway, recorder)
