"""The files in which clients keep their servers: where they are, and the same servers as ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from isthmus.config.document import Node
from isthmus.config.keys import ELSEWHERE, INPUT, SERVER, TOP
from isthmus.config.kinds import Record, check
from isthmus.config.load import folder_of, read_file
from isthmus.config.variables import Variables
from isthmus.errors import ConfigError

_SETTINGS: Final = {
    "linux": "{config}",
    "darwin": "{home}/Library/Application Support",
    "win32": "{appdata}",
}
"""Where programs of a system keep their settings."""
_FILES: Final = {
    "claude": ("{here}/.mcp.json", "{settings}/Claude/claude_desktop_config.json", "{home}/.claude.json"),
    "cursor": ("{here}/.cursor/mcp.json", "{home}/.cursor/mcp.json"),
    "vscode": ("{here}/.vscode/mcp.json", "{settings}/Code/User/mcp.json", "{settings}/Code/User/settings.json"),
}
"""The files of each client, from those of the project to those of the user."""
CLIENTS: Final = tuple(_FILES)
_ENV: Final = re.compile(r"\$\{env:([A-Za-z_]\w*)\}")
_KNOWN: Final = re.compile(r"\$\{(?:workspaceFolder|workspaceFolderBasename|userHome|pathSeparator|/)\}")


@dataclass(frozen=True, slots=True)
class Found:
    """A client's servers: the file, the configuration as JSON values, and keys that were left out, each with why."""

    path: Path
    configuration: dict[str, Any]
    left_out: tuple[str, ...]


def places(client: str, system: str, home: Path, environ: Mapping[str, str], here: Path) -> list[Path]:
    """The files that a client may have, the likeliest first.

    Args:
        client: one of `CLIENTS`.
        system: `sys.platform`; all but macOS and Windows is as Linux.
        home: the user's folder.
        environ: for `XDG_CONFIG_HOME` and `APPDATA`.
        here: the project's folder.
    """
    names = {
        "home": str(home),
        "here": str(here),
        "config": environ.get("XDG_CONFIG_HOME") or str(home / ".config"),
        "appdata": environ.get("APPDATA") or str(home / "AppData" / "Roaming"),
    }
    names["settings"] = _SETTINGS.get(system, _SETTINGS["linux"]).format(**names)
    return [Path(each.format(**names)) for each in _FILES[client]]


def find(client: str, files: list[Path]) -> Found:
    """The first of the files that has servers.

    Raises:
        ConfigError: none has any, or one can't be read.
    """
    for path in files:
        if path.is_file():
            top = read_file(path)
            if isinstance(top.value, dict) and _holder(top).value.keys() & {"mcpServers", "servers"}:
                return take(path, top)
    places_ = ", ".join(map(str, files))
    raise ConfigError(f"No file of {client} has servers; looked for {places_}. Name another with --file.")


def take(path: Path, top: Node | None = None) -> Found:
    """The servers in a client's file; what has nothing to do with servers is passed over.

    Raises:
        ConfigError: it can't be read, has no servers, or a server there can't work here.
    """
    top = read_file(path) if top is None else top
    if not isinstance(top.value, dict):
        raise top.wrong("There are no servers: a file of servers is an object.")
    holder = _holder(top)
    said = holder.value.get("mcpServers") or holder.value.get("servers")
    if said is None or not isinstance(said.value, dict) or not said.value:
        raise holder.wrong("There is no server under 'mcpServers' or 'servers'. Name another file.")
    left_out: list[str] = []
    servers = {name: _pruned(node, SERVER, f"of {name!r}", left_out) for name, node in said.value.items()}
    kept: dict[str, Node] = {"mcpServers": replace(said, value=servers)}
    inputs = holder.value.get("inputs")
    if inputs is not None and isinstance(inputs.value, list) and inputs.value:
        kept["inputs"] = replace(inputs, value=[_pruned(each, INPUT, "of an input", left_out) for each in inputs.value])
    pruned = replace(top, value=kept)
    check(pruned, TOP, "", ELSEWHERE)
    folder = folder_of(path)
    found = _translated(pruned.plain(), Variables({}, str(folder)))
    for server in found["mcpServers"].values():
        _settle(server, folder)
    return Found(path, found, tuple(left_out))


def _holder(top: Node) -> Node:
    """What holds the servers: the file itself, or `mcp` in the settings of VS Code."""
    inside = top.value.get("mcp")
    is_settings = (
        inside is not None and isinstance(inside.value, dict) and not {"mcpServers", "servers"} & set(top.value)
    )
    return inside if is_settings and inside is not None else top


def _pruned(node: Node, record: Record, whose: str, left_out: list[str]) -> Node:
    """The node with the keys that mean something here, in the order of the table."""
    if not isinstance(node.value, dict):
        return node
    for name, each in node.value.items():
        if name not in record.keys:
            foreign = record.foreign.get(name)
            hint = f": {foreign.warning}" if foreign is not None and foreign.warning else ""
            left_out.append(f"{each.key_at}: {name!r} {whose} is left out{hint}.")
    return replace(node, value={name: node.value[name] for name in record.keys if name in node.value})


def _translated(value: Any, variables: Variables) -> Any:
    """`${env:NAME}` as `${NAME}`, and what an editor knows of its folders as it is now."""
    if isinstance(value, dict):
        return {key: _translated(each, variables) for key, each in value.items()}
    if isinstance(value, list):
        return [_translated(each, variables) for each in value]
    if not isinstance(value, str):
        return value
    known = _KNOWN.sub(lambda match: variables.known(match[0][2:-1]) or "", value)
    return _ENV.sub(r"${\1}", known)


def _settle(server: dict[str, Any], folder: Path) -> None:
    """What only holds in the client's own place: relative folders, and names that others don't know."""
    if "cwd" in server and "${" not in server["cwd"]:
        server["cwd"] = str(folder / server["cwd"])
    for key in ("type", "transport"):
        if server.get(key) == "streamableHttp":
            server[key] = "streamable-http"
