"""Pages of a list of many backs, and the cursors between them.

A cursor says after which item of which member the next page begins, and what was listed up to there. So it outlives a
reload after which nothing would be left out that its client has not seen, and nothing would come twice; after any other
it says that the list changed. It is sealed: what it says is nobody's business, and nobody can make one.
"""

import secrets
import zlib
from collections.abc import Iterator
from math import inf
from typing import Any, NamedTuple

from msgspec import Raw

from isthmus import limits
from isthmus.errors import FrontFault
from isthmus.many.catalog import ITEM_COST, Missing, Shelf, Whole
from isthmus.protocol.names import MISSING_KEY, SERVER_INFO_KEY
from isthmus.protocol.parking import NONCE_BYTES, Seal
from isthmus.wire.codec import decode, encode, string
from isthmus.wire.envelope import INVALID_PARAMS


class _Place(NamedTuple):
    """Where a page ends: the item and the member whose it is, and what of each member was listed up to there."""

    kind: str
    name: str
    shown: str
    given: dict[str, int]


class Pages:
    """Writes the pages of lists.

    Args:
        info: who answers, as JSON; None where results don't say.
    """

    def __init__(self, info: Raw | None) -> None:
        self._info = info
        self._seal: Seal | None = None

    def answer(self, id: bytes | None, whole: Whole, cursor: str | None, now: float, *, is_modern: bool) -> bytes:
        """The answer that has one page. A list of megabytes is copied once for it, as every further copy shows.

        Args:
            id: of the request, as JSON.
            whole: the list.
            cursor: where the page begins; None for the first.
            now: the loop's time.
            is_modern: whether it is for a client of the modern era.

        Raises:
            FrontFault: the cursor is none of ours, or what it points at has changed.
        """
        items, more = self._page(whole, cursor)
        rest: dict[str, Any] = {"nextCursor": more} if more is not None else {}
        meta: dict[str, Any] = {}
        if is_modern:
            good_for = whole.until - now
            rest["resultType"] = "complete"
            rest["ttlMs"] = int(good_for * 1000) if 0 < good_for < inf and not whole.missing else 0
            rest["cacheScope"] = "public" if whole.is_public else "private"
            if self._info is not None:
                meta[SERVER_INFO_KEY] = self._info
        if whole.missing:
            meta[MISSING_KEY] = missing_of(whole.missing)
        if meta:
            rest["_meta"] = meta
        tail = b"," + encode(rest)[1:] if rest else b"}"
        head = b'{"jsonrpc":"2.0","id":%b,"result":{"%b":[' % (id or b"null", whole.kind.encode())
        return b"".join((head, items, b"]", tail, b"}"))

    def _page(self, whole: Whole, cursor: str | None) -> tuple[bytes, str | None]:
        """The items of a page as JSON text, and the cursor of the next."""
        if cursor is None and whole.joined is None and _is_one_page(whole):
            whole.joined = b",".join([item.text for _, shelf in whole.shelves for item in shelf.items])
        if cursor is None and whole.joined is not None:
            return whole.joined, None
        texts: list[bytes] = []
        size, last = 0, ("", "")
        for name, shown, text in _after(whole, self._open(cursor) if cursor is not None else None):
            if texts and (len(texts) >= limits.PAGE_ITEMS or size + len(text) > limits.PAGE_BYTES):
                return b",".join(texts), self._close(_Place(whole.kind, *last, _given(whole, *last) or {}))
            texts.append(text)
            size += len(text) + 1
            last = name, shown
        return b",".join(texts), None

    def _open(self, cursor: str) -> _Place:
        said = self._sealed().unlock(cursor)
        if said is None:
            raise FrontFault("This cursor is none of this server's. List again without one.", code=INVALID_PARAMS)
        return _Place(*decode(said))

    def _close(self, place: _Place) -> str:
        return self._sealed().lock(encode(place), secrets.token_bytes(NONCE_BYTES))

    def _sealed(self) -> Seal:
        if self._seal is None:
            self._seal = Seal(secrets.token_bytes(32))
        return self._seal


def read_cursor(raw: Raw | bytes | None) -> str | None:
    """The cursor that a request names, None for none; what is no string is no cursor of ours."""
    return None if raw is None or bytes(raw) == b"null" else string(raw) or ""


def missing_of(missing: list[Missing]) -> dict[str, str]:
    """What is said of the servers that took no part, by name."""
    return {each.name: each.why for each in missing}


def _is_one_page(whole: Whole) -> bool:
    """Whether all items fit on one, with the commas between them."""
    count = sum(len(shelf.items) for _, shelf in whole.shelves)
    return count <= limits.PAGE_ITEMS and whole.size - (ITEM_COST - 1) * count <= limits.PAGE_BYTES


def _after(whole: Whole, place: _Place | None) -> Iterator[tuple[str, str, bytes]]:
    """The items from a place on: the member's name, the item's, its text.

    Raises:
        FrontFault: the place is not there any more, or others are before it or behind it than its client was told.
    """
    shelves: list[tuple[str, Shelf]] = whole.shelves
    if place is not None:
        given = _given(whole, place.name, place.shown) if place.kind == whole.kind else None
        at = next((at for at, (name, _) in enumerate(shelves) if name == place.name), 0)
        behind = {name for name, _ in shelves[at + 1 :]}
        if given is None or not given.items() <= place.given.items() or not behind.isdisjoint(place.given):
            raise FrontFault(
                "The list has changed since this cursor was given. List again without one.", code=INVALID_PARAMS
            )
        name, shelf = shelves[at]
        items = iter(shelf.items)
        next(item for item in items if item.shown == place.shown)
        for item in items:
            yield name, item.shown, item.text
        shelves = shelves[at + 1 :]
    for name, shelf in shelves:
        for item in shelf.items:
            yield name, item.shown, item.text


def _given(whole: Whole, name: str, shown: str) -> dict[str, int] | None:
    """What each member that has anything lists up to an item, as a checksum; None where the item is not there."""
    given: dict[str, int] = {}
    for each, shelf in whole.shelves:
        names = [item.shown for item in shelf.items]
        if each == name:
            if shown not in names:
                return None
            names = names[: names.index(shown) + 1]
        if names:
            given[each] = zlib.crc32("\0".join(names).encode(errors="surrogatepass"))
        if each == name:
            return given
    return None
