"""What a copy of a mirrored component changes, as a proxy can do it to what passes through."""

import json
from typing import TYPE_CHECKING, Final

from isthmus.components.component import Component, NotSet
from isthmus.components.tools import ProxyTool, covered
from isthmus.components.transform import TransformedTool
from isthmus.routing.choice import Edit

if TYPE_CHECKING:
    from typing import Any

_EDITED: Final = frozenset(("name", "title", "description", "tags", "parameters"))
"""Fields that an `Edit` has. Tags are what servers choose by; to clients a proxy shows those of the back."""


def edit_of(component: Component) -> Edit | None:
    """The edit that makes of the mirrored thing what this copy says.

    None if there is none: the component is no copy, or changes what no edit can (its `_meta`, its output schema, …, or
    a text to none at all). It then has to be run by itself.
    """
    mirror, changes = component.mirror, component.changes()
    if mirror is None or not changes.keys() <= _EDITED:
        return None
    hidden: dict[str, Any] = component.hidden if isinstance(component, ProxyTool | TransformedTool) else {}
    if "parameters" in changes and changes["parameters"] != covered(mirror.fields["parameters"], hidden):
        return None
    texts: dict[str, str | None] = {name: changes[name] for name in ("title", "description") if name in changes}
    if None in texts.values():
        return None
    return Edit(
        rename=changes.get("name"),
        hidden=tuple(name for name, value in hidden.items() if value is NotSet),
        fixed=tuple((name, json.dumps(value).encode()) for name, value in hidden.items() if value is not NotSet),
        **texts,
    )
