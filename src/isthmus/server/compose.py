"""What a `FastMCP` is made of, as the members of one front: the first that has a name wins.

Local components, copies of mirrored ones, mounted servers (the latest first), then what is proxied. A copy stands
beside the server that it was made from, in the same sessions, with another face: what passes a call of it is what
passes a call of the original.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from isthmus.engine.member import Nested, Spec
from isthmus.engine.settings import Settings
from isthmus.routing.choice import Choice, Edit, Part
from isthmus.routing.face import Face

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
    edit = edit_of(component.changes(), mirror.own, component.kind)
    part = Part(allow=(mirror.own,), edits=((mirror.own, edit),) if edit != Edit() else ())
    parts = {name: part if name == PARTS[mirror.kind] else _NOTHING for name in ("tools", "prompts", "resources")}
    shown = component.name if PARTS[mirror.kind] != "resources" else mirror.own
    return Spec(
        name=f"{main.name} {mirror.kind} {shown}",
        target=main.target,
        settings=main.settings,
        face=Face(main.face.prefix, Choice(**parts)),
        beside=main.name,
        owned=Only(mirror.kind, shown),
    )


def edit_of(changes: dict[str, Any], own: str, kind: str) -> Edit:
    """What is other about a copy.

    Args:
        changes: its fields that differ from what they were mirrored from.
        own: the name there.
        kind: of component.
    """
    name = changes.get("name")
    return Edit(
        rename=name if name != own or PARTS[kind] == "resources" else None,
        title=changes.get("title"),
        description=changes.get("description"),
        hidden=tuple(changes.get("hidden", ())),
        fixed=tuple(changes.get("fixed", ())),
    )


def local(name: str, components: "LocalServer", settings: Settings) -> Spec:
    """The local components as a member: a server of the SDK in this process.

    Args:
        name: what they are called in errors.
        components: them.
        settings: how they are stood before.
    """
    return Spec(
        name=name, target=components.target(), settings=replace(settings, isolation="session"), owned=components
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
