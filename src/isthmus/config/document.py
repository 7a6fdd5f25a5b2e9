"""JSON with positions: a value knows where it stands, so that an error can say so.

What is read is JSON (RFC 8259) with what editors allow in settings: `//` and `/* */` comments, a comma after the last
item, a byte order mark. A key that is there twice is an error, because JSON's readers disagree about which one counts.
"""

import json
import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # unescapes; its stubs leave it out
from typing import Any, Final

from isthmus.errors import ConfigError
from isthmus.limits import CONFIG_BYTES, CONFIG_DEPTH

Value = "dict[str, Node] | list[Node] | str | int | float | bool | None"

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?(?![0-9.eE])")
_WORD: Final = re.compile(r"[\w.+-]{1,40}")
_WORDS: Final = {"true": True, "false": False, "null": None}
_PLAIN_KEY: Final = re.compile(r"[\w$-]+\Z")


@dataclass(frozen=True, slots=True)
class Node:
    """A value and its place: `FILE:LINE`, or in a mapping the path of its key.

    `key_at` is the place of the key before it. `is_secret` is set where a part of it came from outside the document.
    """

    value: Any
    at: str
    key_at: str
    is_secret: bool = False

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: each.plain() for key, each in self.value.items()}
        return [each.plain() for each in self.value] if isinstance(self.value, list) else self.value

    def wrong(self, why: str) -> ConfigError:
        """The error that this value is wrong."""
        return ConfigError(f"{self.at}: {why}")

    def wrong_key(self, why: str) -> ConfigError:
        """The error that this value's key is wrong."""
        return ConfigError(f"{self.key_at}: {why}")


def parse(raw: bytes, name: str) -> Node:
    """The document in a file's bytes.

    Args:
        raw: all of the file.
        name: what the file is called in errors.

    Raises:
        ConfigError: it is no such document; the sentence begins with `name:LINE`.
    """
    if len(raw) > CONFIG_BYTES:
        raise ConfigError(f"{name}:1: The file has {len(raw):,} bytes; a configuration has at most {CONFIG_BYTES:,}.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: The file is not UTF-8 here. Save it as UTF-8.") from None
    return _Reader(text, name).document()


def of_mapping(value: Any, name: str = "the configuration") -> Node:
    """The same for values of Python; a place is the path of keys that leads to it.

    Raises:
        ConfigError: a key is no string, something is no JSON value, or nests too deep.
    """
    return _node(value, "", name, 0)


def _node(value: Any, path: str, name: str, depth: int) -> Node:
    at = path or name
    if depth > CONFIG_DEPTH:
        raise ConfigError(f"{at}: It nests deeper than {CONFIG_DEPTH} levels.")
    if isinstance(value, Mapping):
        inside = {}
        for key, each in value.items():
            if not isinstance(key, str):
                raise ConfigError(f"{at}: The key {key!r} is no string. Write it as one.")
            inside[key] = _node(each, join(path, key), name, depth + 1)
        return Node(inside, at, at)
    if isinstance(value, list | tuple):
        return Node([_node(each, f"{path}[{at_}]", name, depth + 1) for at_, each in enumerate(value)], at, at)
    if value is not None and not isinstance(value, str | int | float):
        raise ConfigError(f"{at}: A {type(value).__name__} has no place in a configuration. Write it as a string.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{at}: {value!r} is no number that JSON has.")
    return Node(value, at, at)


