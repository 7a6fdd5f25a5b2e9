"""One list out of those of many backs, kept as long as they allow.

A *shelf* is what one member lists of one kind, as its clients see it: the names they use, and the ready text of each
item. A shelf is public, or belongs to one owner (a principal, or a legacy session); it is made for one *shape*, the
revision whose form its items have. Concurrent requests for a shelf share one fetch, which goes on when who asked first
has left or waits no more: a member that is late is left out of this list and may be in the next.

Sources: 2026-07-28 server/utilities/caching; the pages of lists: server/utilities/pagination of each revision.
"""

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, Protocol, TypeVar

from isthmus import limits
from isthmus.engine.member import Awaited, within_deadlines
from isthmus.errors import BackFault, BackUnavailable, Fault, fault_of
from isthmus.protocol import edits
from isthmus.protocol.methods import row_of
from isthmus.wire.codec import decode, open_object, string
from isthmus.wire.envelope import Members

if TYPE_CHECKING:
    from isthmus.engine.member import Member

_log: Final = logging.getLogger("isthmus.many")
KIND_OF: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""The methods that list, and the member of their result that is the list."""
NAMED_BY: Final = {"tools": "name", "prompts": "name", "resources": "uri", "resourceTemplates": "uriTemplate"}
"""The member of an item that requests name it by."""
_CHANGED_BY: Final = {"tools": ("tools",), "prompts": ("prompts",), "resources": ("resources", "resourceTemplates")}
_LIST: Final = ord("[")
_EXPRESSION: Final = re.compile(r"\{[^{}]*\}")
ITEM_COST: Final = 300
"""What an item costs in memory beside its text: two strings, a tuple and its places."""


class Item(NamedTuple):
    """One thing of a list: the name or URI that clients use, the back's own, and the text for clients."""

    shown: str
    own: str
    text: bytes


@dataclass(slots=True)
class Shelf:
    """What one member lists of one kind."""

    items: list[Item]
    until: float
    """The loop's time until which it is good; infinite until it is said to have changed."""
    is_public: bool
    own: dict[str, str] = field(init=False)
    size: int = field(init=False)

    def __post_init__(self) -> None:
        self.own = {item.shown: item.own for item in self.items}
        self.size = sum(len(item.text) + ITEM_COST for item in self.items)

    def find(self, shown: str, *, is_template: bool) -> str | None:
        """The back's own name of what clients call `shown`; a URI that a template may make is its own."""
        own = self.own.get(shown)
        if own is None and is_template:
            own = next((shown for item in self.items if may_make(item.shown, shown)), None)
        return own

    def has_own(self, own: str) -> bool:
        """Whether the back itself calls something so, or has a template that may make it."""
        return any(own == item.own or may_make(item.own, own) for item in self.items)


class Page(NamedTuple):
    """One page of what a back lists: its items, where the next page is, seconds that it is good for, and for whom."""

    items: list[bytes]
    cursor: str | None
    good_for: float
    is_public: bool


class Asker(Protocol):
    """In whose name a member is asked for its lists, and in which form the items are to be."""

    @property
    def shape(self) -> str:
        """The revision whose form the items have."""

    @property
    def owner(self) -> Hashable:
        """Whose a list is that is not for everybody."""

    @property
    def is_known(self) -> bool:
        """Whether the owner may come again, so that it is worth to keep what is its own."""

    async def ask(self, member: "Member", method: str, cursor: str | None) -> Page:
        """One page from a member.

        Raises:
            Fault: there is none.
        """


class Layout(Protocol):
    """Whose lists make up the whole, and what of them is seen."""

    @property
    def members(self) -> Sequence["Member"]:
        """The members, in their order."""

    def layer(self, kind: str, shelves: list[tuple[str, Shelf]]) -> list[tuple[str, Shelf]]:
        """Their shelves, without what is hidden or stands behind another thing of the same name."""


class _Key(NamedTuple):
    member: "Member"
    kind: str
    shape: str
    owner: Hashable


