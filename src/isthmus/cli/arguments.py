"""`key=value` and `key:=json`: a tool's arguments as they are typed, and made to fit its schema.

`=` gives a string, `:=` JSON, `=@` and `:=@` take it from a file, a lone `-` reads the whole object from stdin. What
was given as a string for an argument that can't be one is converted: numbers, booleans, null, JSON for objects and
arrays; a word for an array is its one item, and a key that comes again adds to its array. `:=` is never converted.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from isthmus.errors import ConfigError

_SEPARATOR: Final = re.compile(r":=@|:=|=@|=")
_TRUE: Final = frozenset(("true", "yes", "on", "1"))
_FALSE: Final = frozenset(("false", "no", "off", "0"))


class Typed(NamedTuple):
    """One argument that was typed: a string that may be converted, or a value that may not."""

    key: str
    value: Any
    is_text: bool


def read_words(words: Sequence[str]) -> list[Typed]:
    """What stands behind the tool's name.

    Raises:
        ConfigError: a word is not of the form, or a file or stdin can't be read.
    """
    found: list[Typed] = []
    for word in words:
        found += [Typed(*member, False) for member in _from_stdin().items()] if word == "-" else [_read(word)]
    return found


def fit_arguments(typed: Sequence[Typed], schema: Any) -> dict[str, Any]:
    """The arguments, made to fit the tool's `inputSchema`, which may be anything if that is not known.

    Raises:
        ConfigError: a value doesn't fit.
    """
    found: dict[str, Any] = {}
    properties = schema.get("properties") if isinstance(schema, dict) else None
    for each in typed:
        known = properties.get(each.key) if isinstance(properties, dict) else None
        try:
            value = fit(each.key, each.value, known) if each.is_text else each.value
        except ConfigError as error:
            raise ConfigError(f"{error} Write {each.key}:=JSON to give it as it is.") from None
        if each.key in found:
            before = found[each.key]
            if not isinstance(before, list) or not isinstance(value, list):
                raise ConfigError(f"{each.key!r} is given twice, and is no array. Give it once.")
            value = before + value
        found[each.key] = value
    return found


def fit(key: str, text: str, schema: Any) -> Any:
    """What a string means where the schema doesn't take strings; the string itself where it does or says nothing.

    Raises:
        ConfigError: it can't mean anything there.
    """
    kinds = _kinds(schema)
    if not kinds or "string" in kinds:
        return text
    for kind in kinds:
        value = _convert(key, text, kind, schema)
        if value is not _NOTHING:
            return value
    raise ConfigError(f"{key!r} takes {' or '.join(kinds)}, and {text!r} is none.")


_NOTHING: Final = object()


def _convert(key: str, text: str, kind: str, schema: Any) -> Any:
    """The text as a value of this kind; `_NOTHING` where it is none."""
    if kind == "boolean":
        word = text.strip().lower()
        return word in _TRUE if word in _TRUE | _FALSE else _NOTHING
    value = _json(text)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer":
        is_whole = is_number and (isinstance(value, int) or value.is_integer())
        return value if is_whole else _NOTHING
    if kind == "number":
        return value if is_number else _NOTHING
    if kind == "null":
        return None if text in ("", "null") else _NOTHING
    if kind == "object":
        return value if isinstance(value, dict) else _NOTHING
    if kind == "array":
        return value if isinstance(value, list) else [fit(key, text, schema.get("items"))]
    return _NOTHING


def _kinds(schema: Any) -> list[str]:
    """The types that a schema allows; none where it doesn't say."""
    if not isinstance(schema, dict):
        return []
    kinds = schema.get("type")
    if isinstance(kinds, str):
        return [kinds]
    if isinstance(kinds, list):
        return [str(kind) for kind in kinds]
    choices = schema.get("anyOf") or schema.get("oneOf")
    found = [_kinds(choice) for choice in choices] if isinstance(choices, list) else []
    return [kind for each in found for kind in each] if all(found) else []


def _read(word: str) -> Typed:
    match = _SEPARATOR.search(word)
    if match is None or match.start() == 0:
        raise ConfigError(
            f"{word!r} is no argument. Write key=text, key:=JSON, key=@file, or - for an object on stdin."
        )
    key, value, mark = word[: match.start()], word[match.end() :], match.group()
    if mark.endswith("@"):
        value = _from_file(value)
    if not mark.startswith(":"):
        return Typed(key, value, True)
    parsed = _json(value)
    if parsed is _NOTHING:
        raise ConfigError(f"What is given for {key!r} is not JSON: {value[:80]!r}. Write {key}=… for a plain string.")
    return Typed(key, parsed, False)


def _from_file(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"The file {name!r} can't be read: {error}.") from None


def _from_stdin() -> dict[str, Any]:
    try:
        value = json.load(sys.stdin)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"What is on stdin is not JSON: {error}.") from None
    if not isinstance(value, dict):
        raise ConfigError("What is on stdin must be a JSON object: the tool's arguments.")
    return value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOTHING
