"""Modern clients of a legacy back: each request leases a session, and may park in it.

What each message becomes is `protocol/crossings/modern_front`; who gets which session is `pool/policy`.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from isthmus import limits
from isthmus.engine.parking import Parked, Refusing, Visit, modern_answer, owner_of
from isthmus.engine.passing import Passing, PassingCall
from isthmus.engine.sharing import Box, Opened
from isthmus.errors import Fault, FrontFault
from isthmus.pool.policy import SINGLE, Key
from isthmus.pool.pool import Lease, Pool
from isthmus.protocol import edits
from isthmus.protocol.crossings import modern_front
from isthmus.protocol.exchange import State
from isthmus.protocol.judge import ModernRequest
from isthmus.protocol.names import ACKNOWLEDGED, CAPABILITIES_KEY, CLIENT_INFO_KEY, LOG_LEVEL_KEY, SUBSCRIPTION_KEY
from isthmus.protocol.parking import NONCE_BYTES, Seal, Ticket, digest
from isthmus.protocol.subscriptions import closing_message
from isthmus.types import Port
from isthmus.wire.codec import close_object, decode, encode, one_line, open_object, parse_own, string
from isthmus.wire.envelope import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Envelope,
    error_message,
    notification_message,
    request_message,
    result_message,
)

if TYPE_CHECKING:
    from isthmus.engine.back import Back

_CHANGES = {
    "toolsListChanged": ("tools", "notifications/tools/list_changed"),
    "promptsListChanged": ("prompts", "notifications/prompts/list_changed"),
    "resourcesListChanged": ("resources", "notifications/resources/list_changed"),
}
_UPDATED = "notifications/resources/updated"


class Visiting:
    """The modern clients of one legacy back.

    Args:
        back: the back.
        pool: its sessions.
    """

    def __init__(self, back: "Back", pool: Pool[Opened]) -> None:
        self._back = back
        self._pool = pool
        self._parked: dict[str, tuple[Parked, asyncio.TimerHandle]] = {}
        self._recalled: deque[str] = deque(maxlen=limits.RECALLED_KEPT)
        self._sealing: Seal | None = None
        self._known: dict[tuple[bytes, bytes], tuple[dict[str, Any], bytes]] = {}

    async def relay(self, request: ModernRequest, port: Port) -> None:
        """Take one modern request to the back and its answer to `port`; cancelling cancels it there."""
        try:
            if request.row.name == "server/discover":
                await self._discover(request, port)
            elif request.row.is_endless:
                await self._listen(request, port)
            elif request.row.name.startswith("tasks/"):
                why = f"Method not found: {request.row.name}. The server's tasks are of another era."
                raise FrontFault(why, code=METHOD_NOT_FOUND, status=404)
            elif "requestState" in request.params:
                await self._resume(request, port)
            else:
                await self._begin(request, port)
        except Fault as fault:
            self._back.failed(fault)
            port.answer(error_message(request.envelope.id, fault.code, fault.why, fault.data), fault.status)
        except RecursionError:
            why = "What the client says of itself nests too deeply."
            port.answer(error_message(request.envelope.id, INVALID_PARAMS, why), 400)

    def close(self) -> None:
        """Forget every parked call; its session ends with the pool."""
        for _, timer in self._parked.values():
            timer.cancel()
        self._parked.clear()

    # -- sessions ---------------------------------------------------------------------------------------------------

    async def _lease(self, request: ModernRequest, *, is_exclusive: bool) -> Lease[Opened]:
        key = Key(request.principal or self._anonymous(), self._read(request)[1], request.forwarded)
        label = f"{request.row.name} {request.name or ''}".strip()
        return await self._pool.lease(key, label, is_exclusive=is_exclusive, wait=self._back.limits.call)

    def _read(self, request: ModernRequest) -> tuple[dict[str, Any], bytes]:
        """A client's capabilities, and what a back is told of it; the same few come again and again."""
        said = bytes(request.meta[CAPABILITIES_KEY]), bytes(request.meta.get(CLIENT_INFO_KEY, b""))
        known = self._known.get(said)
        if known is None:
            known = modern_front.capabilities_of(request), encode(modern_front.initialize_params(request))
            if len(self._known) >= limits.HEADS_REMEMBERED:
                self._known.clear()
            if sum(map(len, said)) <= limits.CLIENT_REMEMBERED:
                self._known[said] = known
        return known

    def _anonymous(self) -> str:
        """Who a client is that nobody knows: with all others the local user, or nobody else."""
        return "" if self._back.is_local else f"{SINGLE}{secrets.token_urlsafe(12)}"

    # -- calls ------------------------------------------------------------------------------------------------------

    async def _begin(self, request: ModernRequest, port: Port) -> None:
        row, wants_logs = request.row, LOG_LEVEL_KEY in request.meta
        may_be_asked = wants_logs or modern_front.can_be_asked(self._read(request)[0])
        # in a session of all clients a call that shares it could be taken for the one that is asked
        may_be_asked |= self._pool.isolation == "shared"
        lease = await self._lease(request, is_exclusive=row.may_ask and may_be_asked)
        may_be_task = row.name == "tools/call" and lease.session.has_tasks
        if not (wants_logs or (row.may_ask and may_be_asked) or may_be_task):
            await self._pass(request, port, lease)
            return
        try:
            await lease.session.set_level(string(request.meta.get(LOG_LEVEL_KEY)))
            parked = Parked(self._back, request, lease)
        except BaseException:
            lease.release()
            raise
        parked.park = partial(self._park, parked, request)
        parked.again = partial(self._call, parked, request, lease.session)
        visit = Visit(request, port, self._read(request)[0])
        parked.begin(visit)
        if row.may_ask and lease.is_exclusive:
            for question in lease.session.take_questions():
                parked.notify(question)
        self._call(parked, request, lease.session)
        await _attend(parked, visit, [])

    async def _pass(self, request: ModernRequest, port: Port, lease: Lease[Opened]) -> None:
        """Call the back where the client is asked nothing."""
        opened = lease.session
        try:
            mine = opened.mint()
            envelope = modern_front.legacy_request(request, mine)
            if self._is_whole(request):
                answer = parse_own(await opened.list_all(envelope))
                id = request.envelope.id or b"null"
                port.answer(*modern_answer(answer, request.row.name, id, self._info()))
            else:
                passing = Passing(self._back, request, port, opened.session, mine)
                await opened.session.request(envelope, passing, PassingCall)
        finally:
            lease.release()

    def _is_whole(self, request: ModernRequest) -> bool:
        """Whether all pages of a list are fetched at once: a cursor would not outlive the session."""
        is_list = request.row.listed is not None and "cursor" not in request.params
        return is_list and self._pool.isolation == "request"

    def _call(self, parked: Parked, request: ModernRequest, opened: Opened) -> None:
        """Call the back."""
        self._back.tasks.start(self._run(parked, request, opened))

    async def _run(self, parked: Parked, request: ModernRequest, opened: Opened) -> None:
        id = opened.mint()
        parked.id, parked.token = str(id).encode(), id
        envelope = modern_front.legacy_request(request, id)
        is_task = request.row.name == "tools/call" and await opened.needs_task(request.name)
        if parked.state is State.OVER:  # the client left before anything was sent
            parked.abandon()
        elif self._is_whole(request):
            parked.answer(await opened.list_all(envelope), 200)
        elif is_task:
            await _run_task(parked, envelope, opened)
        else:
            await opened.session.request(envelope, parked)

    async def _resume(self, request: ModernRequest, port: Port) -> None:
        parked = self._redeem(request)
        answers = modern_front.read_answers(request)
        if answers is None:
            raise FrontFault('"inputResponses" must be an object of objects.', code=INVALID_PARAMS)
        self._parked.pop(parked.name)[1].cancel()
        visit = Visit(request, port, self._read(request)[0])
        refusals = request.refusals if isinstance(request, Refusing) else {}
        await _attend(parked, visit, parked.retry(visit, answers, refusals))

    def _park(self, parked: Parked, request: ModernRequest, visit: Visit) -> None:
        """Answer the open request with the questions and a sealed state."""
        loop = asyncio.get_running_loop()
        parked.round += 1
        parked.name = parked.name or secrets.token_urlsafe(12)
        parked.digest = parked.digest or digest(request.row.name, request.params)
        expires = loop.time() + self._back.limits.parked
        ticket = Ticket(parked.name, parked.round, parked.principal, parked.digest, expires)
        state = self._seal().close(ticket, secrets.token_bytes(NONCE_BYTES))
        self._parked[parked.name] = parked, loop.call_at(expires, self._expire, parked)
        self.await_client(parked)
        questions = {key: (each.method, each.params) for key, each in parked.questions.items()}
        result = modern_front.input_required(questions, state, self._info())
        visit.answer(one_line(result_message(visit.id, result)), 200)

    def has_parked(self) -> bool:
        """Whether a call waits for its client to come back."""
        return bool(self._parked)

    def holds(self, state: str | None) -> bool:
        """Whether a call is parked here that a `requestState` stands for."""
        return self.parked(state) is not None

    def parked(self, state: str | None) -> "Held | None":
        """The parked call that a `requestState` stands for, if there is one."""
        ticket = self._seal().open(state) if state is not None else None
        parked = self._parked.get(ticket.exchange) if ticket is not None else None
        return Held(self, parked[0]) if parked is not None else None

    def drop(self, parked: Parked) -> None:
        """End a parked call, if it has not ended: its client left."""
        if parked.name in self._parked:
            self._parked[parked.name][1].cancel()
            self._expire(parked)

    def await_client(self, parked: Parked) -> None:
        """The session of a parked call may be given to another call, if its client is long in coming back."""
        parked.lease.park(partial(self._recall, parked))

    def _redeem(self, request: ModernRequest) -> Parked:
        """The parked call that a retry belongs to.

        Raises:
            FrontFault: it belongs to none, with a sentence that says why.
        """
        state = string(request.params["requestState"])
        ticket = self._seal().open(state) if state is not None else None
        parked = self._parked[ticket.exchange][0] if ticket is not None and ticket.exchange in self._parked else None
        why = ""
        if ticket is None:
            why = "it was not made by this proxy, or was changed"
        elif ticket.principal != owner_of(request):
            why = "it belongs to somebody else"
        elif ticket.digest != digest(request.row.name, request.params):
            why = "it belongs to a request with another method or other parameters"
        elif asyncio.get_running_loop().time() >= ticket.expires:
            why = "it has expired"
        elif ticket.exchange in self._recalled:
            why = "it has expired early, because another call waited for the session that this one held"
        elif parked is None or parked.round != ticket.round:
            why = "it was used already, or its call has ended"
        if why or parked is None:
            raise FrontFault(f"The requestState can't be redeemed: {why}. Make the call anew.", code=INVALID_PARAMS)
        return parked

    def _expire(self, parked: Parked) -> None:
        """No retry came in time."""
        self._parked.pop(parked.name, None)
        parked.expire()

    def _recall(self, parked: Parked) -> None:
        """No retry came soon, and another call waits for the session."""
        self._parked[parked.name][1].cancel()
        self._recalled.append(parked.name)
        self._expire(parked)

    def _seal(self) -> Seal:
        if self._sealing is None:
            self._sealing = Seal(secrets.token_bytes(32))
        return self._sealing

    def _info(self) -> Raw | None:
        return self._back.server_info.raw if self._back.server_info is not None else None

    # -- what is no call --------------------------------------------------------------------------------------------

    async def _discover(self, request: ModernRequest, port: Port) -> None:
        lease = await self._lease(request, is_exclusive=False)
        result = modern_front.discover_result(lease.session.initialized, self._info())
        lease.release()
        port.answer(one_line(result_message(request.envelope.id or b"null", result)), 200)

    async def _listen(self, request: ModernRequest, port: Port) -> None:
        wanted = decode(request.params["notifications"]) if "notifications" in request.params else {}
        wanted = wanted if isinstance(wanted, dict) else {}
        watched = wanted.get("resourceSubscriptions") or []
        if not isinstance(watched, list) or not all(isinstance(uri, str) for uri in watched):
            raise FrontFault('"resourceSubscriptions" must be an array of strings.', code=INVALID_PARAMS)
        lease = await self._lease(request, is_exclusive=False)
        opened, id = lease.session, request.envelope.id or b"null"
        waiting: list[Envelope] = []
        opened.listeners.append(waiting.append)
        granted, uris, hears = _granted(wanted, opened), list[str](), waiting.append
        try:
            for uri in watched:
                if uri not in uris and await opened.watch(uri):
                    uris.append(uri)
            if uris:
                granted["resourceSubscriptions"] = uris
            meta = {"_meta": {SUBSCRIPTION_KEY: Raw(id)}}
            port.notify(notification_message(ACKNOWLEDGED, {"notifications": granted} | meta))
            opened.listeners.remove(hears)
            hears = _hearing(port, id, granted)
            opened.listeners.append(hears)
            for envelope in waiting:
                hears(envelope)
            await asyncio.sleep(limits.LISTEN)
            port.answer(closing_message(id), 200)
        finally:
            opened.listeners.remove(hears)
            self._back.tasks.start(self._leave(lease, uris))

    async def _leave(self, lease: Lease[Opened], uris: list[str]) -> None:
        """A listener is gone."""
        for uri in uris:
            await lease.session.unwatch(uri)
        lease.release()


