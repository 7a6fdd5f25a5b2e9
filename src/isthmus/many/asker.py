"""In whose name the members are asked for what goes to all of them, and what of an answer is kept."""

import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from isthmus import limits
from isthmus.engine.member import Member, Said
from isthmus.engine.sharing import Box
from isthmus.errors import BackFault
from isthmus.many.catalog import Page, read_page, untold
from isthmus.protocol.judge import ModernRequest, make_modern
from isthmus.protocol.names import LOG_LEVEL_KEY, PROGRESS_KEY
from isthmus.wire.codec import decode, encode, open_object, parse_own
from isthmus.wire.envelope import METHOD_NOT_FOUND, Members

if TYPE_CHECKING:
    from isthmus.many.gateway import Many


class ModernAsker:
    """Asks in the name of the client that sent a request (`catalog.Asker`).

    Args:
        many: the backs.
        request: the client's.
        headers: the client's; None where its transport has none.
    """

    __slots__ = ("_many", "_request", "headers", "told")

    def __init__(self, many: "Many", request: ModernRequest, headers: Mapping[str, str] | None) -> None:
        self._many = many
        self._request = request
        self.headers = many.headers_to_forward(headers)
        """Those that may go on."""
        self.told: dict[str, Said] = {}
        """What members said to this client alone, by their names."""

    @property
    def shape(self) -> str:
        return self._request.version

    @property
    def is_known(self) -> bool:
        return self._request.principal is not None or self._many.settings.is_local

    @property
    def owner(self) -> object:
        """Who it is, and what of its headers backs may tell clients apart by."""
        who = self._request.principal or ("" if self._many.settings.is_local else secrets.token_bytes(12))
        return who if self.headers is None else (who, sha256(self._many.forwarded(self.headers)).digest())

    async def ask(self, member: Member, method: str, cursor: str | None) -> Page:
        began = self._many.loop.time()
        result = await self._ask(member, method, {"cursor": cursor} if cursor is not None else {})
        is_legacy = member.gateway.is_legacy
        if is_legacy and not member.is_met:
            await self.meet(member)  # what it can announce says how long the list is good for
        good_for = untold(member, method, is_heard=member.gateway.heard_since <= began) if is_legacy else None
        return read_page(member, method, result or {}, untold=good_for)

    async def meet(self, member: Member) -> None:
        """Have a member say what it is."""
        result = await self._ask(member, "server/discover", {})
        if result is not None:
            told = member.learn(result, is_modern=True)
            if told is not None:
                self.told[member.name] = told

    async def _ask(self, member: Member, method: str, params: dict[str, Any]) -> Members | None:
        """The opened result; None where the member does not know the method."""
        meta = {key: raw for key, raw in self._request.meta.items() if key not in (PROGRESS_KEY, LOG_LEVEL_KEY)}
        own = make_modern(method, meta, open_object(encode(params)))
        own.principal = self._request.principal
        box = Box()
        await member.gateway.relay(own, box, self.headers)
        return result_of(box.message, member, method)


def result_of(message: bytes, member: Member, method: str) -> Members | None:
    """The opened result of an answer to a request of ours; None where the member does not know the method.

    Raises:
        BackFault: it is an error.
    """
    members = parse_own(message).members
    if "result" in members:
        return open_object(members["result"])
    error = decode(members["error"]) if "error" in members else None
    error = error if isinstance(error, dict) else {}
    if error.get("code") == METHOD_NOT_FOUND:
        return None
    said = _plain(str(error.get("message") or "")) or "It gives no reason."
    raise BackFault(f"{member.name} refused {method}: {said}")


def _plain(said: str) -> str:
    """A back's sentence as it may stand in a log, and in every list that it takes no part in."""
    cut = said[: limits.REASON]
    return " ".join("".join(each if each.isprintable() else " " for each in cut).split())
