"""Which of a server's things are shown, and with what changed. Values: a reload compares them.

An entry of `allow` and `deny`, and the key of an edit, is the server's own name, URI or template. Entries may also be
shell patterns (`*` for anything, `?`, `[…]`), and templates, which stand for the URIs that they expand to (RFC 6570:
`{x}` for anything without `/`, `?` and `#`, the forms with an operator for anything). URIs are judged as
`spelling` reads them.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from isthmus.routing import patterns
from isthmus.routing.spelling import head_of, is_twisted, pieces, readings

_KINDS: Final = (
    (re.compile(r"(\*|\?|\[!?+\]?+[^\]]*\])"), patterns.of_shell),
    (re.compile(r"(\{[^{}]*\})"), patterns.of_template),
)


def _refuse_repeated(names: list[str], why: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name!r} {why}")
        seen.add(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """What is changed of one thing.

    `rename`: its name instead (a resource's or template's `name`; its URI stays). `title`, `description`: instead of
    its own. Of a tool also: `hidden`, arguments that clients neither see nor give; `fixed`, arguments hidden too that
    every call has, as pairs of the name and the value's JSON text.
    """

    rename: str | None = None
    title: str | None = None
    description: str | None = None
    hidden: tuple[str, ...] = ()
    fixed: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The choice among things of one kind.

    `allow`: entries of what is shown, None for everything. `deny`: entries of what is not, allowed or not. `edits`:
    pairs of an own name or URI and its edit.

    Raises:
        ValueError: two things are to get one name, or one is edited twice.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    edits: tuple[tuple[str, Edit], ...] = ()

    def __post_init__(self) -> None:
        _refuse_repeated([own for own, _ in self.edits], "is edited twice. Make one edit of the two.")
        names = [edit.rename for _, edit in self.edits if edit.rename is not None]
        _refuse_repeated(names, "is the new name of two. Give each its own.")


_EVERYTHING: Final = Part()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choice among all of a server's things; `resources` is that among its resource templates too.

    Raises:
        ValueError: arguments of something other than a tool are hidden or fixed.
    """

    tools: Part = _EVERYTHING
    prompts: Part = _EVERYTHING
    resources: Part = _EVERYTHING

    def __post_init__(self) -> None:
        for own, edit in (*self.prompts.edits, *self.resources.edits):
            if edit.hidden or edit.fixed:
                raise ValueError(f"{own!r}: only a tool's arguments can be hidden or fixed.")


def judge_of(part: Part, *, is_uri: bool = False) -> Callable[[str], bool]:
    """Whether an own name, URI or template is shown, as a function.

    Args:
        part: the choice.
        is_uri: whether it is among URIs. One is denied if it is in any of its readings (`spelling.readings`), with
            scheme and host in either case, and has to be allowed in all of them but the last, as it is spelled.
    """
    if part.allow is None and not part.deny:
        return lambda own: True
    if is_uri:
        return _judge_of_uris(part)
    denied, allowed = _matcher(part.deny, 0), _matcher(part.allow or (), 0)
    return lambda own: (part.allow is None or allowed(own)) and not denied(own)


def _judge_of_uris(part: Part) -> Callable[[str], bool]:
    denied = _matchers(part.deny, has_head=True)
    allowed = _matchers(part.allow, has_head=False)[:-1] if part.allow is not None else []

    def is_shown(uri: str) -> bool:
        texts = readings(uri)
        if any(is_denied(text) for is_denied, text in set(zip(denied, texts, strict=True))):
            return False
        if not allowed:
            return True
        said = set(zip(allowed, texts[:-1], strict=True))
        return not is_twisted(uri) and all(is_allowed(text) for is_allowed, text in said)

    return is_shown


def _matchers(entries: tuple[str, ...], *, has_head: bool) -> list[Callable[[str], bool]]:
    """For each reading whether it is one of the entries, or meant by it; the same where all are read alike."""
    places = range(len(readings("")))
    if all(len(set(readings(entry))) == 1 for entry in entries):
        return [_matcher(entries, 0, has_head=has_head)] * len(places)
    return [_matcher(entries, at, has_head=has_head) for at in places]


def _matcher(entries: tuple[str, ...], at: int, *, has_head: bool = False) -> Callable[[str], bool]:
    """Whether a text is an entry's reading of some number, or meant by it; with a head, whatever the head's case."""
    length: Callable[[str], int] = head_of if has_head else lambda text: 0
    exact = frozenset(_cased(text, length(text)) for text in (readings(entry)[at] for entry in entries))
    is_meant = patterns.matcher(form for entry in entries for form in _forms(entry, at))

    def is_entry(text: str) -> bool:
        head = length(text)
        return _cased(text, head) in exact or is_meant(text, head)

    return is_entry


def _cased(text: str, head: int) -> str:
    return text[:head].lower() + text[head:] if head else text


def _forms(entry: str, at: int) -> Iterator[list[str]]:
    """The patterns that an entry is which means more than itself."""
    for marks, meaning in _KINDS:
        split = pieces(entry, marks, at)
        if len(split) > 1:
            yield [part for i, piece in enumerate(split) for part in ((meaning(piece),) if i % 2 else piece)]
