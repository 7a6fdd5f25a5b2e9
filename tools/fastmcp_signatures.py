"""Writes down which names FastMCP 2.11.3 has, and with which parameters, for tests to compare ours with.

Run in the environment that has it: `.venvs/fastmcp2/bin/python tools/fastmcp_signatures.py [MODULE…] > FILE`; without
modules, those of the client, for `tests/client/fastmcp2.json`. Only names and kinds of parameters are kept.
"""

import importlib
import inspect
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

_LIBRARIES = ("fastmcp", "isthmus")
_ALIASES = ("Handler", "HandlerT", "List", "Message", "Params", "Types", "Error")
"""What the names of types that are made of others' end with."""
CLIENT = (
    "fastmcp.client.client",
    "fastmcp.client.transports",
    "fastmcp.client.auth",
    "fastmcp.client.elicitation",
    "fastmcp.client.logging",
    "fastmcp.client.messages",
    "fastmcp.client.progress",
    "fastmcp.client.roots",
    "fastmcp.client.sampling",
    "fastmcp.exceptions",
    "fastmcp.mcp_config",
)


def main(modules: tuple[str, ...]) -> int:
    """Print the JSON."""
    warnings.simplefilter("ignore")
    found = {module: dict(sorted(described(module))) for module in modules}
    json.dump(found, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
    return 0


def described(module: str) -> Iterator[tuple[str, Any]]:
    """Each public name that a module defines: a class by its members, a function by its parameters, else None."""
    loaded = importlib.import_module(module)
    names = getattr(loaded, "__all__", None) or [name for name in vars(loaded) if not name.startswith("_")]
    for name in names:
        value = getattr(loaded, name)
        is_own = str(getattr(value, "__module__", module)).startswith(module.rpartition(".")[0] or module)
        if inspect.ismodule(value) or not (is_own or name.endswith(_ALIASES)):
            continue
        if inspect.isclass(value):
            yield name, dict(sorted(members(value)))
        else:
            yield name, parameters(value) if inspect.isfunction(value) else None


def members(kind: type) -> Iterator[tuple[str, Any]]:
    """The constructor and the public members that a class, or one of its own library's above it, defines."""
    if kind.__module__.partition(".")[0] not in _LIBRARIES:
        return
    for each in reversed(kind.__mro__):
        if each.__module__.partition(".")[0] not in _LIBRARIES:
            continue
        for name, value in vars(each).items():
            if name != "__init__" and (name.startswith("_") or name in ("model_config", "model_fields")):
                continue
            plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            yield name, parameters(plain) if inspect.isfunction(plain) else None
    for name in getattr(kind, "model_fields", ()):
        yield name, None
    for name in getattr(kind, "__dataclass_fields__", ()):
        yield name, None


def parameters(function: Callable[..., Any]) -> list[str]:
    """Names, in their order: `*name` and `**name` as they are written, `name=` with a default, `, *,` as `*`."""
    said: list[str] = []
    for each in inspect.signature(function).parameters.values():
        if each.name in ("self", "cls"):
            continue
        if each.kind is each.KEYWORD_ONLY and "*" not in said and not any(one.startswith("*") for one in said):
            said.append("*")
        mark = "*" if each.kind is each.VAR_POSITIONAL else "**" if each.kind is each.VAR_KEYWORD else ""
        said.append(f"{mark}{each.name}{'' if each.default is each.empty else '='}")
    return said


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:]) or CLIENT))
