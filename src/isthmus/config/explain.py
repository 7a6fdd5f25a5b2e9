"""Which server a name or URI goes to, under what name, by which rule: from the configuration alone."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from isthmus.config.document import Node
from isthmus.config.load import Config
from isthmus.engine.member import Spec
from isthmus.routing.choice import Edit, Part, judge_of
from isthmus.routing.namespace import Namespace, is_shortened, join_uri, prefix_of

_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WORDS: Final = {"tools": "a tool", "prompts": "a prompt", "resources": "a resource or template"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where one kind of thing goes: `has_way` if to a server; sentences say which, why, and what else could be."""

    has_way: bool
    sentences: tuple[str, ...] = field(default=())


def explain(config: Config, name: str) -> tuple[bool, list[str]]:
    """What becomes of a name or URI that a client sends.

    Returns:
        Whether it goes, or may go, to a server; and the lines that say so.
    """
    kinds: tuple[str, ...] = ("tools", "prompts")
    if found := _URI.match(name):  # only a URI has what is behind the colon begin with two slashes
        kinds = ("resources",) if name.startswith("//", found.end()) else (*kinds, "resources")
    verdicts = {kind: _judge(config, kind, name) for kind in kinds}
    lines: list[str] = []
    for verdict in dict.fromkeys(verdicts.values()):
        who = " or ".join(_WORDS[kind] for kind in kinds if verdicts[kind] == verdict)
        lines.append(f"As {who}:")
        lines += [f"  {sentence}" for sentence in verdict.sentences]
    return any(verdict.has_way for verdict in verdicts.values()), lines


def _judge(config: Config, kind: str, name: str) -> Verdict:
    spec, rest = _split(config, kind, name)
    if spec is None:
        return _unrouted(config, kind, name)
    prefix = spec.face.prefix
    first = (
        f"{spec.name!r} is the only server, and has no prefix."
        if prefix is None
        else f"The prefix {prefix!r} of {spec.name!r} begins it ({_prefix_place(config, spec)})."
    )
    if prefix is not None and kind != "resources" and is_shortened(name, config.longest):
        why = "It ends as a shortened name does; of what, only the server's list says."
        return Verdict(True, (f"It goes to {_place(config, spec)}.", first, why))
    own = spec.face.own(kind, rest)
    if own is None:
        return Verdict(False, ("It goes to no server.", first, *_refused(config, spec, kind, rest)))
    sentences = [f"It goes to {_place(config, spec)} as {own!r}.", first, *_edited(config, spec, kind, own, rest)]
    if prefix is not None:
        sentences.append("No other prefix begins it, so that no other server can have it.")
    return Verdict(True, tuple(sentences))


def _split(config: Config, kind: str, name: str) -> tuple[Spec | None, str]:
    """The server, and what is left of the name without the prefix."""
    if len(config.specs) == 1 and config.specs[0].face.prefix is None:
        return config.specs[0], name
    by_prefix = {spec.face.prefix or "": spec for spec in config.specs}
    names = Namespace(by_prefix)
    found = names.split_uri(name) if kind == "resources" else names.split_name(name)
    return (by_prefix[found[0]], found[1]) if found is not None else (None, name)


def _place(config: Config, spec: Spec) -> str:
    return f"{spec.name!r} ({config.servers[spec.name].node.key_at})"


def _prefix_place(config: Config, spec: Spec) -> str:
    server = config.servers[spec.name]
    return server.own["prefix"].at if "prefix" in server.own else f"made of its name, {server.node.key_at}"


def _said(config: Config, spec: Spec, kind: str, key: str) -> Node | None:
    part = config.servers[spec.name].own.get(kind)
    return part.value.get(key) if part is not None else None


def _edit_of(part: Part, own: str) -> Edit | None:
    return dict(part.edits).get(own)


