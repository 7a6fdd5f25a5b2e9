"""A JSON scanner for what msgspec refuses although RFC 8259 allows it.

Two things make it necessary: escapes of lone surrogates (Node emits them when it cuts an emoji in half) and nesting
deeper than the interpreter's recursion limit leaves room for. It is also the judge of *spelling*: when a member's
name is written with escapes, or twice, msgspec's dict no longer tells how it was written, and this scanner does.

It is slow (about 0.3 µs a token), so nobody comes here unless msgspec said no or a backslash stands in a name.
Grammar: RFC 8259 §2–§7. Strings are not decoded, numbers are not converted: what is checked is syntax only.
"""

import json
import re
from typing import Final

from msgspec import Raw

from isthmus.limits import JSON_DEPTH

_TOKEN: Final = re.compile(
    rb"[ \t\n\r]*(?:"
    rb'(?P<string>"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*")'
    rb"|(?P<scalar>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9.+a-zA-Z-])|true|false|null)"
    rb"|(?P<mark>[\[\]{},:]))"
)
_SPACE: Final = re.compile(rb"[ \t\n\r]*")
_NAME: Final = re.compile(rb'[ \t\n\r]*[{,][ \t\n\r]*"([^"\\]*)"[ \t\n\r]*:[ \t\n\r]*')
_END: Final = re.compile(rb"[ \t\n\r]*}[ \t\n\r]*\Z")


class ScanError(ValueError):
    """The text is not JSON, or nests deeper than `limits.JSON_DEPTH`."""


class OddMembers(dict[str, Raw]):
    """An object's members, with the spelling of the names that are not written plainly."""

    __slots__ = ("spelled",)

    def __init__(self) -> None:
        super().__init__()
        self.spelled: dict[str, bytes] = {}

    def emit(self) -> bytes:
        """The object as JSON text, each name spelled as it came in."""
        parts = (self.spelled.get(name, b"") or json.dumps(name, ensure_ascii=False).encode() for name in self)
        return (
            b"{"
            + b",".join(name + b":" + bytes(value) for name, value in zip(parts, self.values(), strict=True))
            + b"}"
        )


def names_are_plain(text: bytes, members: dict[str, Raw]) -> bool:
    """Whether `members`, decoded from `text`, accounts for every byte but white space: no escaped or repeated name."""
    at = 0
    for name, value in members.items():
        found = _NAME.match(text, at)
        if found is None or found[1] != name.encode():
            return False
        raw = bytes(value)
        if not text.startswith(raw, found.end()):
            return False
        at = found.end() + len(raw)
    return not members or _END.match(text, at) is not None


def scan_members(text: bytes) -> OddMembers:
    """The members of the one JSON object that `text` is; of a repeated name, the last value.

    Raises:
        ScanError: `text` is not JSON, not an object, or nests deeper than `limits.JSON_DEPTH`.
    """
    at = _SPACE.match(text, 0).end()  # type: ignore[union-attr]  # matches the empty string too
    if text[at : at + 1] != b"{":
        raise ScanError("not an object")
    members = OddMembers()
    at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]
    if text[at : at + 1] == b"}":
        return _ended(text, at + 1, members)
    while True:
        name = _TOKEN.match(text, at)
        if name is None or name.lastgroup != "string":
            raise ScanError(f"a member's name was expected at byte {at}")
        at = _expect(text, name.end(), b":")
        start = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        at = _skip_value(text, start)
        token = name["string"]
        key: str = json.loads(token)
        members[key] = Raw(text[start:at])
        members.spelled[key] = token
        mark = _TOKEN.match(text, at)
        if mark is None or mark["mark"] not in (b",", b"}"):
            raise ScanError(f"',' or '}}' was expected at byte {at}")
        at = mark.end()
        if mark["mark"] == b"}":
            return _ended(text, at, members)


def scan_items(text: bytes) -> list[bytes]:
    """The raw texts of the items of the one JSON array that `text` is.

    Raises:
        ScanError: `text` is not JSON, not an array, or nests deeper than `limits.JSON_DEPTH`.
    """
    start = _SPACE.match(text, 0).end()  # type: ignore[union-attr]  # matches the empty string too
    if text[start : start + 1] != b"[" or _SPACE.match(text, _skip_value(text, start)).end() != len(text):  # type: ignore[union-attr]
        raise ScanError("not an array")
    items: list[bytes] = []
    at = _SPACE.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[at : at + 1] != b"]":
        end = _skip_value(text, at)
        items.append(text[at:end])
        mark = _TOKEN.match(text, end)
        at = end if mark is None or mark["mark"] != b"," else _SPACE.match(text, mark.end()).end()  # type: ignore[union-attr]
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
    return items


def _ended(text: bytes, at: int, members: OddMembers) -> OddMembers:
    if _SPACE.match(text, at).end() != len(text):  # type: ignore[union-attr]
        raise ScanError(f"more text after the object at byte {at}")
    return members


def _expect(text: bytes, at: int, mark: bytes) -> int:
    found = _TOKEN.match(text, at)
    if found is None or found["mark"] != mark:
        raise ScanError(f"{mark.decode()!r} was expected at byte {at}")
    return found.end()


def _skip_value(text: bytes, at: int) -> int:
    """Where the value that starts at `at` ends. The stack holds the closing mark of each open container."""
    stack: list[bytes] = []
    state = "value"
    while True:
        token = _TOKEN.match(text, at)
        if token is None:
            raise ScanError(f"a JSON token was expected at byte {at}")
        at = token.end()
        kind, mark = token.lastgroup, token["mark"]
        if state in ("value", "first") and (kind != "mark" or mark in (b"{", b"[")):
            if kind != "mark":
                state = "after"
            else:
                stack.append(b"}" if mark == b"{" else b"]")
                if len(stack) > JSON_DEPTH:
                    raise ScanError(f"nesting deeper than {JSON_DEPTH}")
                state = "first-name" if mark == b"{" else "first"
        elif state in ("name", "first-name") and kind == "string":
            at = _expect(text, at, b":")
            state = "value"
        elif (state in ("after", "first") and stack and mark == stack[-1]) or (state == "first-name" and mark == b"}"):
            stack.pop()
            state = "after"
        elif state == "after" and mark == b"," and stack:
            state = "name" if stack[-1] == b"}" else "value"
        else:
            raise ScanError(f"unexpected {token[0].strip()[:20]!r} at byte {token.start()}")
        if state == "after" and not stack:
            return at
