"""A configuration as it is understood: defaults merged, variables put in, secrets masked."""

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from isthmus.config.document import Node
from isthmus.config.keys import BACK_LIMITS, FRONT_LIMITS, SERVER
from isthmus.config.load import Config, Server
from isthmus.engine.member import Spec
from isthmus.limits import Limits
from isthmus.record import MASK, is_secret

_NAMED: Final = re.compile(r"(--?)?([\w-]+)(=|:[ ]*)?")
"""How an argument begins that names a value: `--token`, `--token=…`, `TOKEN=…` (behind docker's `-e`), `Header: …`."""


def shown(config: Config) -> dict[str, Any]:
    """The configuration as JSON values, in the form that it is read in.

    Masked are: all values of `env`; `auth`; headers, arguments and parts of a URL whose name is that of a secret; what
    came out of a variable or an input.
    """
    specs = {spec.name: spec for spec in config.specs}
    return {
        "isthmus": {"name": config.name, "longest": config.longest} | _fronts(config.settings.limits),
        "mcpServers": {name: _server(server, specs.get(name)) for name, server in config.servers.items()},
    }


def _server(server: Server, spec: Spec | None) -> dict[str, Any]:
    said: dict[str, Node] = server.node.value
    found = {key: _value(key, said[key]) for key in SERVER.keys if key in said and key != "isthmus"}
    own = {key: _inside(each) for key, each in server.own.items()}
    if "limits" in own:
        own["limits"] = {key: value for key, value in own["limits"].items() if key in BACK_LIMITS.keys}
    if "url" not in said:
        own.pop("forward_headers", None)
    if spec is not None:
        own["prefix"] = spec.face.prefix or ""
    if own:
        found["isthmus"] = own
    return found


def _fronts(limits: Limits) -> dict[str, Any]:
    """The limits of the clients' side that are not the usual ones."""
    unusual = {key: getattr(limits, key) for key in FRONT_LIMITS if getattr(limits, key) != getattr(Limits(), key)}
    return {"limits": unusual} if unusual else {}


def _value(key: str, node: Node) -> Any:
    match key:
        case "env":
            return dict.fromkeys(node.value, MASK)
        case "auth":
            return MASK
        case "headers":
            return {title: MASK if is_secret(title) else _text(each) for title, each in node.value.items()}
        case "args":
            return _arguments(node.value)
        case "url":
            return MASK if node.is_secret else _url(node.value)
    return _inside(node)


def _text(node: Node) -> Any:
    return MASK if node.is_secret else node.value


def _inside(node: Node, name: str = "") -> Any:
    if isinstance(node.value, dict):
        # The value of a fixed argument stands under `fixed` under the argument's name.
        return {key: _inside(each, name if key == "fixed" else key) for key, each in node.value.items()}
    if isinstance(node.value, list):
        return [_inside(each, name) for each in node.value]
    return MASK if node.is_secret or (name and isinstance(node.value, str) and is_secret(name)) else node.value


def _arguments(nodes: list[Node]) -> list[Any]:
    """A command's arguments. A secret is known by the name before it, in the same argument or in the one before."""
    found: list[Any] = []
    is_next = False
    for node in nodes:
        named = _NAMED.match(node.value)
        dashes, name, mark = named.groups() if named is not None else (None, "", None)
        if node.is_secret or (is_next and not dashes):
            found.append(MASK)
        elif mark and is_secret(name) and named is not None:
            found.append(named[0] + MASK)
        else:
            found.append(_url(node.value) if "://" in node.value else node.value)
        is_next = bool(dashes) and not mark and is_secret(name)
    return found


def _url(url: str) -> str:
    try:
        parts = urlsplit(url)
        asked = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return MASK
    if any(is_secret(name) for name, _ in asked):
        kept = [(name, MASK if is_secret(name) else value) for name, value in asked]
        parts = parts._replace(query=urlencode(kept, safe="*"))
    user, at, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{MASK}@{host}" if at and user else parts.netloc).geturl()