class Held:
    """A call that is parked, for whoever stands in for its client."""

    __slots__ = ("_parked", "_visiting")

    def __init__(self, visiting: Visiting, parked: Parked) -> None:
        self._visiting = visiting
        self._parked = parked

    def attend(self) -> None:
        """Its questions are being answered: nobody else gets its session meanwhile."""
        self._parked.lease.resume()

    def leave(self) -> None:
        """Its questions are with the client again, which may never come back."""
        self._visiting.await_client(self._parked)

    def drop(self) -> None:
        """End it: its client left."""
        self._visiting.drop(self._parked)


async def _run_task(parked: Parked, envelope: Envelope, opened: Opened) -> None:
    """Call a tool that can only be called as a task, and wait for the task's result."""
    box = Box()
    edits.set_param(envelope, "task", b"{}")
    await opened.session.request(envelope, box)
    if not box.message:  # the client left, and the call was cancelled
        parked.abandon()
        return
    answer = parse_own(box.message)
    result = open_object(answer.members["result"]) if "result" in answer.members else None
    task = open_object(result["task"]) if result is not None and "task" in result else None
    parked.task = string(task.get("taskId")) if task is not None else None
    if parked.task is None:
        parked.answer(box.message, 200)
        return
    id = opened.mint()
    parked.id = str(id).encode()
    await opened.session.request(parse_own(request_message(parked.id, "tasks/result", {"taskId": parked.task})), parked)


