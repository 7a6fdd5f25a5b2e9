"""Which member a request goes to.

A name with a prefix goes to its member without a list. What carries no prefix of ours (shortened names, URIs that are
not rewritten) is looked up in the catalog.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from isthmus.errors import Fault, FrontFault
from isthmus.many.catalog import Asker, Catalog
from isthmus.routing.face import thing_of
from isthmus.routing.namespace import Namespace, is_shortened
from isthmus.wire.envelope import INVALID_PARAMS, Members

if TYPE_CHECKING:
    from isthmus.engine.member import Member


class Route(NamedTuple):
    """Where a request goes, and what it asks for under the back's own name."""

    member: "Member"
    own: str


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
    """The members, by what begins their names.

    Args:
        members: in the order of the configuration.
    """

    def __init__(self, members: Sequence["Member"]) -> None:
        self.members = tuple(members)
        self._by_prefix = {member.face.prefix: member for member in members if member.face.prefix}
        self._namespace = Namespace(self._by_prefix)
        self._bare = [member for member in members if not member.face.prefix]
        self._lengths = frozenset(member.face.longest for member in members)

    @property
    def sole(self) -> "Member | None":
        """The only member, where nothing of it is changed."""
        return self.members[0] if len(self.members) == 1 and self.members[0].face.is_plain else None

    def find(self, asked: Wanted) -> Route | None:
        """Where something is; None where only the catalog knows.

        Raises:
            FrontFault: it is nowhere.
        """
        is_uri = asked.kind in ("resources", "resourceTemplates")
        if not is_uri and any(is_shortened(asked.shown, longest) for longest in self._lengths):
            return None
        split = self._namespace.split_uri(asked.shown) if is_uri else self._namespace.split_name(asked.shown)
        if split is not None:
            member, rest = self._by_prefix[split[0]], split[1]
        elif len(self._bare) == 1 and len(self.members) == 1:
            member, rest = self._bare[0], asked.shown
        elif is_uri or self._bare:
            return None
        else:
            raise _nowhere(asked)
        own = member.face.own(asked.kind, rest)
        if own is None:
            raise _nowhere(asked)
        return Route(member, own)

    async def seek(self, asked: Wanted, catalog: Catalog, asker: Asker) -> Route:
        """Where something is that only the catalog knows.

        Raises:
            Fault: it is nowhere, or a member that might have it is out.
        """
        missing: dict[str, str] = {}
        for method in _LISTS[asked.kind]:
            whole = await catalog.whole(method, asker, self.members)
            missing |= {each.name: each.why for each in whole.missing}
            for name, shelf in whole.shelves:
                own = shelf.find(asked.shown, is_template=method == "resources/templates/list")
                if own is not None:
                    return Route(next(each for each in self.members if each.name == name), own)
        if not missing and (found := self._whole_name(asked)) is not None:
            return found
        raise _nowhere(asked, missing)

    def _whole_name(self, asked: Wanted) -> Route | None:
        """A name that only looks as if it was shortened."""
        split = self._namespace.split_name(asked.shown)
        if split is None or asked.kind not in ("tools", "prompts"):
            return None
        member = self._by_prefix[split[0]]
        own = member.face.own(asked.kind, split[1])
        return Route(member, own) if own is not None else None


def _nowhere(asked: Wanted, missing: dict[str, str] | None = None) -> Fault:
    what = {"tools": "tool", "prompts": "prompt"}.get(asked.kind, "resource")
    hint = f" It may be of {', '.join(missing)}, which can't be asked now." if missing else ""
    data: Any = {"uri": asked.shown} if asked.kind == "resources" else None
    return FrontFault(
        f"No server has the {what} {asked.shown[:200]!r}.{hint} List the {what}s for those that there are.",
        code=INVALID_PARAMS,
        data=data,
    )
