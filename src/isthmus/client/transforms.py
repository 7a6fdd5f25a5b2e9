"""What FastMCP's configurations say beside a server, as ours say it: `tools`, and credentials that are no text."""

from collections.abc import Mapping
from typing import Any

from isthmus.errors import ConfigError

_TAGS = ("include_tags", "exclude_tags")
_KEPT = {"name": "rename", "description": "description"}


def translated(servers: Mapping[str, Any]) -> dict[str, Any]:
    """The servers of a configuration, with `tools` as the settings `isthmus` of each.

    Raises:
        ConfigError: a tool is to be changed in a way that there is not here.
    """
    return {name: _server(name, said) if isinstance(said, Mapping) else said for name, said in servers.items()}


def _server(name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    for key in _TAGS:
        if said.get(key):
            raise ConfigError(f"{name}: {key!r} can't be kept to: messages have no tags. Name the tools instead.")
    server = {key: value for key, value in said.items() if key not in ("tools", *_TAGS)}
    tools = said.get("tools")
    if tools:
        server["isthmus"] = {**said.get("isthmus", {}), "tools": _tools(name, tools)}
    return server


def _tools(server: str, said: Mapping[str, Any]) -> dict[str, Any]:
    items = {name: _item(f"{server}: the tool {name!r}", tool) for name, tool in said.items()}
    deny = [name for name, tool in said.items() if not tool.get("enabled", True)]
    return {"items": items, **({"deny": deny} if deny else {})}


def _item(where: str, said: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(where, said, ("name", "description", "enabled", "arguments"))
    item = {ours: said[theirs] for theirs, ours in _KEPT.items() if said.get(theirs)}
    arguments = {
        name: _argument(f"{where}, argument {name!r},", each) for name, each in said.get("arguments", {}).items()
    }
    return {**item, **({"arguments": arguments} if arguments else {})}


def _argument(where: str, said: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(where, said, ("hide", "default"))
    if not said.get("hide"):
        raise ConfigError(f"{where} can only be hidden here ('hide': true), with or without a 'default' to send.")
    return {"fixed": said["default"]} if said.get("default") is not None else {"hidden": True}


def _refuse(where: str, said: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key, value in said.items():
        if key not in known and value not in (None, {}, [], set()):
            raise ConfigError(f"{where} can't have another {key!r} here; what can change is {', '.join(known)}.")
