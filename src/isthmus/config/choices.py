"""`tools`, `prompts` and `resources` of a server, made into the values that `routing` takes."""

import json
from collections.abc import Mapping

from isthmus.config.document import Node
from isthmus.routing.choice import Choice, Edit, Part


def choice_of(own: Mapping[str, Node]) -> Choice:
    """The choice in a server's own settings, which were checked.

    Raises:
        ConfigError: two things would have one name.
    """
    return Choice(**{kind: _part(own[kind].value) for kind in ("tools", "prompts", "resources") if kind in own})


def _part(said: Mapping[str, Node]) -> Part:
    items: Mapping[str, Node] = said["items"].value if "items" in said else {}
    allow = tuple(said["allow"].plain()) if "allow" in said else None
    _refuse_same(items, allow or ())
    deny = tuple(said["deny"].plain()) if "deny" in said else ()
    return Part(allow=allow, deny=deny, edits=tuple((own, _edit(each.value)) for own, each in items.items()))


def _edit(said: Mapping[str, Node]) -> Edit:
    arguments: Mapping[str, Node] = said["arguments"].value if "arguments" in said else {}
    hidden = [name for name, each in arguments.items() if "hidden" in each.value and each.value["hidden"].value]
    fixed = [
        (name, json.dumps(each.value["fixed"].plain(), ensure_ascii=False).encode())
        for name, each in arguments.items()
        if "fixed" in each.value
    ]
    return Edit(
        rename=said["rename"].value if "rename" in said else None,
        description=said["description"].value if "description" in said else None,
        hidden=tuple(name for name in hidden if name not in dict(fixed)),
        fixed=tuple(fixed),
    )


def _refuse_same(items: Mapping[str, Node], allow: tuple[str, ...]) -> None:
    """No name may be given to two things, nor be that of a thing that keeps its own.

    Raises:
        ConfigError: one is.
    """
    renamed = {own: each.value["rename"] for own, each in items.items() if "rename" in each.value}
    first: dict[str, tuple[str, Node]] = {}
    for own, new in renamed.items():
        name = new.value
        if name in first:
            other, at = first[name]
            raise new.wrong(
                f"{own!r} and {other!r} ({at.at}) would both be called {name!r}. Give one of them another name."
            )
        first[name] = (own, new)
        if name != own and name not in renamed and (name in items or name in allow):
            where = f" ({items[name].key_at})" if name in items else ", which 'allow' names"
            raise new.wrong(f"{own!r} would be called {name!r} like another one{where}. Rename that one, too.")