def _edited(config: Config, spec: Spec, kind: str, own: str, rest: str) -> Iterator[str]:
    """What of the thing is changed, and by which line."""
    items = _said(config, spec, kind, "items")
    edit = _edit_of(getattr(spec.face.choice, kind), own)
    for entry in _entries(config, spec, kind, "allow", own):
        yield f"'allow' has {entry.value!r} ({entry.at})."
    if edit is None or items is None:
        return
    said = items.value[own].value
    if own != rest:
        yield (
            f"'rename' makes {own!r} {rest!r} ({said['rename'].at}); without it, it would be what the server itself "
            f"calls {rest!r}."
        )
    arguments = said["arguments"].value if "arguments" in said else {}
    for name in (*edit.hidden, *(each for each, _ in edit.fixed)):
        how = "fixed" if name in dict(edit.fixed) else "hidden"
        yield f"Its argument {name!r} is {how} ({arguments[name].at})."


def _entries(config: Config, spec: Spec, kind: str, key: str, own: str) -> Iterator[Node]:
    """The entries of `allow` or `deny` that mean a thing."""
    said = _said(config, spec, kind, key)
    is_allow, is_uri = key == "allow", kind == "resources"
    for each in said.value if said is not None else ():
        part = Part(allow=(each.value,)) if is_allow else Part(deny=(each.value,))
        if judge_of(part, is_uri=is_uri)(own) is is_allow:
            yield each


def _refused(config: Config, spec: Spec, kind: str, rest: str) -> Iterator[str]:
    part: Part = getattr(spec.face.choice, kind)
    edit = _edit_of(part, rest)
    items = _said(config, spec, kind, "items")
    own = next((own for own, each in part.edits if each.rename == rest), rest)
    if kind != "resources" and own == rest and edit is not None and edit.rename is not None and items is not None:
        yield f"{rest!r} is called {spec.face.shown(kind, rest)!r} here ({items.value[rest].value['rename'].at})."
        return
    denying = list(_entries(config, spec, kind, "deny", own))
    for entry in denying:
        yield f"'deny' has {entry.value!r} ({entry.at}); without it, {own!r} of {spec.name!r} would have it."
    allowed = _said(config, spec, kind, "allow")
    if allowed is not None and not any(_entries(config, spec, kind, "allow", own)):
        yield f"'allow' ({allowed.at}) does not name {own!r}; if it did, {spec.name!r} would have it."


def _unrouted(config: Config, kind: str, name: str) -> Verdict:
    """No prefix begins it, and there are several servers or one with a prefix."""
    able = [spec for spec in config.specs if spec.face.own(kind, name) is not None]
    names = ", ".join(spec.name for spec in able)
    if kind == "resources" and not able:
        return Verdict(False, ("It goes to no server: each one's 'allow' or 'deny' leaves it out.",))
    if kind == "resources" and join_uri("x", name) == name:
        why = "A URI of http:, https: or without '//' has no prefix: it goes to the server that lists it."
        order = f"Asked are, in this order, so that the first wins: {names}."
        return Verdict(True, (why, order, "Which that is only their lists know."))
    prefixes = ", ".join(repr(spec.face.prefix or "") for spec in config.specs)
    disabled = _disabled(config, kind, name)
    ours = [(spec.face.shown(kind, name), spec.name) for spec in config.specs]
    known = " or ".join(f"{shown!r} ({server})" for shown, server in ours if shown is not None)
    if kind == "resources":
        why = f"No prefix begins it. The prefixes are {prefixes}."
        whose = f"If just one server itself calls it so, it goes there; asked are {names}."
        return Verdict(True, (why, *disabled, whose, f"Clients are shown it as {known}."))
    sentences = [f"It goes to no server: no prefix begins it. The prefixes are {prefixes}.", *disabled]
    if known:
        sentences.append(f"If that is what a server itself calls it, clients call it {known}.")
    return Verdict(False, tuple(sentences))


def _disabled(config: Config, kind: str, name: str) -> Iterator[str]:
    """The disabled servers that would have it."""
    for each, server in config.servers.items():
        said = server.own.get("prefix")
        prefix = said.value if said is not None else prefix_of(each, config.longest)
        is_its = bool(prefix) and (f"//{prefix}/" in name if kind == "resources" else name.startswith(f"{prefix}_"))
        if server.is_disabled and is_its:
            yield f"{each!r} would have it, and is disabled ({server.node.value['disabled'].at})."
