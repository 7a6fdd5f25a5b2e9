"""Which member a request goes to.

A name with a prefix goes to its member without a list. What carries no prefix of ours (shortened names, URIs that are
not rewritten) is looked up in the catalog.
"""

import logging
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Raw

from isthmus import limits
from isthmus.errors import Fault, FrontFault
from isthmus.many.catalog import Asker, Catalog, Shelf, may_make
from isthmus.routing import merge
from isthmus.routing.face import KEYS, NAMED, thing_of
from isthmus.routing.namespace import Namespace, is_shortened, join_uri
from isthmus.wire.codec import string
from isthmus.wire.envelope import INVALID_PARAMS, Members

if TYPE_CHECKING:
    from isthmus.engine.member import Member

_log: Final = logging.getLogger("isthmus.many")


class Route(NamedTuple):
    """Where a request goes, and what it asks for under the back's own name.

    `text` is the own name as JSON where the request needs no other change; only those that `find` gives have it.
    """

    member: "Member"
    own: str
    text: Raw | None = None


class Wanted(NamedTuple):
    """What a request asks for: its kind, and the name, URI or template that clients use."""

    kind: str
    shown: str


ROUTED: Final = frozenset(
    {
        "tools/call",
        "prompts/get",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "completion/complete",
    }
)
"""The methods that go to one member."""
_URIS: Final = ("resources", "resourceTemplates")
_LISTS: Final = {
    "tools": ("tools/list",),
    "prompts": ("prompts/list",),
    "resources": ("resources/list", "resources/templates/list"),
    "resourceTemplates": ("resources/templates/list", "resources/list"),
}


def wanted(method: str, params: Members) -> Wanted:
    """What a routed request asks for.

    Raises:
        FrontFault: its parameters name nothing.
    """
    thing = thing_of(method, params)
    if thing is None:
        why = f"{method} does not say what it is for: it needs a name, a uri, or a ref that has one, as a string."
        raise FrontFault(why, code=INVALID_PARAMS)
    return Wanted(*thing)


