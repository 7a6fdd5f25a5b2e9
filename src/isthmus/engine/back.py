"""One back and all that is known of it: how it is reached, which eras it speaks, which tools mirror parameters."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from msgspec import Raw

from isthmus.engine.deadlines import Deadlines
from isthmus.engine.settings import Settings
from isthmus.engine.tasks import Tasks
from isthmus.errors import BackFault, BackRefused, BackUnavailable, CallExpired, Fault, WrongEra
from isthmus.limits import LIST_PAGES, LISTING, MIRRORED_TOOLS, PROBE
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.forwarding import forwarded_lines
from isthmus.protocol.judge import ModernRequest, make_modern
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import CAPABILITIES_KEY, CLIENT_INFO_KEY, MODERN_CODES, VERSION_KEY
from isthmus.protocol.versions import MODERN
from isthmus.transports import sse_back
from isthmus.transports.channel import Channel, Connect, Listener
from isthmus.transports.channel_back import ChannelSession, ModernChannels, Opener
from isthmus.transports.http_back import HttpSession, error_code, post_modern, probe_http
from isthmus.transports.http_client import HttpClient
from isthmus.transports.launch import Launch
from isthmus.transports.process import Process
from isthmus.transports.session import BackSession, SessionOwner
from isthmus.transports.target import ChannelTarget, HttpTarget, Target
from isthmus.transports.watchdog import Watchdog
from isthmus.types import Collect
from isthmus.version import __version__
from isthmus.wire.codec import close_object, decode, open_object, parse_own, string
from isthmus.wire.envelope import INTERNAL_ERROR, METHOD_NOT_FOUND, Envelope, request_message
from isthmus.wire.headers import mirrored_lines

if TYPE_CHECKING:
    from isthmus.protocol.param_headers import Mirrored

_log: Final = logging.getLogger("isthmus.engine")


class Back:
    """One back.

    Args:
        target: where it is.
        settings: how the proxy stands before it.
        stray: where a modern channel's messages go that belong to no call, if there is one client only.
        died: called with the sentence when the back fails before it has ever answered.
    """

    def __init__(
        self,
        target: Target,
        settings: Settings,
        *,
        stray: Callable[[Envelope], None] | None = None,
        died: Callable[[str], None] | None = None,
    ) -> None:
        self.limits = settings.limits
        self.name = target.name
        self.tasks = Tasks()
        self.deadlines = Deadlines(asyncio.get_running_loop())
        self.ids: Correlator[None] = Correlator()
        self.server_info = None if settings.keeps_identity else edits.server_info(settings.name)
        self.mirrored: dict[str, tuple[Mirrored, ...]] = {}
        self.has_listed = False
        """Whether a list of its tools was seen, or was asked for and will not come."""
        self.client: HttpClient | None = None
        self.has_answered = False
        self.opening = 0
        """Legacy sessions that are being opened."""
        self.on_fault: Callable[[Fault], object] | None = None
        """Called with what a request failed with."""
        self.on_change: Callable[[str | None], object] | None = None
        """Called when a legacy session says that its list of a kind changed; with None when one that said so ends."""
        self._died = died
        self._watchdog = Watchdog()
        self._opener: Opener | None = None
        self._channels: ModernChannels | None = None
        self.is_modern: bool | None = None
        self.is_legacy: bool | None = None
        self.is_local = settings.is_local
        """Whether clients without a token are all the user of this machine."""
        self.is_sse = False
        """Whether the back is known to have only HTTP+SSE."""
        self._may_be_sse = False
        self.forwards = isinstance(target, HttpTarget) and settings.forward_headers != ()
        """Whether headers of clients go on to the back."""
        self._forwarded_names = settings.forward_headers
        self._own_names = {name.lower() for name, _ in target.headers} if isinstance(target, HttpTarget) else set()
        self._probing = asyncio.Lock()
        self._listing = asyncio.Lock()
        self._discovered: tuple[float, bytes] | None = None
        if isinstance(target, HttpTarget):
            self.client = HttpClient(target.url, name=target.name, headers=target.headers, limits=self.limits)
            self._opener = Opener(target.name, self._open_stream)
            self._may_be_sse = target.kind != "http"
            if target.kind == "sse":
                self.is_sse, self.is_modern = True, False
        else:
            self._opener = Opener(target.name, self._connect_to(target))
            self._channels = ModernChannels(self._opener, stray, self.tasks.start)

    def _connect_to(self, target: Launch | ChannelTarget) -> Connect:
        if isinstance(target, ChannelTarget):
            return target.connect
        return lambda listener: Process.start(target, self.limits, self._watchdog, listener)

    async def _open_stream(self, listener: Listener, forwarded: bytes = b"") -> Channel:
        """An HTTP+SSE stream of the back; that it has one is remembered."""
        assert self.client is not None
        channel = await sse_back.connect(self.client, self.name, self.limits, listener, self.tasks.start, forwarded)
        self.is_sse, self.is_modern = True, False
        return channel

    def tap(self, client: Callable[[HttpClient], HttpClient], connect: Callable[[Connect], Connect]) -> None:
        """Have all that is said to the back and by it pass through others; before the first request."""
        if self.client is not None:
            self.client = client(self.client)
        elif self._opener is not None:
            self._opener.connect = connect(self._opener.connect)

    def forwarded(self, headers: Mapping[str, str] | None) -> bytes:
        """The lines of a client's headers that go on to the back; none where its transport has no headers."""
        if headers is None or not self.forwards:
            return b""
        return forwarded_lines(headers, self._forwarded_names, self._own_names)

    def changed(self, kind: str | None) -> None:
        """What a legacy session lists may be other than before."""
        if self.on_change is not None:
            self.on_change(kind)

    def failed(self, fault: Fault) -> None:
        """A request failed; where the back has never answered it is not there at all."""
        is_dead = isinstance(fault, BackUnavailable | BackFault) and not isinstance(fault, WrongEra)
        is_strange = self.forwards and isinstance(fault, BackRefused)  # a client's credentials, not its absence
        is_absent = is_dead and not self.has_answered and not is_strange
        if self.on_fault is not None:
            self.on_fault(BackUnavailable(fault.why) if is_absent else fault)
        if is_absent and self._died is not None:
            self._died(fault.why)

    def expired(self, fault: CallExpired) -> None:
        """A request got no answer in its time. What one process says tells nothing of another."""
        if self.client is not None:
            self.failed(fault)

    def doubt(self) -> None:
        """Whether it is there, it is to say itself from now on, and not what is kept of it."""
        self._discovered = None

    @property
    def is_opening(self) -> bool:
        """Whether a process has been started and has not said yet what it is."""
        is_channel_opening = self._channels is not None and self._channels.is_opening
        return self.client is None and (self.opening > 0 or is_channel_opening)

    async def end_channels(self) -> None:
        """End every channel; none is opened any more."""
        if self._opener is not None:
            await self._opener.close()

    async def close(self) -> None:
        """End the tasks and what is left of channels and connections."""
        await self.tasks.close()
        self.deadlines.close()
        await self.end_channels()
        if self.client is not None:
            await self.client.close()
        await self._watchdog.close()

    def channels(self) -> ModernChannels:
        """The modern face of a back that is spoken to on channels."""
        assert self._channels is not None
        return self._channels

    @property
    def speaks_modern(self) -> bool | None:
        """Whether the back is modern; None while that isn't known."""
        return self.is_modern if self.client is not None else self.channels().is_modern

    async def is_spoken(self, request: ModernRequest) -> bool:
        """Whether the back speaks the era of a modern request; found out if it isn't known.

        Raises:
            BackUnavailable, BackFault: it can't be asked.
        """
        if self.client is None:
            return await self.channels().is_spoken(*self.probe_of(request)())
        with suppress(WrongEra):
            await self.need_modern(request)
        return self.is_modern is True

    async def need_modern(self, request: ModernRequest) -> None:
        """Make sure that a back on HTTP speaks the modern era; asked once.

        Raises:
            WrongEra: it is legacy.
            BackUnavailable, BackFault: it can't be asked.
        """
        if self.is_modern is None and self.client is not None:
            async with self._probing:
                if self.is_modern is None:
                    call, text = self._discover(_client_meta(request))
                    lines = mirrored_lines(request.version, "server/discover") + request.forwarded
                    self.is_modern = await probe_http(self.client, self.name, call, text, lines)
        if self.is_modern is False:
            raise WrongEra(f"{self.name} speaks only revisions before 2026-07-28. Open it with initialize.")

    def probe_of(self, request: ModernRequest) -> Callable[[], tuple[Collect, bytes]]:
        """A `server/discover` in the name of the client that sent `request`."""
        return lambda: self._discover(_client_meta(request))

    def learn_tools(self, envelope: Envelope) -> None:
        """Note which tools of a list mirror parameters; a tool whose annotation is invalid leaves the list."""
        self.has_listed = True
        mirrored, invalid = edits.read_tools(envelope, self.mirrored)
        for tool, parameters in mirrored.items():
            self.mirrored.pop(tool, None)
            if parameters:
                self.mirrored[tool] = parameters
        for tool in list(self.mirrored)[: max(0, len(self.mirrored) - MIRRORED_TOOLS)]:
            del self.mirrored[tool]
        for tool, why in invalid.items():
            _log.warning("%s: the tool %r was left out of the list: %s.", self.name, tool, why)

    async def try_tools(self, request: ModernRequest) -> None:
        """Fetch the tools if no list of them was seen; a call goes on without what doesn't come.

        A call whose arguments are not all its client's own needs it: the client's headers don't mirror them.
        """
        async with self._listing:
            if self.has_listed:
                return
            try:
                async with asyncio.timeout(min(LISTING, self.limits.call / 2)):
                    await self.fetch_tools(request)
            except (BackUnavailable, BackRefused) as fault:  # which may pass, or be this client's alone
                _log.info("The tools of %s could not be asked for: %s", self.name, fault)
                return
            except TimeoutError:
                _log.info("%s did not list its tools in time.", self.name)
            except Fault as fault:
                _log.info("%s did not list its tools: %s", self.name, fault)
            self.has_listed = True

    async def fetch_tools(self, request: ModernRequest) -> None:
        """Learn the tools' mirrored parameters from the back itself."""
        cursor: str | None = None
        for _ in range(LIST_PAGES):
            call = Collect(self.ids.mint(), row_of("tools/list"))
            params = {"_meta": _client_meta(request)} | ({"cursor": cursor} if cursor is not None else {})
            text = request_message(str(call.id).encode(), "tools/list", params)
            assert self.client is not None
            lines = mirrored_lines(request.version, "tools/list") + request.forwarded
            await post_modern(self.client, self.name, call, text, lines)
            if call.answer is None or "result" not in call.answer.members:
                return
            self.learn_tools(call.answer)
            result = open_object(call.answer.members["result"])
            cursor = string(result.get("nextCursor")) if result is not None else None
            if cursor is None:
                return

    async def discover(self, meta: dict[str, Raw], forwarded: bytes = b"") -> Envelope:
        """The back's answer to `server/discover`; a public one is good for everybody as long as the back says.

        Args:
            meta: the `_meta` of the request.
            forwarded: lines of the client's headers.

        Raises:
            WrongEra: the back is legacy.
            BackUnavailable, BackFault: it can't be asked.
        """
        if self._discovered is not None and self.deadlines.now() < self._discovered[0]:
            return parse_own(self._discovered[1])
        request = make_modern("server/discover", meta)
        request.forwarded = forwarded
        call = Collect(self.ids.mint(), request.row)
        async with asyncio.timeout(self.limits.call):
            if self.client is None:
                await self.channels().call(call, request, self.probe_of(request))
            else:
                await self.need_modern(request)
                lines = mirrored_lines(request.version, "server/discover") + forwarded
                await post_modern(self.client, self.name, call, request.write(call.id), lines)
        if call.answer is None:
            raise BackFault(f"{self.name} gave no answer to server/discover. Try again.")
        self.has_answered = True
        fresh = edits.public_for(call.answer)
        if fresh > 0:
            self._discovered = self.deadlines.now() + fresh, close_object(call.answer.members)
        return call.answer

    def _discover(self, meta: dict[str, Any]) -> tuple[Collect, bytes]:
        call = Collect(self.ids.mint(), row_of("server/discover"))
        return call, request_message(str(call.id).encode(), "server/discover", {"_meta": meta})

    def new_session(self, owner: SessionOwner, forwarded: bytes) -> BackSession:
        """A session with the back, not yet opened; `forwarded`: lines of its client's headers for every request."""
        if self.client is not None and not self.is_sse:
            return HttpSession(self.client, self.name, owner, self.tasks.start, forwarded)
        assert self._opener is not None
        return ChannelSession(self._opener, owner, self._connect_with(forwarded))

    def older_session(self, owner: SessionOwner, forwarded: bytes) -> BackSession | None:
        """A session over HTTP+SSE, not yet opened; None where the target is said to be something else."""
        if not self._may_be_sse or self._opener is None:
            return None
        return ChannelSession(self._opener, owner, self._connect_with(forwarded))

    def _connect_with(self, forwarded: bytes) -> Connect | None:
        """What opens a channel for a client whose headers go on; None where that is the usual way."""
        return partial(self._open_stream, forwarded=forwarded) if forwarded else None

    async def refused_initialize(self, answer: Envelope | None, forwarded: bytes) -> Fault:
        """What to tell a legacy client whose `initialize` the back refused; `forwarded`: lines of its headers."""
        if answer is None:
            return BackUnavailable(f"{self.name} did not answer initialize. Is it an MCP server?")
        self.has_answered = True
        try:
            error = decode(answer.members["error"])
        except RecursionError:
            error = None
        said = error.get("message") if isinstance(error, dict) else None
        if await self._is_only_modern(error_code(answer), forwarded):
            return WrongEra(
                f"{self.name} speaks only 2026-07-28 and later, not initialize. It says: {said}", data=error
            )
        code, data = error_code(answer), error.get("data") if isinstance(error, dict) else None
        return BackFault(f"{said}", code=code or INTERNAL_ERROR, data=data)

    async def _is_only_modern(self, code: int | None, forwarded: bytes) -> bool:
        """Whether the back that refused `initialize` with `code` is modern; it may have judged by the modern rules."""
        if code in MODERN_CODES or code == METHOD_NOT_FOUND:
            return True
        if self.is_sse:
            return False
        call, text = self._discover(own_meta("isthmus"))
        try:
            async with asyncio.timeout(PROBE):
                if self.client is None:
                    return await self.channels().is_spoken(call, text)
                lines = mirrored_lines(MODERN[-1], "server/discover") + forwarded
                return await probe_http(self.client, self.name, call, text, lines)
        except (Fault, TimeoutError):
            return False


def _client_meta(request: ModernRequest) -> dict[str, Raw]:
    """What a request of the proxy's own says in the name of a client."""
    keys = (VERSION_KEY, CLIENT_INFO_KEY, CAPABILITIES_KEY)
    return {key: Raw(bytes(request.meta[key])) for key in keys if key in request.meta}


def own_meta(name: str) -> dict[str, Any]:
    """The `_meta` of a request that the proxy makes in its own name."""
    return {
        VERSION_KEY: MODERN[-1],
        CLIENT_INFO_KEY: {"name": name, "version": __version__},
        CAPABILITIES_KEY: {},
    }
