"""What many servers say of themselves, as one."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Raw

from isthmus.protocol.names import SERVER_INFO_KEY, TASKS_EXTENSION

_LISTED: Final = ("tools", "prompts", "resources")
_NOUNS: Final = {"tools": "tool", "prompts": "prompt", "resourceTemplates": "resource template"}


def capabilities(each: Iterable[Mapping[str, Any]], *, is_whole: bool = True) -> dict[str, Any]:
    """What all servers can do together: what any of them can. Tasks are left out: their ids say not whose they are.

    Args:
        each: their `capabilities`; what is no object in them counts as nothing.
        is_whole: whether all servers have said theirs. One that has not may turn out to have any list, so lists of
            every kind are offered then, and that they may change.
    """
    merged: dict[str, Any] = {}
    for one in each:
        offered = {name: value for name, value in one.items() if name != "tasks" and isinstance(value, dict)}
        if "extensions" in offered:
            offered["extensions"] = {name: v for name, v in offered["extensions"].items() if name != TASKS_EXTENSION}
        merged = _union(merged, offered)
    if merged.get("extensions") == {}:
        del merged["extensions"]
    return merged if is_whole else _union(merged, {kind: {"listChanged": True} for kind in _LISTED})


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Members of both; of two the objects are united, true goes before false, and anything else is the first's."""
    united = dict(one)
    for name, value in other.items():
        before = united.get(name)
        if isinstance(before, dict) and isinstance(value, dict):
            united[name] = _union(before, value)
        elif name not in united or (before is False and value is True):
            united[name] = value
    return united


def instructions(pairs: Sequence[tuple[str, str]]) -> str | None:
    """What servers say about their use, each under its name as a heading; None where none says anything.

    Args:
        pairs: a server's name and its instructions.
    """
    said = [f"# {name}\n\n{text.strip()}" for name, text in pairs if text.strip()]
    return "\n\n".join(said) or None


def twice(each: Iterable[tuple[str, Collection[str]]]) -> dict[tuple[str, str], list[str]]:
    """What two servers list under one name or URI: by their names, that of the one which goes first before the other.

    Args:
        each: a server's name and how clients know what it lists, in the order of the configuration.
    """
    owners: dict[str, str] = {}
    found: dict[tuple[str, str], list[str]] = {}
    for server, names in each:
        for name in names:
            first = owners.setdefault(name, server)
            if first != server:
                found.setdefault((first, server), []).append(name)
    return found


def collision(kind: str, first: str, second: str, names: Sequence[str]) -> str:
    """What to tell of things that two servers list under the same names or URIs (`twice`), with what to do."""
    what = _NOUNS.get(kind, "resource")
    more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
    return (
        f"{first} and {second} both list the {what} {names[0]!r}{more}. That of {first} goes first, and that of "
        f"{second} is left out. Deny it in one of the two."
    )


def discover(
    capabilities: Mapping[str, Any],
    instructions: str | None,
    versions: Iterable[str],
    info: Raw | None,
    missing: Any,
    missing_key: str,
) -> dict[str, Any]:
    """The result of `server/discover` for all servers. It is nobody else's, and may change with the next server.

    Args:
        capabilities: theirs together.
        instructions: theirs together.
        versions: revisions that are spoken.
        info: who answers, as JSON; None to leave that out.
        missing: what is said of servers that took no part; None to leave that out.
        missing_key: the key of `_meta` to say it under.
    """
    meta = {SERVER_INFO_KEY: info, missing_key: missing}
    result: dict[str, Any] = {
        "resultType": "complete",
        "supportedVersions": list(versions),
        "capabilities": dict(capabilities),
        "instructions": instructions,
        "ttlMs": 0,
        "cacheScope": "private",
        "_meta": {key: value for key, value in meta.items() if value is not None} or None,
    }
    return {name: value for name, value in result.items() if value is not None}
