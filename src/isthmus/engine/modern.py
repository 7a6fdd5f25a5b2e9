"""The straight path of the modern era: one coroutine a request, no session, nothing shared but the connections.

What changes on the way is `id`, hop-by-hop `_meta` (`serverInfo`; on a shared process `progressToken`; on listening
streams `subscriptionId`, which is the request's id) and the headers that mirror the body. All else passes.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final


from isthmus import limits
from isthmus.errors import Fault
from isthmus.protocol import edits, param_headers
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import HEADER_MISMATCH, PROGRESS, PROGRESS_KEY, STATUS_OF_CODE
from isthmus.transports.http_back import error_code, post_modern
from isthmus.types import Call, Port
from isthmus.wire.codec import close_object, decode, one_line
from isthmus.wire.envelope import Envelope, error_message
from isthmus.wire.headers import encode_value

if TYPE_CHECKING:
    from isthmus.engine.gateway import Gateway

_log: Final = logging.getLogger("isthmus.engine")


class ModernCall(Call):
    """One modern request between its client and the back."""

    __slots__ = ("_front_id", "_gateway", "_port", "_token", "is_answered", "mismatched", "remakes_headers")

    def __init__(self, gateway: "Gateway", request: ModernRequest, port: Port) -> None:
        super().__init__(gateway.ids.mint(), request.row)
        self._gateway = gateway
        self._port = port
        self._front_id: bytes = request.envelope.id or b"null"
        self._token = request.meta.get(PROGRESS_KEY)
        self.is_answered = False
        self.remakes_headers = False
        self.mismatched = False

    def notified(self, envelope: Envelope) -> None:
        self.extend(self._gateway.limits.call)
        if envelope.method == PROGRESS and self._token is not None:
            edits.set_param(envelope, PROGRESS_KEY, bytes(self._token))
        elif self.row.is_endless:
            self._readdress(envelope)
        self._port.notify(one_line(close_object(envelope.members)))

    def asked(self, envelope: Envelope) -> None:
        """ "The server MUST NOT send independent JSON-RPC requests on this stream": dropped."""
        _log.warning("%s, a modern server, sent a request of its own; it was dropped.", self._gateway.name)

    def answered(self, envelope: Envelope, status: int) -> None:
        if self.is_answered:
            return
        self._gateway.has_answered = True
        if "error" in envelope.members:
            code = error_code(envelope)
            if code == HEADER_MISMATCH and self.remakes_headers:
                self.mismatched = True
                return
            status = STATUS_OF_CODE.get(code or 0, status if status >= 400 else 200)
        else:
            self._own(envelope)
        self.is_answered = True
        self._port.answer(one_line(edits.with_id(envelope, self._front_id)), status)

    def fail(self, fault: Fault) -> None:
        """Answer with a fault of ours, unless the call is answered."""
        if not self.is_answered:
            self.is_answered = True
            self._port.answer(error_message(self._front_id, fault.code, fault.why, fault.data), fault.status)

    async def drain(self) -> None:
        await self._port.drain()

    def _own(self, envelope: Envelope) -> None:
        """The edits of a result."""
        if self.row.name == "tools/list":
            self._gateway.learn_tools(envelope)
        if self.row.is_endless:
            edits.set_subscription(envelope, self._front_id)
        if self._gateway.server_info is not None:
            edits.set_server_info(envelope, self._gateway.server_info)

    def _readdress(self, envelope: Envelope) -> None:
        if envelope.method == "notifications/cancelled":
            edits.set_param(envelope, "requestId", self._front_id)
        else:
            edits.set_subscription(envelope, self._front_id)


async def relay(gateway: "Gateway", request: ModernRequest, port: Port, headers: Mapping[str, str] | None) -> None:
    """Take one modern request to the back and its answer to `port`. Cancelling cancels it at the back.

    Args:
        gateway: the back.
        request: a request that was judged.
        port: the way back to the client.
        headers: the client's HTTP headers by lower-case name; None where its transport has none.
    """
    call = ModernCall(gateway, request, port)
    now = asyncio.get_running_loop().time()
    endless = request.row.is_endless
    call.expires = now + (limits.LISTEN if endless else gateway.limits.call_most)
    try:
        async with asyncio.timeout_at(call.expires if endless else now + gateway.limits.call) as call.timeout:
            await _send(gateway, call, request, headers)
    except TimeoutError:
        call.fail(Fault(_expired(gateway, request, now)))
    except Fault as fault:
        gateway.failed(fault)
        call.fail(fault)
    if not call.is_answered:
        call.fail(Fault(f"{gateway.name} gave no answer to {request.row.name}. Try again."))


async def _send(
    gateway: "Gateway", call: ModernCall, request: ModernRequest, headers: Mapping[str, str] | None
) -> None:
    if headers is not None and request.row.name == "tools/call":
        _check_params(gateway, request, headers)
    client = gateway.client
    if client is None:
        await gateway.stdio().call(call, request, gateway.probe_of(request))
        return
    await gateway.need_modern(request)
    call.remakes_headers = headers is None and request.row.name == "tools/call"
    extra = _mirrored(gateway, request, headers)
    await post_modern(client, gateway.name, call, request.write(call.id), extra)
    if call.mismatched:
        # "the client SHOULD call `tools/list` to check for changes to the tool's `inputSchema`, then retry"
        await gateway.fetch_tools(request)
        call.remakes_headers = False
        await post_modern(client, gateway.name, call, request.write(call.id), _mirrored(gateway, request, headers))


def _mirrored(gateway: "Gateway", request: ModernRequest, headers: Mapping[str, str] | None) -> bytes:
    """The header lines that mirror the body. The values were checked against it or are made from it."""
    lines = gateway.header_lines(request.version, request.row.name)
    if request.name is not None:
        lines += b"Mcp-Name: " + encode_value(request.name).encode("ascii") + b"\r\n"
    if headers is not None:
        for name, value in headers.items():
            if name.startswith("mcp-param-") or (name == "mcp-name" and request.row.routed is None):
                lines += name.encode("ascii") + b": " + value.encode("latin-1") + b"\r\n"
    elif request.row.name == "tools/call" and request.name in gateway.mirrored:
        made = param_headers.mirror(gateway.mirrored[request.name], _arguments(request))
        for name, value in made.items():
            lines += name.encode("ascii") + b": " + value.encode("ascii") + b"\r\n"
    return lines


def _check_params(gateway: "Gateway", request: ModernRequest, headers: Mapping[str, str]) -> None:
    known = gateway.mirrored.get(request.name or "")
    if known:
        why = param_headers.mismatch(known, _arguments(request), headers)
        if why is not None:
            raise Fault(why, code=HEADER_MISMATCH, status=400)


def _arguments(request: ModernRequest) -> object:
    raw = request.params.get("arguments")
    return decode(raw) if raw is not None else None


def _expired(gateway: "Gateway", request: ModernRequest, began: float) -> str:
    waited = asyncio.get_running_loop().time() - began
    return (
        f"{gateway.name} did not answer {request.row.name} within {waited:.0f} s; the call was cancelled. "
        "Raise --timeout if it needs longer."
    )