class Missing(NamedTuple):
    """A member that took no part, and why."""

    name: str
    why: str


@dataclass(slots=True)
class Whole:
    """A list of many backs: what each lists, in the order of the configuration."""

    kind: str
    shelves: list[tuple[str, Shelf]]
    missing: list[Missing]
    joined: bytes | None = None
    """The JSON text of all items, where that is one page."""
    until: float = field(init=False)
    """Until when all of it is good."""
    is_public: bool = field(init=False)
    """Whether it may be given to everybody: "an aggregate is private unless every back is known to be public"."""
    size: int = field(init=False)

    def __post_init__(self) -> None:
        shelves = [shelf for _, shelf in self.shelves]
        self.until = min((shelf.until for shelf in shelves), default=inf)
        self.is_public = bool(shelves) and not self.missing and all(shelf.is_public for shelf in shelves)
        self.size = sum(shelf.size for shelf in shelves)


class _Sized(Protocol):
    @property
    def size(self) -> int:
        """Bytes, about."""


_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V", bound=_Sized)


class _Kept(Generic[_K, _V]):
    """Values by key. When all together are larger than a catalog may be, the oldest are forgotten."""

    def __init__(self) -> None:
        self._values: OrderedDict[_K, _V] = OrderedDict()
        self._size = 0
        self.get = self._values.get

    def __len__(self) -> int:
        return len(self._values)

    def put(self, key: _K, value: _V) -> None:
        self._drop(key)
        self._values[key] = value
        self._size += value.size
        while self._size > limits.CATALOG_BYTES and len(self._values) > 1:
            self._drop(next(iter(self._values)))

    def forget(self, is_over: Callable[[_K], bool]) -> None:
        for key in [key for key in self._values if is_over(key)]:
            self._drop(key)

    def _drop(self, key: _K) -> None:
        old = self._values.pop(key, None)
        self._size -= old.size if old is not None else 0


