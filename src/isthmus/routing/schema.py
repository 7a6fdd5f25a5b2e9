"""A tool's arguments as clients see them."""

from msgspec import Raw

from isthmus.routing.choice import Edit
from isthmus.wire.codec import close_object, decode, encode, open_object
from isthmus.wire.envelope import Members


def missing_of(tool: Members, edit: Edit) -> list[str]:
    """The arguments that a tool requires and that no client could give, because they are hidden and have no value."""
    schema = open_object(tool["inputSchema"]) if edit.hidden and "inputSchema" in tool else None
    fixed = {name for name, _ in edit.fixed}
    return [name for name in _required(schema) if name in edit.hidden and name not in fixed] if schema else []


def hide(tool: Members, edit: Edit) -> None:
    """Take hidden and fixed arguments out. Paths: `inputSchema.properties`, `inputSchema.required`."""
    schema = open_object(tool["inputSchema"]) if "inputSchema" in tool else None
    if schema is None:
        return
    names = {*edit.hidden, *(name for name, _ in edit.fixed)}
    properties = open_object(schema["properties"]) if "properties" in schema else None
    if properties is not None:
        for name in names:
            properties.pop(name, None)
        schema["properties"] = Raw(close_object(properties))
    required = _required(schema)
    if not names.isdisjoint(required):
        schema["required"] = Raw(encode([name for name in required if name not in names]))
    tool["inputSchema"] = Raw(close_object(schema))


def _required(schema: Members) -> list[str]:
    required = decode(schema["required"]) if "required" in schema else []
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
