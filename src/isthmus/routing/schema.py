"""A tool's arguments as clients see them."""

from msgspec import Raw

from isthmus.protocol.edits import items_of
from isthmus.routing.choice import Edit
from isthmus.wire.codec import close_object, open_object, string
from isthmus.wire.envelope import Members


def missing_of(tool: Members, edit: Edit) -> list[str]:
    """The arguments that a tool requires and that no client could give, because they are hidden and have no value."""
    schema = open_object(tool["inputSchema"]) if edit.hidden and "inputSchema" in tool else None
    if schema is None:
        return []
    fixed = {name for name, _ in edit.fixed}
    required = map(string, _required(schema))
    return [name for name in required if name is not None and name in edit.hidden and name not in fixed]


def hide(tool: Members, edit: Edit) -> bool:
    """Take hidden and fixed arguments out. Paths: `inputSchema.properties`, `inputSchema.required`.

    Returns:
        Whether the tool has any of them.
    """
    schema = open_object(tool["inputSchema"]) if "inputSchema" in tool else None
    if schema is None:
        return False
    names = {*edit.hidden, *(name for name, _ in edit.fixed)}
    is_edited = False
    properties = open_object(schema["properties"]) if "properties" in schema else None
    if properties is not None and not names.isdisjoint(properties):
        for name in names:
            properties.pop(name, None)
        schema["properties"] = Raw(close_object(properties))
        is_edited = True
    required = _required(schema)
    kept = [item for item in required if string(item) not in names]
    if len(kept) < len(required):
        schema["required"] = Raw(b"[" + b",".join(kept) + b"]")
        is_edited = True
    if is_edited:
        tool["inputSchema"] = Raw(close_object(schema))
    return is_edited


def _required(schema: Members) -> list[bytes]:
    return items_of(schema["required"]) if "required" in schema else []
