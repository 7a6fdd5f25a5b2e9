"""`Mcp-Param-*`: tool arguments mirrored into HTTP headers, as the tool's `x-mcp-header` annotations say.

Source: 2026-07-28 basic/transports/streamable-http, *Custom Headers from Tool Parameters*.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from isthmus.wire.headers import decode_value, encode_value

ANNOTATION: Final = "x-mcp-header"
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_TYPES: Final = ("integer", "string", "boolean")
_SAFE: Final = (1 << 53) - 1


class Mirrored(NamedTuple):
    """One annotated parameter: its header's name, lower case, and the chain of `properties` keys that leads to it."""

    header: str
    path: tuple[str, ...]


def read_schema(schema: Any) -> tuple[Mirrored, ...] | str:
    """The annotated parameters of a tool's `inputSchema`, or the sentence that says which rule it breaks."""
    found: list[Mirrored] = []
    reachable = 0
    for path, annotated in _properties(schema, ()):
        reachable += 1
        header = annotated[ANNOTATION]
        if not isinstance(header, str) or not _TOKEN.match(header):
            return f"{ANNOTATION} {header!r} is not an HTTP field name"
        if annotated.get("type") not in _TYPES:
            return f"{ANNOTATION} {header!r} stands on a parameter that is no integer, string or boolean"
        found.append(Mirrored(f"mcp-param-{header.lower()}", path))
    if len({each.header for each in found}) != len(found):
        return f"two {ANNOTATION} annotations give the same header"
    if _count(schema) != reachable:
        return f"{ANNOTATION} stands where it can't be reached through properties alone"
    return tuple(found)


def mirror(mirrored: tuple[Mirrored, ...], arguments: Any) -> dict[str, str]:
    """The headers that a call with these arguments must carry, by lower-case name, encoded."""
    headers = {}
    for each in mirrored:
        text = _text(_value(each, arguments))
        if text is not None:
            headers[each.header] = encode_value(text)
    return headers


def mismatch(mirrored: tuple[Mirrored, ...], arguments: Any, headers: Mapping[str, str]) -> str | None:
    """What is wrong with a call's `Mcp-Param-*` headers; None if nothing is."""
    for each in mirrored:
        value = _value(each, arguments)
        meant = _text(value)
        said = headers.get(each.header)
        if said is None and meant is None:
            continue
        if said is None:
            return f"Header mismatch: the {each.header} header is missing; it must mirror the argument."
        plain = decode_value(said)
        if plain is None or not _is_same(plain, value, meant):
            return f"Header mismatch: the {each.header} header does not match the argument."
    return None


def _properties(schema: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
        return
    for name, below in schema["properties"].items():
        if isinstance(below, dict):
            if ANNOTATION in below:
                yield (*path, name), below
            yield from _properties(below, (*path, name))


def _count(node: Any) -> int:
    """Annotations anywhere in a schema; a property that is itself called x-mcp-header holds a schema, not a name."""
    if isinstance(node, list):
        return sum(_count(each) for each in node)
    if not isinstance(node, dict):
        return 0
    own = 1 if ANNOTATION in node and not isinstance(node[ANNOTATION], dict) else 0
    return own + sum(_count(each) for each in node.values())


def _value(mirrored: Mirrored, arguments: Any) -> Any:
    for key in mirrored.path:
        if not isinstance(arguments, dict):
            return None
        arguments = arguments.get(key)
    return arguments


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    return value if isinstance(value, str) else None


def _is_same(said: str, value: Any, meant: str | None) -> bool:
    """ "servers SHOULD compare the header value and the body value numerically" where the value is an integer."""
    if meant is None or said == meant:
        return said == meant
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return float(said) == float(value) and abs(float(value)) <= _SAFE
    except ValueError:
        return False
