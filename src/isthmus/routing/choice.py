"""Which of a server's things are shown, and with what changed. Values: a reload compares them.

An entry of `allow` and `deny`, and the key of an edit, is the server's own name, URI or template. Entries may also be
shell patterns (`*` for anything, `?`, `[…]`), and templates, which stand for the URIs that they expand to (RFC 6570:
`{x}` for anything without `/`, `?` and `#`, the forms with an operator for anything). URIs are judged as
`spelling` reads them.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import translate
from typing import Final

from isthmus.routing.spelling import readings

_EXPRESSION: Final = re.compile(r"\{([+#./;?&]?)[^{}]*\}")


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
        is_uri: whether it is among URIs. One is denied if it is in any of its readings (`spelling.readings`), and has
            to be allowed in all of them.
    """
    if part.allow is None and not part.deny:
        return lambda own: True
    if not is_uri:
        return _judge(part, 0)
    judges = [_judge(part, at) for at in range(len(readings("")))]
    return lambda own: all(is_shown(text) for is_shown, text in zip(judges, readings(own), strict=True))


def _judge(part: Part, at: int) -> Callable[[str], bool]:
    """Whether a text that is a thing's reading of some number is shown."""
    denied = _matcher(part.deny, at)
    if part.allow is None:
        return lambda text: not denied(text)
    allowed = _matcher(part.allow, at)
    return lambda text: allowed(text) and not denied(text)


def _matcher(entries: Iterable[str], at: int) -> Callable[[str], bool]:
    """Whether a text is an entry's reading of some number, or meant by it."""
    exact = frozenset(readings(entry)[at] for entry in entries)
    forms = [form for entry in sorted(entries) for form in _forms(entry, at)]
    if not forms:
        return exact.__contains__
    matched = re.compile("|".join(f"(?:{form})" for form in forms)).match
    return lambda text: text in exact or matched(text) is not None


def _forms(entry: str, at: int) -> list[str]:
    """The regular expressions of an entry that means more than itself."""
    is_pattern = any(mark in entry for mark in "*?[")
    forms = [translate(readings(entry, is_pattern=True)[at])] if is_pattern else []
    if _EXPRESSION.search(entry):
        forms.append(_expansions(readings(entry)[at]))
    return forms


def _expansions(template: str) -> str:
    """What a template expands to, as a regular expression.

    Expressions side by side are one: each way to divide a text among them would be tried.
    """
    parts: list[str] = []
    at = 0
    for found in _EXPRESSION.finditer(template):
        wild, is_beside = ".*" if found[1] else "[^/?#]*", found.start() == at and len(parts) > 0
        if is_beside:
            parts[-1] = ".*" if ".*" in (wild, parts[-1]) else wild
        else:
            parts += [re.escape(template[at : found.start()]), wild]
        at = found.end()
    return "(?s:" + "".join(parts) + re.escape(template[at:]) + r")\Z"
