"""The straight path of the modern era: one coroutine a request, no session, nothing shared but the connections.

What changes on the way is `id`, hop-by-hop `_meta` (`serverInfo`; on a shared process `progressToken`; on listening
streams `subscriptionId`, which is the request's id) and the headers that mirror the body. All else passes.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus import limits
from isthmus.errors import CallExpired, Fault, FrontFault, fault_of
from isthmus.protocol import edits, param_headers
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import (
    HEADER_MISMATCH,
    PROGRESS,
    PROGRESS_KEY,
    SERVER_INFO_KEY,
    STATUS_OF_CODE,
    SUBSCRIPTION_KEY,
)
from isthmus.transports.http_back import error_code, post_modern
from isthmus.types import Call, Port
from isthmus.wire.codec import close_object, decode, one_line
from isthmus.wire.envelope import INVALID_PARAMS, Envelope, error_message, result_message
from isthmus.wire.headers import Headers, mirrored_lines

if TYPE_CHECKING:
    from isthmus.engine.back import Back

_log: Final = logging.getLogger("isthmus.engine")


class ModernCall(Call):
    """One modern request between its client and the back."""

    __slots__ = ("_port", "_token", "back", "front_id", "is_answered", "mismatched", "remakes_headers")

    def __init__(self, back: "Back", request: ModernRequest, port: Port) -> None:
        super().__init__(back.ids.mint(), request.row)
        self.back = back
        self._port = port
        self.front_id: bytes = request.envelope.id or b"null"
        self._token = request.meta.get(PROGRESS_KEY)
        self.is_answered = False
        self.remakes_headers = False
        self.mismatched = False

    def streamed(self) -> None:
        self._port.stream()

    def notified(self, envelope: Envelope) -> None:
        if not self.row.is_endless:
            self.extend(self.back.limits.call)
        if envelope.method == PROGRESS and self._token is not None:
            edits.set_param(envelope, PROGRESS_KEY, bytes(self._token))
        elif self.row.is_endless:
            self._readdress(envelope)
        self._port.notify(one_line(close_object(envelope.members)))

    def asked(self, envelope: Envelope) -> None:
        """ "The server MUST NOT send independent JSON-RPC requests on this stream": dropped."""
        _log.warning("%s, a modern server, sent a request of its own; it was dropped.", self.back.name)

    def answered(self, envelope: Envelope, status: int) -> None:
        if self.is_answered:
            return
        self.back.has_answered = True
        if "error" in envelope.members:
            code = error_code(envelope)
            if code == HEADER_MISMATCH and self.remakes_headers:
                self.mismatched = True
                return
            status = STATUS_OF_CODE.get(code or 0, status if status >= 400 else 200)
            message = edits.with_id(envelope, self.front_id)
        else:
            message = self._own(envelope)
        self.is_answered = True
        self._port.answer(one_line(message), status)

    def fail(self, fault: Fault) -> None:
        """Answer with a fault of ours, unless the call is answered."""
        if not self.is_answered:
            self.is_answered = True
            self._port.answer(error_message(self.front_id, fault.code, fault.why, fault.data), fault.status)

    def expired(self, began: float) -> None:
        """The deadline has passed: say so."""
        waited = self.back.deadlines.now() - began
        fault = CallExpired(
            f"{self.back.name} did not answer {self.row.name} within {waited:.0f} s; the call was cancelled. "
            "Raise --timeout if it needs longer."
        )
        self.back.expired(fault)
        self.fail(fault)

    def end(self) -> None:
        """Answer a listening request as a server does that ends the subscription."""
        if not self.is_answered:
            self.is_answered = True
            meta: dict[str, Raw] = {SUBSCRIPTION_KEY: Raw(self.front_id)}
            if self.back.server_info is not None:
                meta[SERVER_INFO_KEY] = self.back.server_info.raw
            self._port.answer(result_message(self.front_id, {"resultType": "complete", "_meta": meta}), 200)

    async def drain(self) -> None:
        await self._port.drain()

    def _own(self, envelope: Envelope) -> bytes:
        """A result with its edits."""
        if self.row.name == "tools/list":
            self.back.learn_tools(envelope)
        if self.row.is_endless:
            edits.set_subscription(envelope, self.front_id)
        if self.back.server_info is None:
            return edits.with_id(envelope, self.front_id)
        return edits.with_server_info(envelope, self.front_id, self.back.server_info)

    def _readdress(self, envelope: Envelope) -> None:
        if envelope.method == "notifications/cancelled":
            edits.set_param(envelope, "requestId", self.front_id)
        else:
            edits.set_subscription(envelope, self.front_id)


async def relay(
    back: "Back",
    request: ModernRequest,
    port: Port,
    headers: Mapping[str, str] | None,
    task: asyncio.Task[None] | None,
) -> None:
    """Take one modern request to the back and its answer to `port`. Cancelling cancels it at the back.

    Args: see `types.Relay.relay`.
    """
    call = ModernCall(back, request, port)
    call.task = task or asyncio.current_task()
    now = back.deadlines.now()
    endless = request.row.is_endless
    call.expires = now + (limits.LISTEN if endless else back.limits.call_most)
    back.deadlines.watch(call, call.expires if endless else now + back.limits.call)
    await settle(back, call, send(back, call, request, headers))


async def settle(back: "Back", call: ModernCall, work: Coroutine[Any, Any, None]) -> None:
    """Do the work of a call that is under a deadline; whatever comes of it, the call is answered."""
    began = back.deadlines.now()
    try:
        await work
    except asyncio.CancelledError:
        if not call.is_expired or call.task is None or call.task.uncancel() > 0:
            raise
        if call.row.is_endless:
            call.end()
        else:
            call.expired(began)
    except Fault as fault:
        back.failed(fault)
        call.fail(fault)
    except Exception as error:
        call.fail(fault_of(error))
    finally:
        back.deadlines.forget(call)
    if not call.is_answered:
        call.fail(Fault(f"{back.name} gave no answer to {call.row.name}. Try again."))


async def send(back: "Back", call: ModernCall, request: ModernRequest, headers: Mapping[str, str] | None) -> None:
    client = back.client
    if client is not None:
        if back.is_modern is not True:
            await back.need_modern(request)
        if request.covered and not back.has_listed:
            await back.try_tools(request)
    if headers is not None and request.row.name == "tools/call":
        _check_params(back, request, headers)
    if client is None:
        await back.channels().call(call, request, back.probe_of(request))
        return
    kept = None if request.covered else headers
    call.remakes_headers = kept is None and request.row.name == "tools/call"
    await post_modern(client, back.name, call, request.write(call.id), header_lines(back, request, kept))
    if call.mismatched:
        # "the client SHOULD call `tools/list` to check for changes to the tool's `inputSchema`, then retry"
        await back.fetch_tools(request)
        call.remakes_headers = False
        if headers is not None:
            _check_params(back, request, headers)
        await post_modern(client, back.name, call, request.write(call.id), header_lines(back, request, kept))


def header_lines(back: "Back", request: ModernRequest, headers: Mapping[str, str] | None) -> bytes:
    """The header lines that mirror the body. The values were checked against it or are made from it.

    Args:
        headers: the client's, which mirror all of it; None where they don't, or there are none.
    """
    lines = mirrored_lines(request.version, request.row.name, request.name) + request.forwarded
    if headers is not None:
        return lines + _relayed(headers, request)
    if request.row.name == "tools/call" and request.name in back.mirrored:
        made = param_headers.mirror(back.mirrored[request.name], _arguments(request))
        for name, value in made.items():
            lines += name.encode("ascii") + b": " + value.encode("ascii") + b"\r\n"
    return lines


def _relayed(headers: Mapping[str, str], request: ModernRequest) -> bytes:
    """The client's own header lines that go on: `Mcp-Param-*`, and an `Mcp-Name` that mirrors nothing we know."""
    if type(headers) is Headers and headers.relayed is not None:
        return headers.relayed
    lines = b""
    for name, value in headers.items():
        if name.startswith("mcp-param-") or (name == "mcp-name" and request.row.routed is None):
            lines += name.encode("ascii") + b": " + value.encode("latin-1") + b"\r\n"
    if type(headers) is Headers:
        headers.relayed = lines
    return lines


def _check_params(back: "Back", request: ModernRequest, headers: Mapping[str, str]) -> None:
    """Judge the client's headers by those arguments that are its own.

    Raises:
        Fault: they don't mirror them.
    """
    mirrored = back.mirrored.get(request.name or "", ())
    known = tuple(each for each in mirrored if each.path[0] not in request.covered)
    if known:
        why = param_headers.mismatch(known, _arguments(request), headers)
        if why is not None:
            raise Fault(why, code=HEADER_MISMATCH, status=400)


def _arguments(request: ModernRequest) -> object:
    raw = request.params.get("arguments")
    try:
        return decode(raw) if raw is not None else None
    except RecursionError:
        raise FrontFault("The arguments nest too deeply.", code=INVALID_PARAMS) from None
