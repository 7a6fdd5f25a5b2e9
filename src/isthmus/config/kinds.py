"""Kinds of values, as data: what may stand under a key. Checking and the JSON schema both read them."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from isthmus.config.document import Node, join
from isthmus.errors import ConfigError
from isthmus.limits import CONFIG_NUMBER


@dataclass(frozen=True, slots=True)
class Text:
    """A string: one of a few, or one that a pattern matches whole; `words` say in prose what it must be."""

    words: str = "a string"
    one_of: tuple[str, ...] = ()
    pattern: str = ""


@dataclass(frozen=True, slots=True)
class Number:
    """A number of `least` or more, above it where `is_above`, and of `most` or less."""

    words: str
    least: float = 0
    most: float = CONFIG_NUMBER
    is_above: bool = True
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """`true` or `false`."""

    words: str = "true or false"


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    of: "Kind"
    words: str


@dataclass(frozen=True, slots=True)
class Names:
    """An object whose keys are names that its writer chose."""

    of: "Kind"
    words: str


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON."""

    words: str = "any JSON value"


@dataclass(frozen=True, slots=True)
class Either:
    """One of several kinds."""

    kinds: "tuple[Kind, ...]"
    words: str


@dataclass(frozen=True, slots=True)
class Record:
    """An object with the keys of a table.

    Args:
        title: what it is, as in "is no key of {title}".
        keys: those that mean something here.
        foreign: those that other programs write: whose they are, or what to write instead where ignoring one matters.
        words: what it is, in prose.
    """

    title: str
    keys: "Mapping[str, Key]"
    foreign: "Mapping[str, Foreign]" = field(default_factory=dict)
    words: str = "an object"


Kind = Text | Number | Flag | Items | Names | Anything | Either | Record


@dataclass(frozen=True, slots=True)
class Key:
    """What may stand under a key, and what it does; `expands`: whether `${…}` in it is replaced."""

    kind: Kind
    doc: str
    expands: bool = False


@dataclass(frozen=True, slots=True)
class Foreign:
    """A key of other programs. It has no effect here; `warning` says what to do where that matters."""

    whose: str
    warning: str = ""


_CLOSE: Final = 0.6
"""How near a word must be to count as a slip, of 1: two letters in five may differ."""
_SHAPES: Final = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


def shape(value: Any) -> str:
    """What a value is, in prose; never the value itself, which may be a secret."""
    return _SHAPES.get(type(value), "a number") if not isinstance(value, bool) else str(value).lower()


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant."""
    by_bare: dict[str, str] = {}
    for each in known:
        by_bare.setdefault(_bare(each), each)
    found = difflib.get_close_matches(_bare(word), by_bare, 1, _CLOSE)
    return by_bare[found[0]] if found else None


def _bare(word: str) -> str:
    return re.sub(r"[-_ ]", "", word[:100]).lower()


def check(node: Node, kind: Kind, path: str, others: Sequence[tuple[Record, str]] = ()) -> None:
    """Compare a value with its kind, all the way down.

    Args:
        node: the value.
        kind: what it must be.
        path: how the keys lead to it, for sentences.
        others: records elsewhere and where that is, to say where a key belongs that stands in the wrong one.

    Raises:
        ConfigError: it is something else, or has a key that there is not.
    """
    if not _fits(node.value, kind):
        raise _wrong(node, kind, path)
    match kind:
        case Text() if kind.one_of and node.value not in kind.one_of:
            raise _none_of(node, kind, path)
        case Items():
            for at, each in enumerate(node.value):
                check(each, kind.of, f"{path}[{at}]", others)
        case Names():
            for name, each in node.value.items():
                check(each, kind.of, join(path, name), others)
        case Either():
            _check_either(node, kind, path, others)
        case Record():
            _check_record(node, kind, path, others)


def _fits(value: Any, kind: Kind) -> bool:
    """Whether a value is of the kind, whatever is inside it."""
    match kind:
        case Text():
            return isinstance(value, str) and (not kind.pattern or re.fullmatch(kind.pattern, value) is not None)
        case Number():
            return _is_number(value, kind)
        case Flag():
            return isinstance(value, bool)
        case Items():
            return isinstance(value, list)
        case Names() | Record():
            return isinstance(value, dict)
    return True


def _check_either(node: Node, kind: Either, path: str, others: Sequence[tuple[Record, str]]) -> None:
    """The sentence is about the whole, unless an object or a list can only be one of the kinds."""
    errors: list[ConfigError] = []
    for each in kind.kinds:
        try:
            return check(node, each, path, others)
        except ConfigError as error:
            if isinstance(node.value, dict) and isinstance(each, Record):
                errors.append(error)
    raise errors[0] if errors else _wrong(node, kind, path)


def _check_record(node: Node, record: Record, path: str, others: Sequence[tuple[Record, str]]) -> None:
    for name, each in node.value.items():
        if name in record.keys:
            check(each, record.keys[name].kind, join(path, name), others)
        elif name not in record.foreign:
            raise each.wrong_key(_unknown(name, record, others))


def _unknown(name: str, record: Record, others: Sequence[tuple[Record, str]]) -> str:
    found = f"{name[:100]!r} is no key of {record.title}."
    for other, where in others:
        if name in other.keys and other is not record:
            return f"{found} It belongs {where}."
    near = nearest(name, record.keys)
    if near is not None:
        return f"{found} Did you mean {near!r}?"
    return f"{found} There are {', '.join(record.keys)}."


def _is_number(value: Any, kind: Number) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if kind.is_whole and value != int(value):
        return False
    return (value > kind.least if kind.is_above else value >= kind.least) and value <= kind.most


def _wrong(node: Node, kind: Kind, path: str) -> ConfigError:
    found = shape(node.value)
    if isinstance(kind, Text) and isinstance(node.value, str):
        found = "another string" if node.value else "an empty string"
    elif isinstance(kind, Number) and not isinstance(node.value, bool) and isinstance(node.value, int | float):
        if node.value > kind.most:
            return node.wrong(f"{path} is too large; it must be at most {kind.most:,.0f}.")
        found = f"{node.value:g}" if node.value > -CONFIG_NUMBER else "far below 0"
    return node.wrong(f"{path} is {found}; it must be {kind.words}.")


def _none_of(node: Node, kind: Text, path: str) -> ConfigError:
    near = nearest(node.value, kind.one_of)
    hint = f" Did you mean {near!r}?" if near is not None else ""
    return node.wrong(f"{path} is {node.value[:100]!r}, which is none of {', '.join(kind.one_of)}.{hint}")
