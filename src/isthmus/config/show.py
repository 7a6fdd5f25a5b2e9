"""A configuration as it is understood: defaults merged, variables put in, secrets masked."""

import re
from typing import Any, Final

from isthmus.config.document import Node
from isthmus.config.keys import BACK_LIMITS, FRONT_LIMITS, SERVER
from isthmus.config.load import Config, Server
from isthmus.engine.member import Spec
from isthmus.limits import Limits
from isthmus.masking import MASK, is_given, is_secret_header, lets_in, mask_text

_OPTION: Final = re.compile(r"--?(?!-?no-)[\w-]+\Z")
"""An option that may have its value behind it."""
_ANOTHER: Final = re.compile(r"--(?:[A-Za-z][\w-]*(?:=|\Z)|\Z)")
"""What is plainly no value, but the next option or the end of them; `-abc` may be either."""

_USER: Final = re.compile(r"(?:(?:-u|--user|--proxy-user)\Z|--(?:proxy-)?user=)")
"""The option of a user, who may come with a password."""
_PASSWORD: Final = re.compile(r"\A(?!\d+:\d+\Z)([^:]*:).+", re.DOTALL)
"""A user and a password, but not the numbers of a user and a group, as docker has them."""


def shown(config: Config) -> dict[str, Any]:
    """The configuration as JSON values, in the form that it is read in.

    Masked are: all values of `env`; `auth`; headers, arguments, parts of a URL and members of fixed values whose name
    is that of a secret (`masking`); what came out of a variable or an input.
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
            return {title: MASK if is_secret_header(title) else _text(each) for title, each in node.value.items()}
        case "args":
            return _arguments(node.value)
        case "url":
            return _text(node)
    return _inside(node)


def _text(node: Node) -> str:
    return MASK if node.is_secret else mask_text(node.value)


def _inside(node: Node, name: str = "") -> Any:
    if isinstance(node.value, dict):
        return {key: _given(each, name) if key == "fixed" else _inside(each, key) for key, each in node.value.items()}
    if isinstance(node.value, list):
        return [_inside(each, name) for each in node.value]
    return MASK if node.is_secret else node.value


def _given(node: Node, name: str) -> Any:
    """The value of an argument of this name, or of a member in it."""
    value, is_hidden = node.value, is_given(name)
    if isinstance(value, dict):
        return {key: _given(each, name if is_hidden else key) for key, each in value.items()}
    if isinstance(value, list):
        return [_given(each, name) for each in value]
    if isinstance(value, str):
        return MASK if is_hidden else _text(node)
    return MASK if is_hidden and value is not None and not isinstance(value, bool) else value


def _arguments(nodes: list[Node]) -> list[str]:
    """A command's arguments. A secret is named in its own argument, or by the option before."""
    found: list[str] = []
    before = ""
    for node in nodes:
        is_next = _OPTION.match(before) is not None and lets_in(before)
        found.append(MASK if is_next and not _ANOTHER.match(node.value) else _argument(node, before))
        before = node.value
    return found


def _argument(node: Node, before: str) -> str:
    """One that no option before names as a secret."""
    text = _text(node)
    begin = _USER.match(text if text.startswith("--") else before)
    if begin is None:
        return text
    at = begin.end() if text.startswith("--") else 0
    return text[:at] + _PASSWORD.sub(rf"\1{MASK}", text[at:])
