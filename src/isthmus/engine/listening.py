"""What a legacy client hears of a modern back outside its calls: one `subscriptions/listen` at a time.

A modern back sends changes only on a stream that asks for them by name. When what is asked for changes, the new stream
is opened before the old one is closed, so that nothing falls between; a stream that ends is opened again.
"""

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.errors import Fault
from isthmus.protocol import edits
from isthmus.protocol.judge import ModernRequest, make_modern
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import ACKNOWLEDGED
from isthmus.transports.http_back import post_modern
from isthmus.types import Call, Strays
from isthmus.wire.codec import close_object, decode, encode, one_line
from isthmus.wire.envelope import INVALID_PARAMS, Envelope
from isthmus.wire.headers import mirrored_lines

if TYPE_CHECKING:
    from isthmus.engine.back import Back

_log: Final = logging.getLogger("isthmus.engine")
_CHANGES: Final = {"tools": "toolsListChanged", "prompts": "promptsListChanged", "resources": "resourcesListChanged"}


class _ListenCall(Call):
    """One `subscriptions/listen` of the proxy's own."""

    __slots__ = ("_strays", "acknowledged")

    def __init__(self, id: int, strays: Strays) -> None:
        super().__init__(id, row_of("subscriptions/listen"))
        self._strays = strays
        self.acknowledged: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def streamed(self) -> None:
        """Of course it is a stream."""

    def notified(self, envelope: Envelope) -> None:
        if envelope.method != ACKNOWLEDGED:
            edits.drop_subscription(envelope)
            self._strays.notify(one_line(close_object(envelope.members)))
        elif not self.acknowledged.done():
            raw = edits.param(envelope, "notifications")
            self.acknowledged.set_result(decode(raw) if raw is not None else {})

    def asked(self, envelope: Envelope) -> None:
        """A modern server may not ask."""

    def answered(self, envelope: Envelope, status: int) -> None:
        """The back ends the stream in good order, or refuses it."""

    async def drain(self) -> None:
        await self._strays.drain()


class Listening:
    """The changes that one legacy client hears of.

    Args:
        back: the back.
        meta: the `_meta` of the client's requests.
        strays: where the changes go.
        offers: the back's capabilities.
        forwarded: lines of the client's headers.
    """

    def __init__(self, back: "Back", meta: dict[str, Raw], strays: Strays, offers: Any, forwarded: bytes) -> None:
        self._back = back
        self._forwarded = forwarded
        self._meta = meta
        self._strays = strays
        self._uris: list[str] = []
        self._changes = [name for kind, name in _CHANGES.items() if _announces(offers, kind)]
        self._task: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._is_closed = False

    def begin(self) -> None:
        """The client is initialized: listen as soon as it reads what belongs to no call."""
        if self._strays.is_open:
            self._begin()
        else:
            self._strays.opened = self._begin

    def _begin(self) -> None:
        if self._changes and self._task is None and not self._is_closed and not self._changing.locked():
            self._task = self._back.tasks.start(self._listen(None))

    async def subscribe(self, uri: str) -> None:
        """Hear of updates of a resource, from when this returns.

        Raises:
            Fault: the back does not grant it, or can't be reached.
        """
        async with self._changing:
            if uri not in self._uris:
                self._uris.append(uri)
                try:
                    await self._renew(uri)
                except BaseException:
                    self._uris.remove(uri)
                    raise

    async def unsubscribe(self, uri: str) -> None:
        """Hear of them no more."""
        async with self._changing:
            if uri in self._uris:
                self._uris.remove(uri)
                await self._renew(None)

    def close(self) -> None:
        """The client is gone."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()

    async def _renew(self, uri: str | None) -> None:
        """Open a stream for what is wanted now, then close the one before."""
        old, self._task = self._task, None
        granted: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self._uris or self._changes:
            task = self._back.tasks.start(self._listen(granted))
            try:
                answer = await granted
                uris = answer.get("resourceSubscriptions") if isinstance(answer, dict) else None
                if uri is not None and uri not in (uris or []):
                    raise Fault(f"{self._back.name} does not offer updates of {uri}.", code=INVALID_PARAMS)
            except BaseException:
                task.cancel()
                self._task = old
                raise
            self._task = task
        if old is not None:
            old.cancel()

    async def _listen(self, granted: "asyncio.Future[Any] | None") -> None:
        """Listen until cancelled; `granted` gets what the first stream was acknowledged with, or the fault."""
        wait = limits.RETRY_GET
        while True:
            fault = Fault(f"{self._back.name} ended the stream of changes before it had begun.", code=INVALID_PARAMS)
            call = _ListenCall(self._back.ids.mint(), self._strays)
            if granted is not None:
                call.acknowledged.add_done_callback(partial(_pass_on, granted))
            try:
                async with asyncio.timeout(limits.LISTEN):
                    await self._send(call, self._request())
            except Fault as error:
                fault = error
            except TimeoutError:
                pass
            if granted is not None and not granted.done():
                granted.set_exception(fault)
                return
            granted = None
            wait = limits.RETRY_GET if call.acknowledged.done() else min(2 * wait, limits.RETRY_MOST)
            await asyncio.sleep(wait)

    async def _send(self, call: _ListenCall, request: ModernRequest) -> None:
        back = self._back
        if back.client is None:
            await back.channels().call(call, request, back.probe_of(request))
        else:
            extra = mirrored_lines(request.version, request.row.name) + self._forwarded
            await post_modern(back.client, back.name, call, request.write(call.id), extra)

    def _request(self) -> ModernRequest:
        wanted: dict[str, Any] = dict.fromkeys(self._changes, True)
        if self._uris:
            wanted["resourceSubscriptions"] = list(self._uris)
        return make_modern("subscriptions/listen", self._meta, {"notifications": Raw(encode(wanted))})


def _announces(offers: Any, kind: str) -> bool:
    offered = offers.get(kind) if isinstance(offers, dict) else None
    return isinstance(offered, dict) and offered.get("listChanged") is True


def _pass_on(to: "asyncio.Future[Any]", done: "asyncio.Future[Any]") -> None:
    if not to.done() and not done.cancelled():
        to.set_result(done.result())