class Catalog:
    """The lists of many backs.

    Args:
        now: the loop's clock.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._shelves: _Kept[_Key, Shelf] = _Kept()
        self._wholes: _Kept[tuple[str, str, Hashable], Whole] = _Kept()
        self._fetching: dict[_Key, asyncio.Task[Shelf | Fault]] = {}
        self._changes = 0

    def ready(self, kind: str, asker: Asker) -> Whole | None:
        """The whole list, if it is kept and still good."""
        for owner in (None, asker.owner):
            whole = self._wholes.get((kind, asker.shape, owner))
            if whole is not None and whole.until > self._now():
                return whole
        return None

    async def whole(self, method: str, asker: Asker, layout: Layout) -> Whole:
        """The list of all members; those that are out, or late, are named in it as missing.

        Raises:
            BackUnavailable: all are; an empty list would say that there is nothing.
        """
        kind, members = KIND_OF[method], layout.members
        found = self.ready(kind, asker)
        if found is not None:
            return found
        changes = self._changes
        got = await self._gather(method, asker, members)
        shelves: list[tuple[str, Shelf]] = []
        missing: list[Missing] = []
        is_lasting = True
        for member, shelf in zip(members, got, strict=True):
            if isinstance(shelf, Shelf):
                shelves.append((member.name, shelf))
            elif shelf is not None:
                missing.append(Missing(member.name, shelf.why))
                is_lasting &= member.why_out is not None  # else nothing will say that it takes part again
        if members and len(missing) == len(members):
            raise BackUnavailable(" ".join(each.why for each in missing))
        whole = Whole(kind, layout.layer(kind, shelves), missing)
        is_lasting &= changes == self._changes and whole.until > self._now()
        if is_lasting and (whole.is_public or asker.is_known):
            self._wholes.put((kind, asker.shape, None if whole.is_public else asker.owner), whole)
        return whole

    async def shelf(self, method: str, asker: Asker, member: "Member") -> Shelf | None:
        """What one member lists; None where it offers nothing of the kind.

        Raises:
            Fault: it is out, or late.
        """
        (got,) = await self._gather(method, asker, [member])
        if isinstance(got, Fault):
            raise got
        return got

    def changed(self, member: "Member", kind: str | None) -> None:
        """Forget what a member lists of a kind (None: of every kind), and every list that it has part in."""
        kinds = _CHANGED_BY.get(kind or "", tuple(KIND_OF.values()))
        self._forget(lambda key: key.member is member and key.kind in kinds)
        self._refresh(kinds)

    def turned(self, member: "Member") -> None:
        """A member is out, or there again: nothing that is kept of it counts, and nothing that it never answered."""
        self._shelves.forget(lambda key: key.member is member)
        if member.why_out is None:
            me = asyncio.current_task()
            fetching = self._fetching.items()
            self._fetching = {key: task for key, task in fetching if key.member is not member or task is me}
        self._refresh(tuple(KIND_OF.values()))

    def forget(self, owner: Hashable) -> None:
        """Forget what belongs to an owner."""
        self._forget(lambda key: key.owner == owner)
        self._wholes.forget(lambda key: key[2] == owner)

    def reordered(self) -> None:
        """The members are others now."""
        self._refresh(tuple(KIND_OF.values()))

    # -- inside -----------------------------------------------------------------------------------------------------

    def _forget(self, is_over: Callable[[_Key], bool]) -> None:
        self._shelves.forget(is_over)
        for key in [key for key in self._fetching if is_over(key)]:
            del self._fetching[key]  # what it brings is still given to those who wait, and not kept

    def _refresh(self, kinds: Sequence[str]) -> None:
        self._changes += 1
        self._wholes.forget(lambda key: key[0] in kinds)

    async def _gather(self, method: str, asker: Asker, members: Sequence["Member"]) -> list[Shelf | Fault | None]:
        """A shelf of each member, or why there is none; None where it offers nothing of the kind."""
        kind = KIND_OF[method]
        got: list[Shelf | Fault | None] = []
        waiting: dict[int, asyncio.Task[Shelf | Fault]] = {}
        for at, member in enumerate(members):
            kept = self._kept(member, kind, asker)
            if kept is not None or not member.offers(method.partition("/")[0]):
                got.append(kept)
            elif member.why_out is not None:
                got.append(member.fault())
            else:
                got.append(None)
                waiting[at] = self._fetch(method, asker, member)
        again = partial(self._fetch, method, asker)
        awaited = [Awaited(members[at], task, partial(again, members[at])) for at, task in waiting.items()]
        await within_deadlines(awaited, self._now)
        for at, task in waiting.items():
            got[at] = task.result() if task.done() and not task.cancelled() else members[at].fault()
        return got

    def _kept(self, member: "Member", kind: str, asker: Asker) -> Shelf | None:
        for owner in (None, asker.owner):
            shelf = self._shelves.get(_Key(member, kind, asker.shape, owner))
            if shelf is not None and shelf.until > self._now():
                return shelf
        return None

    def _fetch(self, method: str, asker: Asker, member: "Member") -> asyncio.Task[Shelf | Fault]:
        key = _Key(member, KIND_OF[method], asker.shape, asker.owner)
        task = self._fetching.get(key)
        if task is None:
            task = self._fetching[key] = member.begin(self._fetch_and_keep(key, method, asker))
        return task

    async def _fetch_and_keep(self, key: _Key, method: str, asker: Asker) -> Shelf | Fault:
        task, began = asyncio.current_task(), self._now()
        try:
            shelf = await _all_pages(key.member, method, asker, self._now)
        except Exception as error:
            return fault_of(error)
        finally:
            is_current = self._fetching.get(key) is task
            if is_current:
                del self._fetching[key]
        now, deadline = self._now(), key.member.spec.deadline
        if now - began > deadline:  # who hears that it is back is not to wait for the same list again
            shelf.until = max(shelf.until, now + deadline)
        key.member.answered()
        if is_current and shelf.until > self._now() and (shelf.is_public or asker.is_known):
            self._shelves.put(key._replace(owner=None) if shelf.is_public else key, shelf)
        return shelf


def may_make(template: str, uri: str) -> bool:
    """Whether expanding a URI template (RFC 6570) can give a URI, as far as its literal parts tell.

    Each part is looked for where the one before ends: no later place would leave more room. A regular expression would
    try them all, and both texts are those of strangers.
    """
    first, *middle = _EXPRESSION.split(template)
    if not middle or not uri.startswith(first):
        return False
    last, at = middle.pop(), len(first)
    for part in middle:
        found = uri.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return uri.endswith(last) and len(uri) - len(last) >= at


async def _all_pages(member: "Member", method: str, asker: Asker, now: Callable[[], float]) -> Shelf:
    """Every page of what a member lists; a cursor that comes twice, or after too many pages, ends it.

    Of two things with one name the first is there: the other could not be asked for, and cursors go by names.

    Raises:
        Fault: there is no list to be had, or it is too large.
    """
    items: dict[str, Item] = {}
    seen: set[str | None] = {None}
    cursor: str | None = None
    good_for, is_public, size = inf, True, 0
    for _ in range(limits.LIST_PAGES):
        page = await asker.ask(member, method, cursor)
        size += sum(map(len, page.items))
        if size > limits.LIST_BYTES:
            most = f"{limits.LIST_BYTES // limits.MIB} MiB"
            raise BackFault(f"{member.name} answers {method} with more than {most}. Have it list less.")
        good_for, is_public = min(good_for, page.good_for), is_public and page.is_public
        for item in filter(None, (_item(member, KIND_OF[method], text) for text in page.items)):
            items.setdefault(item.shown, item)
        cursor = page.cursor
        if cursor in seen:
            break
        seen.add(cursor)
    else:
        _log.warning("%s answers %s on more than %d pages; the rest is left out.", member.name, method, len(seen) - 1)
    if member.spec.ttl is not None:
        good_for = member.spec.ttl
    return Shelf(list(items.values()), now() + good_for if good_for > 0 else 0.0, is_public)


def _item(member: "Member", kind: str, text: bytes) -> Item | None:
    """An item as clients see it; None where they may not, or where it is none."""
    seen = member.face.item(kind, text)
    opened = open_object(text)
    if seen is None or opened is None:
        member.refused(kind, text)
        return None
    return Item(seen[0], string(opened.get(NAMED_BY[kind])) or "", seen[1])


def untold(member: "Member", method: str, *, is_heard: bool) -> float:
    """How long a list of a legacy back is good for, which has no word for that: until it says that it changed.

    Args:
        member: whose list it is.
        method: that lists it.
        is_heard: whether what the back says outside its calls was heard since before it was asked.
    """
    return inf if is_heard and member.is_met and member.announces(method.partition("/")[0]) else 0.0


def read_page(member: "Member", method: str, result: Members, *, untold: float | None) -> Page:
    """What one page of a list says.

    Args:
        member: whose it is.
        method: that it answers.
        result: the opened result.
        untold: how long it is good for where the back has no word for that; None where it has, and it counts.

    Raises:
        BackFault: it is no list.
    """
    listed = row_of(method).listed or ""
    if listed in result and memoryview(result[listed])[0] != _LIST:
        raise BackFault(f"{member.name} answers {method} with something else than a list. Report it to its makers.")
    items = edits.items_of(result[listed]) if listed in result else []
    cursor = string(result.get("nextCursor"))
    if untold is not None:
        return Page(items, cursor, untold, False)
    ttl = decode(result["ttlMs"]) if "ttlMs" in result else 0
    good_for = min(max(ttl, 0), limits.SECONDS_MOST * 1000) / 1000 if type(ttl) in (int, float) else 0.0
    return Page(items, cursor, good_for, string(result.get("cacheScope")) == "public")