class Routes:
    """The members, by what begins their names; the first that has a name wins.

    Args:
        members: in the order of the configuration.
        hidden: what nobody sees, by its kind and the name that clients would use.
        may_pass: whether a sole member may answer for the whole.
    """

    def __init__(
        self, members: Sequence["Member"], hidden: Collection[tuple[str, str]] = (), *, may_pass: bool = True
    ) -> None:
        self.members = tuple(members)
        self._hidden = hidden
        self._by_name = {member.name: member for member in reversed(members)}
        self._by_prefix = {member.face.prefix: member for member in members if member.face.prefix}
        self._namespace = Namespace(self._by_prefix)
        self._bare = [member for member in members if not member.face.prefix]
        self._known = [member for member in self._bare if member.spec.owned is not None]
        self._unknown = [member for member in self._bare if member.spec.owned is None]
        self._lengths = frozenset(member.face.longest for member in members)
        passing = [each for each in self.members if each.face.is_plain and not each.spec.hears_headers]
        self.sole = passing[0] if may_pass and not hidden and len(passing) == len(self.members) == 1 else None
        """The only member, where nothing of it is changed."""
        self._found: dict[tuple[str, str], Route] = {}
        self._told: set[tuple[str, str, str]] = set()
        self._is_lasting = not hidden and not self._known
        self._hidden_templates = [shown for kind, shown in hidden if kind == "resourceTemplates"]

    def layer(self, kind: str, shelves: list[tuple[str, Shelf]]) -> list[tuple[str, Shelf]]:
        """The shelves without what is hidden, and without what stands behind another thing of the same name.

        Of two servers with prefixes that is no doing of who put them together, so the log says it, once. Their names
        differ; URIs that take no prefix need not.
        """
        if len(self._bare) < 2 and not self._hidden and kind not in _URIS:
            return shelves
        behind: dict[str, set[str]] = {}
        for (first, second), names in merge.twice((name, shelf.own) for name, shelf in shelves).items():
            behind.setdefault(second, set()).update(names)
            self._tell(kind, first, second, names)
        layered: list[tuple[str, Shelf]] = []
        for name, shelf in shelves:
            out = behind.get(name, ())
            items = [each for each in shelf.items if each.shown not in out and (kind, each.shown) not in self._hidden]
            is_whole = len(items) == len(shelf.items)
            layered.append((name, shelf if is_whole else Shelf(items, shelf.until, shelf.is_public)))
        return layered

    def _tell(self, kind: str, first: str, second: str, names: list[str]) -> None:
        both = [self._by_name.get(first), self._by_name.get(second)]
        is_meant = any(each is None or not each.face.prefix or each.spec.owned is not None for each in both)
        if not is_meant and (kind, first, second) not in self._told:
            self._told.add((kind, first, second))
            _log.warning("%s", merge.collision(kind, first, second, names))

    def simple(self, method: str, params: Members) -> Route | None:
        """Where a request goes that names one thing by a member of its own; None where only a list or an error says."""
        kind = NAMED.get(method)
        shown = string(params.get(KEYS[kind])) if kind is not None else None
        if kind is None or shown is None:
            return None
        found = self._found.get((kind, shown))
        if found is None:
            with suppress(Fault):
                found = self.find(Wanted(kind, shown))
        return found

    def find(self, asked: Wanted) -> Route | None:
        """Where something is; None where only the catalog knows.

        Raises:
            FrontFault: it is nowhere.
        """
        found = self._found.get(asked)
        if found is None:
            found = self._find(asked)
            if found is not None:
                found = found._replace(text=found.member.face.text(asked.kind, found.own))
            if found is not None and self._is_lasting and len(asked.shown) <= limits.ROUTE_LONGEST:
                if len(self._found) >= limits.ROUTES_REMEMBERED:
                    self._found.clear()
                self._found[asked] = found
        return found

    def _find(self, asked: Wanted) -> Route | None:
        kind, shown = asked
        if (kind, shown) in self._hidden:
            raise _nowhere(asked)
        for member in self._known:
            has_it = member.spec.owned is not None and member.spec.owned.has(kind, shown)
            if has_it and (own := member.face.own(kind, shown)) is not None:
                return Route(member, own)
        is_uri = kind in _URIS
        if is_uri and any(may_make(template, shown) for template in self._hidden_templates):
            return None  # it is there only if it is listed otherwise
        if not is_uri and any(is_shortened(shown, longest) for longest in self._lengths):
            return None
        split = self._split(asked)
        if split is None and not self._unknown and not (is_uri and self._by_prefix):
            raise _nowhere(asked)
        if split is None and (
            len(self._unknown) != 1 or (is_uri and self._by_prefix and join_uri("x", shown) == shown)
        ):
            return None
        member, rest = (self._by_prefix[split[0]], split[1]) if split is not None else (self._unknown[0], shown)
        own = member.face.own(kind, rest)
        if own is None:
            raise _nowhere(asked)
        return Route(member, own)

    def _split(self, asked: Wanted) -> tuple[str, str] | None:
        split = self._namespace.split_uri if asked.kind in _URIS else self._namespace.split_name
        return split(asked.shown)

    async def seek(self, asked: Wanted, catalog: Catalog, asker: Asker) -> Route:
        """Where something is that only the catalog knows.

        A URI that a back calls its own, and no other back does, is that back's: servers write them into texts, which
        nobody rewrites. Of all that a template may make, only what the back's face shows is there.

        Raises:
            Fault: it is nowhere, or a member that might have it is out.
        """
        split = self._split(asked)
        is_uri = asked.kind in _URIS
        if not is_uri and split is not None and not self._unknown:  # what has no prefix may be called anything
            return await self._seek_shortened(asked, self._by_prefix[split[0]], split[1], catalog, asker)
        missing: dict[str, str] = {}
        owners: list[Member] = []
        for method in _LISTS[asked.kind]:
            whole = await catalog.whole(method, asker, self)
            missing |= {each.name: each.why for each in whole.missing}
            for name, shelf in whole.shelves:
                member = self._by_name.get(name)
                if member is None:  # it came after these routes
                    continue
                own = shelf.find(asked.shown, is_template=method == "resources/templates/list")
                if own == asked.shown and split is not None and member is self._by_prefix[split[0]]:
                    own = split[1]  # a template of its own makes it
                is_shown = not is_uri or member.face.own(asked.kind, own or asked.shown) is not None
                if own is not None and is_shown:
                    return Route(member, own)
                if is_uri and is_shown and member not in owners and shelf.has_own(asked.shown):
                    owners.append(member)
        owners = [each for each in owners if (asked.kind, each.face.shown(*asked)) not in self._hidden]
        if len(owners) == 1 and not missing:
            return Route(owners[0], asked.shown)
        if not is_uri and not missing and split is not None:
            return self._whole_name(asked, self._by_prefix[split[0]], split[1])
        raise _nowhere(asked, missing)

    async def _seek_shortened(
        self, asked: Wanted, member: "Member", rest: str, catalog: Catalog, asker: Asker
    ) -> Route:
        """Where a shortened name of one member's is: of such a name the prefix is right."""
        (method,) = _LISTS[asked.kind]
        shelf = await catalog.shelf(method, asker, member)
        own = shelf.find(asked.shown, is_template=False) if shelf is not None else None
        return Route(member, own) if own is not None else self._whole_name(asked, member, rest)

    def _whole_name(self, asked: Wanted, member: "Member", rest: str) -> Route:
        """A name that only looks as if it was shortened."""
        own = member.face.own(asked.kind, rest)
        if own is None:
            raise _nowhere(asked)
        return Route(member, own)


def _nowhere(asked: Wanted, missing: dict[str, str] | None = None) -> Fault:
    what = {"tools": "tool", "prompts": "prompt"}.get(asked.kind, "resource")
    hint = f" It may be of {', '.join(missing)}, which can't be asked now." if missing else ""
    data: Any = {"uri": asked.shown} if asked.kind == "resources" else None
    return FrontFault(
        f"No server has the {what} {asked.shown[:200]!r}.{hint} List the {what}s for those that there are.",
        code=INVALID_PARAMS,
        data=data,
    )
