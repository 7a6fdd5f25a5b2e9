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


def find(client: str, files: list[Path], here: Path) -> Found:
    """The first of the files that has servers.

    Args:
        client: one of `CLIENTS`.
        files: its `places`.
        here: the project's folder, which `${workspaceFolder}` is in files of the user, too.

    Raises:
        ConfigError: none has any, or one can't be read.
    """
    for path in files:
        if path.is_file():
            top = read_file(path)
            if isinstance(top.value, dict) and _said(_holder(top), here):
                return take(path, here, top, here)
    places_ = ", ".join(map(str, files))
    raise ConfigError(f"No file of {client} has servers; looked for {places_}. Name another with --file.")


def take(path: Path, here: Path, top: Node | None = None, folder: Path | None = None) -> Found:
    """The servers in a client's file; what has nothing to do with servers is passed over.

    Args:
        path: the file.
        here: the project's folder, for which Claude Code may keep servers of its own in the user's file.
        top: what is in the file, where that is known.
        folder: the folder that the servers work in; the file's own if not given.

    Raises:
        ConfigError: it can't be read, has no servers, or a server there can't work here.
    """
    top = read_file(path) if top is None else top
    if not isinstance(top.value, dict):
        raise top.wrong("There are no servers: a file of servers is an object.")
    holder = _holder(top)
    said = _said(holder, here)
    if said is None or not isinstance(said.value, dict):
        raise holder.wrong("There is no server under 'mcpServers' or 'servers'. Name another file.")
    left_out: list[str] = []
    servers = {name: _pruned(node, SERVER, f"of {name!r}", left_out) for name, node in said.value.items()}
    kept: dict[str, Node] = {"mcpServers": replace(said, value=servers)}
    inputs = holder.value.get("inputs")
    if inputs is not None and isinstance(inputs.value, list) and inputs.value:
        kept["inputs"] = replace(inputs, value=[_pruned(each, INPUT, "of an input", left_out) for each in inputs.value])
    pruned = replace(top, value=kept)
    check(pruned, TOP, "", ELSEWHERE)
    folder = folder_of(path) if folder is None else folder
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


def _said(holder: Node, here: Path) -> Node | None:
    """The servers; with those that Claude Code keeps for a project, which win. None where there are none."""
    found: list[Node] = [holder.value[key] for key in ("mcpServers", "servers") if key in holder.value]
    for name in dict.fromkeys((str(here), here.as_posix())):
        project = _member(_member(holder, "projects"), name)
        own = _member(project, "mcpServers")
        found += [own] if own is not None else []
    filled = [each for each in found if each.value]
    if len(filled) > 1 and all(isinstance(each.value, dict) for each in filled):
        return replace(filled[0], value={name: server for each in filled for name, server in each.value.items()})
    return filled[0] if filled else None


def _member(node: Node | None, name: str) -> Node | None:
    found: Node | None = node.value.get(name) if node is not None and isinstance(node.value, dict) else None
    return found


def _pruned(node: Node, record: Record, whose: str, left_out: list[str]) -> Node:
    """The node with the keys that mean something here, in the order of the table."""
    if not isinstance(node.value, dict):
        return node
    for name, each in node.value.items():
        if name not in record.keys or _is_oauth(name, each):
            foreign = record.foreign.get("oauth" if name in record.keys else name)
            hint = f": {foreign.warning}" if foreign is not None and foreign.warning else ""
            left_out.append(f"{each.key_at}: {name!r} {whose} is left out{hint}.")
    kept = [name for name in record.keys if name in node.value and not _is_oauth(name, node.value[name])]
    return replace(node, value={name: node.value[name] for name in kept})


def _is_oauth(name: str, node: Node) -> bool:
    """Whether it is how Cursor gets a token, not the token."""
    return name == "auth" and isinstance(node.value, dict)


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
