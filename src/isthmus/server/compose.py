"""What a `FastMCP` is made of, as the members of one front: the first that has a name wins.

Local components, copies of mirrored ones, mounted servers (the latest first), then what is proxied. A copy stands
beside the server that it was made from, in the same sessions, with another face: what passes a call of it is what
passes a call of the original. Where that server is another proxy's, it comes along, and shows nothing else.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from isthmus.engine.member import Nested, Spec
from isthmus.engine.settings import Settings
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face
from isthmus.routing.namespace import Namespace
from isthmus.transports.memory import target_of

if TYPE_CHECKING:
    from isthmus.components.component import Component
    from isthmus.components.local import LocalServer

PARTS: Final = {"tools": "tools", "prompts": "prompts", "resources": "resources", "resourceTemplates": "resources"}
"""The kinds, and the part of a `Choice` that each is in."""
_NOTHING: Final = Part(allow=())
_SHUT: Final = Face(None, Choice(tools=_NOTHING, prompts=_NOTHING, resources=_NOTHING))


@dataclass(frozen=True, slots=True)
class Only:
    """One thing that a member has (`engine.member.Owned`)."""

    kind: str
    shown: str

    def has(self, kind: str, shown: str) -> bool:
        """Whether it is this one."""
        if self.kind == "resourceTemplates" and kind == "resources":
            from isthmus.many.catalog import may_make

            return may_make(self.shown, shown)
        return kind == self.kind and shown == self.shown


def is_apart(component: "Component") -> bool:
    """Whether a component is a copy of a mirrored one that can run where that one does.

    Not those that change more than passes through a proxy, nor resources that are known by another URI here.
    """
    mirror = component.mirror
    if mirror is None or not isinstance(mirror.member, Spec):
        return False
    from isthmus.components.edits import edit_of

    is_named = PARTS[mirror.kind] != "resources" or component.key == mirror.own
    return is_named and edit_of(component) is not None


def copies(
    components: "Iterable[Component]", proxied: Sequence[Spec], shows: "Callable[[Component], bool]"
) -> tuple[list[Spec], list[Spec]]:
    """Copies of mirrored components as members, and the servers of other proxies that they stand beside.

    Args:
        components: the copies; each `is_apart`.
        proxied: the servers that are members anyway.
        shows: whether clients see a copy; the server of one that they don't stays, for when they do again.
    """
    found: list[Spec] = []
    abroad: list[tuple[Spec, Spec]] = []
    for each in components:
        main = each.mirror.member if each.mirror is not None else None
        assert isinstance(main, Spec)
        here = main if main in proxied else next((known for there, known in abroad if there == main), None)
        if here is None:
            here = replace(main, name=f"{main.name} of another proxy, {len(abroad) + 1}", face=_SHUT)
            abroad.append((main, here))
        if shows(each):
            found.append(_beside(main, here.name, each))
    return found, [here for _, here in abroad]


def _beside(main: Spec, name: str, component: "Component") -> Spec:
    """A copy of a mirrored component, as a member.

    Args:
        main: the server that it was mirrored from.
        name: what that is called here.
        component: the copy.
    """
    from isthmus.components.edits import edit_of

    mirror, shown = component.mirror, component.key
    assert mirror is not None
    own, is_resource = own_name(main, mirror.kind, mirror.own), PARTS[mirror.kind] == "resources"
    edit = edit_of(component) or Edit()
    if not is_resource:
        edit = replace(edit, rename=shown if shown != own else None)
    denied = getattr(main.face.choice, PARTS[mirror.kind]).deny  # a template may make it
    part = Part(allow=(own,), deny=denied, edits=((own, edit),) if edit != Edit() else ())
    parts = {name: part if name == PARTS[mirror.kind] else _NOTHING for name in ("tools", "prompts", "resources")}
    return Spec(
        name=f"{name} {mirror.kind} {shown}",
        target=main.target,
        settings=main.settings,
        face=Face(main.face.prefix if is_resource else None, Choice(**parts)),
        beside=name,
        owned=Only(mirror.kind, shown),
    )


def own_name(spec: Spec, kind: str, shown: str) -> str:
    """What a server itself calls what clients know as `shown`."""
    rest = shown
    if spec.face.prefix:
        space = Namespace([spec.face.prefix])
        split = space.split_name(shown) if kind in ("tools", "prompts") else space.split_uri(shown)
        rest = split[1] if split is not None else shown
    return spec.face.own(kind, rest) or rest


def local(name: str, components: "LocalServer", settings: Settings) -> Spec:
    """The local components as a member: a server of the SDK in this process.

    Args:
        name: what they are called in errors.
        components: them.
        settings: how they are stood before.
    """
    return Spec(
        name=name,
        target=target_of(components.server),
        settings=replace(settings, isolation="session"),
        owned=components,
        hears_headers=True,
    )


def mounted(name: str, prefix: str | None, nested: Nested, settings: Settings, choice: Choice | None = None) -> Spec:
    """Another server as a member.

    Args:
        name: what it is called in errors.
        prefix: before its names; None for none.
        nested: the server.
        settings: how it is stood before.
        choice: what of it is shown; everything if not given.
    """
    return Spec(name=name, target=nested, settings=settings, face=Face(prefix, choice or Choice()))


def snapshot(names: Mapping[str, Iterable[str]]) -> Choice:
    """Exactly these things, whatever comes later.

    Args:
        names: own names, URIs or templates by part (`tools`, `prompts`, `resources`).
    """
    return Choice(**{part: Part(allow=tuple(own)) for part, own in names.items()})
