"""The JSON schema of a configuration, made of the table of keys. For editors: draft 07 is what they understand."""

import re
from typing import Any

from isthmus.config.keys import RECORDS, SERVER, TOP
from isthmus.config.kinds import Either, Flag, Items, Key, Kind, Names, Number, Record, Text


def schema() -> dict[str, Any]:
    """The schema; where it and the checks differ, it takes more (a check knows prefixes and variables)."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Servers behind isthmus",
        **_record(TOP),
        "definitions": {_slug(each): _record(each) for each in RECORDS if each is not TOP},
    }


def _record(record: Record) -> dict[str, Any]:
    keys: dict[str, Any] = {name: _key(key) for name, key in record.keys.items()}
    for name, foreign in record.foreign.items():
        hint = f": {foreign.warning}" if foreign.warning else ""
        keys.setdefault(name, {"description": f"Of {foreign.whose}; no effect here{hint}."})
    whole: dict[str, Any] = {"type": "object", "properties": keys, "additionalProperties": False}
    if record is SERVER:
        whole["anyOf"] = [{"required": [key]} for key in ("command", "url", "disabled")]
    return whole


def _key(key: Key) -> dict[str, Any]:
    # Beside "$ref" everything else is ignored in draft 07.
    kind = _kind(key.kind)
    return {"description": key.doc.replace("`", "'"), **({"allOf": [kind]} if "$ref" in kind else kind)}


def _kind(kind: Kind) -> dict[str, Any]:
    match kind:
        case Text():
            said: dict[str, Any] = {"type": "string"}
            if kind.pattern:
                said["pattern"] = f"^(?:{kind.pattern})$"
            return said | ({"enum": list(kind.one_of)} if kind.one_of else {})
        case Number():
            said = {"type": "integer" if kind.is_whole else "number"}
            if kind.least > float("-inf"):
                said["exclusiveMinimum" if kind.is_above else "minimum"] = kind.least
            if kind.most < float("inf"):
                said["maximum"] = int(kind.most)
            return said
        case Flag():
            return {"type": "boolean"}
        case Items():
            return {"type": "array", "items": _kind(kind.of)}
        case Names():
            return {"type": "object", "additionalProperties": _kind(kind.of)}
        case Either():
            return {"anyOf": [_kind(each) for each in kind.kinds]}
        case Record():
            return {"$ref": f"#/definitions/{_slug(kind)}"}
    return {}


def _slug(record: Record) -> str:
    return re.sub(r"\W+", "-", re.sub(r"^(?:a|an|the) ", "", record.title))