async def _attend(parked: Parked, visit: Visit, answers: list[Envelope]) -> None:
    """Take the client's answers to the back and wait until the request is answered; a client that leaves cancels."""
    try:
        if answers:
            await parked.lease.session.set_level(visit.level)
        for each in answers:
            await parked.session.answer(each)
        await visit.ended
    except asyncio.CancelledError:
        parked.leave(visit)
        raise


def _granted(wanted: dict[str, Any], opened: Opened) -> dict[str, Any]:
    raw = opened.initialized.get("capabilities")
    offers = decode(raw) if raw is not None else {}
    granted: dict[str, Any] = {}
    for name, (kind, _) in _CHANGES.items():
        offered = offers.get(kind) if isinstance(offers, dict) else None
        if wanted.get(name) is True and isinstance(offered, dict) and offered.get("listChanged") is True:
            granted[name] = True
    return granted


def _hearing(port: Port, id: bytes, granted: dict[str, Any]) -> Callable[[Envelope], None]:
    """Takes what a listener was granted to it, under its subscription's id."""
    methods = {_CHANGES[name][1] for name in granted if name in _CHANGES}
    uris = granted.get("resourceSubscriptions") or []

    def hear(envelope: Envelope) -> None:
        if envelope.method == _UPDATED:
            uri = string(edits.param(envelope, "uri")) or ""
            if not any(uri == each or uri.startswith(each.rstrip("/") + "/") for each in uris):
                return
        elif envelope.method not in methods:
            return
        port.notify(_addressed(envelope, id))

    return hear


def _addressed(envelope: Envelope, id: bytes) -> bytes:
    """A copy of a notification that says whose subscription it is for."""
    members = dict(envelope.members)
    params = (open_object(members["params"]) if "params" in members else None) or {}
    meta = (open_object(params["_meta"]) if "_meta" in params else None) or {}
    params["_meta"] = Raw(close_object(meta | {SUBSCRIPTION_KEY: Raw(id)}))
    members["params"] = Raw(close_object(params))
    return one_line(close_object(members))