def join(path: str, key: str) -> str:
    """The path of a key below another path: `a.b`, or `a["b c"]` where the key is no word."""
    if not _PLAIN_KEY.match(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


class _Reader:
    """A recursive descent over the text. Methods take the position and return the one behind what they read."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> Node:
        at = self._skip(0)
        node, end = self._value(at, at, 0)
        end = self._skip(end)
        if end < len(self._text):
            raise self._wrong(end, f"the end of the file was expected here, and there is {self._seen(end)}")
        return node

    def _place(self, at: int) -> str:
        # A line feed itself still belongs to the line that it ends.
        return f"{self._name}:{bisect_right(self._ends, at - 1) + 1}"

    def _wrong(self, at: int, why: str) -> ConfigError:
        return ConfigError(f"{self._place(at)}: {why[0].upper()}{why[1:]}.")

    def _seen(self, at: int) -> str:
        if at >= len(self._text):
            return "the end of the file"
        word = _WORD.match(self._text, at)
        return repr(word.group() if word else self._text[at])

    def _skip(self, at: int) -> int:
        """Over blanks and comments."""
        text = self._text
        while True:
            at = _BLANK.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            if text.startswith("//", at):
                end = text.find("\n", at)
                at = len(text) if end < 0 else end
            elif text.startswith("/*", at):
                end = text.find("*/", at + 2)
                if end < 0:
                    raise self._wrong(at, "the comment that begins here has no end; write */ behind it")
                at = end + 2
            else:
                return at

    def _value(self, at: int, key_at: int, depth: int) -> tuple[Node, int]:
        if depth > CONFIG_DEPTH:
            raise self._wrong(at, f"it nests deeper than {CONFIG_DEPTH} levels")
        first = self._text[at : at + 1]
        value: Any
        if first == "{":
            value, end = self._object(at, depth)
        elif first == "[":
            value, end = self._array(at, depth)
        elif first == '"':
            value, end = self._string(at)
        else:
            value, end = self._scalar(at)
        return Node(value, self._place(at), self._place(key_at)), end

    def _object(self, start: int, depth: int) -> tuple[dict[str, Node], int]:
        found: dict[str, Node] = {}
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "}":
            if self._text[at : at + 1] != '"':
                raise self._wrong(
                    at, f"a key in double quotes or '}}' was expected here, and there is {self._seen(at)}"
                )
            key, end = self._string(at)
            if key in found:
                raise self._wrong(
                    at, f"the key {key!r} is there twice, first at {found[key].key_at}; rename or remove one of them"
                )
            end = self._skip(end)
            if self._text[end : end + 1] != ":":
                raise self._wrong(end, f"a ':' was expected behind the key {key!r}, and there is {self._seen(end)}")
            found[key], end = self._value(self._skip(end + 1), at, depth + 1)
            at = self._next(end, "}")
        return found, at + 1

    def _array(self, start: int, depth: int) -> tuple[list[Node], int]:
        found: list[Node] = []
        at = self._skip(start + 1)
        while self._text[at : at + 1] != "]":
            node, end = self._value(at, at, depth + 1)
            found.append(node)
            at = self._next(end, "]")
        return found, at + 1

    def _next(self, at: int, close: str) -> int:
        """Over a comma; the position of the next item or of the end."""
        at = self._skip(at)
        if self._text[at : at + 1] == ",":
            return self._skip(at + 1)
        if self._text[at : at + 1] != close:
            raise self._wrong(at, f"a ',' or '{close}' was expected here, and there is {self._seen(at)}")
        return at

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = scanstring(self._text, at + 1, True)
        except json.JSONDecodeError as error:
            if error.pos == at:
                raise self._wrong(at, "the string that begins here has no end on its line") from None
            raise self._wrong(error.pos, f"in the string here is something that JSON can't have: {error.msg}") from None
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self._wrong(at, "the string here has half of a surrogate pair; write both or none") from None
        return value, end

    def _scalar(self, at: int) -> tuple[int | float | bool | None, int]:
        match = _NUMBER.match(self._text, at)
        if match is not None:
            value = float(match.group()) if match[1] or match[2] else int(match.group())
            if math.isfinite(value):
                return value, match.end()
            raise self._wrong(at, f"the number {match.group()} is too large")
        word = _WORD.match(self._text, at)
        if word is not None and word.group() in _WORDS:
            return _WORDS[word.group()], word.end()
        raise self._wrong(at, f"a value was expected here, and there is {self._seen(at)}; strings need double quotes")
