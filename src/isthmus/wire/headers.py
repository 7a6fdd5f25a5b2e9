"""Values in HTTP headers, and the base64 form of those that plain ASCII can't carry.

Source: 2026-07-28 `basic/transports/streamable-http`, *Value Encoding*.
"""

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

from isthmus.limits import HEADS_REMEMBERED, ROUTE_LONGEST

_PREFIX: Final = "=?base64?"
_SUFFIX: Final = "?="
_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?\Z")
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\Z")


class Headers(dict[str, str]):
    """A message's header fields by lower-case name, repeated ones joined by ", "; nobody changes them.

    `relayed`: the lines made from them that a proxy sends on, kept by whoever made them.
    """

    __slots__ = ("relayed",)

    def __init__(self) -> None:
        super().__init__()
        self.relayed: bytes | None = None


def encode_value(value: str) -> str:
    """The header's value for `value`: itself where it is safe ASCII, else its base64 form."""
    marked = value.startswith(_PREFIX) and value.endswith(_SUFFIX)
    if (value == "" or _PLAIN.match(value)) and not marked:
        return value
    return _PREFIX + base64.b64encode(value.encode("utf-8", "surrogatepass")).decode() + _SUFFIX


def mirrored_lines(version: str, method: str, name: str | None = None) -> bytes:
    """The header lines that every modern request carries: its revision, its method, and what its method routes by."""
    if max(len(method), len(name or "")) > ROUTE_LONGEST:
        return _write_lines.__wrapped__(version, method, name)
    return _write_lines(version, method, name)


@lru_cache(HEADS_REMEMBERED)
def _write_lines(version: str, method: str, name: str | None) -> bytes:
    text = f"MCP-Protocol-Version: {version}\r\nMcp-Method: {encode_value(method)}\r\n"
    if name is not None:
        text += f"Mcp-Name: {encode_value(name)}\r\n"
    return text.encode("ascii")


def decode_value(value: str) -> str | None:
    """What a header's value says; None where it holds characters that it may not, or broken base64."""
    if value.startswith(_PREFIX) and value.endswith(_SUFFIX) and len(value) >= len(_PREFIX) + len(_SUFFIX):
        text = value[len(_PREFIX) : -len(_SUFFIX)]
        if not _BASE64.match(text):
            return None
        try:
            return base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass")
        except (binascii.Error, UnicodeDecodeError):
            return None
    return value if value == "" or _PLAIN.match(value) else None
