"""A legacy session that modern clients lease: what was said at its opening, and who hears what belongs to no call."""

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from msgspec import Raw

from isthmus import limits
from isthmus.engine.legacy import LegacySession
from isthmus.errors import Fault
from isthmus.pool.policy import Bounds, Isolation, Key
from isthmus.pool.pool import Pool
from isthmus.protocol import edits
from isthmus.protocol.correlate import Correlator
from isthmus.protocol.crossings import modern_front
from isthmus.protocol.methods import row_of
from isthmus.protocol.names import INITIALIZED
from isthmus.types import Mute
from isthmus.wire.codec import close_object, open_object, parse, parse_own, string
from isthmus.wire.envelope import (
    METHOD_NOT_FOUND,
    Envelope,
    Kind,
    Members,
    error_message,
    notification_message,
    request_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from isthmus.engine.back import Back


_LISTED: Final = ("tools", "prompts", "resources")


class Opened(Mute):
    """An open session with a legacy back (`types.Strays` for what belongs to no call in it).

    `initialized` is the opened result of `initialize`; `level` the log level that the session was told.
    """

    def __init__(self, back: "Back", forwarded: bytes) -> None:
        self.mint = Correlator[None]().mint
        """The next id for a request in this session."""
        self._back = back
        self._forwarded = forwarded
        self.session = self._session()
        self.initialized: Members = {}
        self.level: str | None = None
        self.has_tasks = False
        """Whether the back knows tasks, so that a tool may need one."""
        self._task_tools: frozenset[str] | None = None
        self.listeners: list[Callable[[Envelope], None]] = []
        self._asked: deque[bytes] = deque(maxlen=limits.PENDING_STRAYS)
        self._watched: Counter[str] = Counter()
        self._watching = asyncio.Lock()

    async def open(self, params: bytes) -> None:
        """Open it.

        Args:
            params: of `initialize`, as JSON.

        Raises:
            Fault: it can't be opened.
        """
        answer = parse_own(await self.session.open(parse_own(request_message(b"0", "initialize", Raw(params)))))
        self.initialized = open_object(answer.members["result"]) or {}
        self.has_tasks = b'"tasks"' in bytes(self.initialized.get("capabilities", b""))
        bare = modern_front.without_urls(params, string(self.initialized.get("protocolVersion")))
        if bare is not None:
            await self.session.close()
            self.session = self._session()
            await self.open(bare)
            return
        await self.session.notify(parse_own(notification_message(INITIALIZED)))

    def _session(self) -> LegacySession:
        session = LegacySession(self._back, self, self._forwarded)
        session.on_lost, session.on_missed = self._lost, self._announce
        return session

    def _lost(self) -> None:
        """Who listens doesn't wait for the next call to open the session again."""
        if self.listeners:
            self._back.tasks.start(self._reopen())

    async def _reopen(self) -> None:
        wait = limits.RETRY_GET
        while self.listeners:
            try:
                async with asyncio.timeout(self._back.limits.call):
                    await self.session.reopen()
            except (Fault, TimeoutError):
                await asyncio.sleep(wait)
                wait = min(2 * wait, limits.RETRY_MOST)
            else:
                self._announce()
                return

    def _announce(self) -> None:
        """Nobody knows what changed meanwhile: each kind of change is announced once to those who listen for it."""
        said = [
            notification_message(f"notifications/{kind}/list_changed") for kind in ("tools", "prompts", "resources")
        ]
        said += [notification_message("notifications/resources/updated", {"uri": uri}) for uri in self._watched]
        for message in said:
            self.notify(message)

    async def ask(self, method: str, params: "dict[str, Any]") -> Envelope:
        """The back's answer to a request of the proxy's own."""
        box = Box()
        await self.session.request(parse_own(request_message(str(self.mint()).encode(), method, params)), box)
        return parse_own(box.message)

    async def list_all(self, request: Envelope) -> bytes:
        """The answer to a request for a list, all pages in one: a cursor lives only in the session that made it."""
        id, listed = request.id or b"null", row_of(request.method).listed or ""
        params = (open_object(request.members["params"]) if "params" in request.members else None) or {}
        items: list[bytes] = []
        result: Members | None = None
        for _ in range(limits.LIST_PAGES):
            answer = await self.ask(request.method, params)
            result = open_object(answer.members["result"]) if "result" in answer.members else None
            if result is None:
                return edits.with_id(answer, id)
            items += edits.items_of(result[listed]) if listed in result else []
            cursor = result.pop("nextCursor", None)
            if cursor is None:
                break
            params = params | {"cursor": cursor}
        whole = (result or {}) | {listed: Raw(b"[" + b",".join(items) + b"]")}
        answer.members["result"] = Raw(close_object(whole))
        return edits.with_id(answer, id)

    async def needs_task(self, tool: str | None) -> bool:
        """Whether a tool can only be called as a task (2025-11-25 basic/utilities/tasks, *Tool-Level Negotiation*)."""
        if not self.has_tasks:
            return False
        if self._task_tools is None:
            answer = parse_own(await self.list_all(parse_own(request_message(b"0", "tools/list", {}))))
            if "result" not in answer.members:
                return False
            result = open_object(answer.members["result"])
            items = edits.items_of(result["tools"]) if result is not None and "tools" in result else []
            self._task_tools = frozenset(filter(None, map(_required_task, items)))
        return tool in self._task_tools

    async def set_level(self, level: str | None) -> None:
        """Tell the session a log level, if it has another and the back takes any."""
        offers = self.initialized.get("capabilities")
        if level is None or level == self.level or offers is None or b'"logging"' not in bytes(offers):
            return
        answer = await self.ask("logging/setLevel", {"level": level})
        if "result" in answer.members:
            self.level = level

    async def watch(self, uri: str) -> bool:
        """Subscribe to a resource for one more of those who share the session; whether the back agreed."""
        async with self._watching:
            is_new = not self._watched[uri]
            if is_new and "result" not in (await self.ask("resources/subscribe", {"uri": uri})).members:
                return False
            self._watched[uri] += 1
            return True

    async def unwatch(self, uri: str) -> None:
        """One less watches a resource; the last one unsubscribes."""
        async with self._watching:
            self._watched[uri] -= 1
            if not self._watched[uri]:
                await self.ask("resources/unsubscribe", {"uri": uri})

    async def close(self) -> None:
        """End it."""
        self._back.changed(None)
        await self.session.close()

    def take_questions(self) -> list[bytes]:
        """The questions that came outside any call and wait for one; whoever takes them answers them."""
        asked = list(self._asked)
        self._asked.clear()
        return asked

    # -- what belongs to no call (`types.Strays`) -------------------------------------------------------------------

    def notify(self, message: bytes) -> None:
        """A notification for those who listen, or a question for the next call that may be asked one."""
        envelope = parse(message)
        if not isinstance(envelope, Envelope):
            return
        if envelope.kind is Kind.NOTIFICATION:
            for listener in list(self.listeners):
                listener(envelope)
            return
        self._asked.append(message)
        asyncio.get_running_loop().call_later(limits.STRAY_QUESTION, self._refuse, message)

    def _refuse(self, message: bytes) -> None:
        """No call came that the question could be asked in."""
        if message in self._asked:
            self._asked.remove(message)
            envelope = parse_own(message)
            why = f"Method not found: there is no call in which {envelope.method} could be asked."
            self._back.tasks.start(self.session.answer(parse_own(error_message(envelope.id, METHOD_NOT_FOUND, why))))


def _required_task(item: bytes) -> str | None:
    """The name of a tool that can only be called as a task."""
    tool = open_object(item)
    execution = open_object(tool["execution"]) if tool is not None and "execution" in tool else None
    is_required = execution is not None and string(execution.get("taskSupport")) == "required"
    return string(tool.get("name")) if tool is not None and is_required else None


class Box(Mute):
    """The port of a request of ours: its answer is kept."""

    def __init__(self) -> None:
        self.message = b""

    def answer(self, message: bytes, status: int) -> None:
        self.message = message


def make_pool(back: "Back", isolation: Isolation) -> Pool[Opened]:
    """The sessions with a legacy back that are leased.

    Args:
        back: the back.
        isolation: how far sessions are shared.
    """

    async def connect(key: Key) -> Opened:
        opened = Opened(back, key.forwarded)
        await opened.open(key.opening)
        back.has_answered = True
        return opened

    async def end(opened: Opened) -> None:
        await opened.close()

    bounds = Bounds(back.limits.back_sessions, back.limits.session_idle, back.limits.warm, back.limits.parked_grace)
    return Pool(connect, end, back.tasks.start, isolation, bounds, back.name)
