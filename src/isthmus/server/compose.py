"""What a `FastMCP` is made of, as the members of one front: the first that has a name wins.

Local components, copies of mirrored ones, mounted servers (the latest first), then what is proxied. A copy stands
beside the server that it was made from, in the same sessions, with another face: what passes a call of it is what
passes a call of the original.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from isthmus.engine.member import Nested, Spec
from isthmus.engine.settings import Settings
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face
from isthmus.routing.namespace import Namespace
from isthmus.transports.memory import target_of
from isthmus.wire.codec import encode

if TYPE_CHECKING:
    from isthmus.components.component import Component
    from isthmus.components.local import LocalServer

PARTS: Final = {"tools": "tools", "prompts": "prompts", "resources": "resources", "resourceTemplates": "resources"}
"""The kinds, and the part of a `Choice` that each is in."""
_NOTHING: Final = Part(allow=())


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


def beside(main: Spec, component: "Component") -> Spec:
    """A copy of a mirrored component, as a member.

    Args:
        main: the server that it was mirrored from.
        component: the copy.
    """
    mirror = component.mirror
    assert mirror is not None
    own = own_name(main, mirror.kind, mirror.own)
    edit = edit_of(component)
    part = Part(allow=(own,), edits=((own, edit),) if edit != Edit() else ())
    parts = {name: part if name == PARTS[mirror.kind] else _NOTHING for name in ("tools", "prompts", "resources")}
    shown = component.key
    return Spec(
        name=f"{main.name} {mirror.kind} {shown}",
        target=main.target,
        settings=main.settings,
        face=Face(None if PARTS[mirror.kind] != "resources" else main.face.prefix, Choice(**parts)),
        beside=main.name,
        owned=Only(mirror.kind, shown),
    )


def edit_of(component: "Component") -> Edit:
    """What is other about a copy than about what it was mirrored from."""
    changes, covered = component.changes(), getattr(component, "hidden", {})
    return Edit(
        rename=changes.get("name"),
        title=changes.get("title"),
        description=changes.get("description"),
        hidden=tuple(name for name, value in covered.items() if value is ...),
        fixed=tuple((name, encode(value)) for name, value in covered.items() if value is not ...),
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
