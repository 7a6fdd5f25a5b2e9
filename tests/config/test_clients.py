"""Clients' own files: where they are, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from isthmus.config.clients import find, places, take
from isthmus.config.load import from_mapping
from isthmus.errors import ConfigError

XDG = "XDG_CONFIG_HOME"


@pytest.mark.parametrize(
    ("client", "system", "environ", "paths"),
    [
        ("claude", "linux", {}, "/p/.mcp.json /h/.config/Claude/claude_desktop_config.json /h/.claude.json"),
        ("claude", "aix", {XDG: "/x"}, "/p/.mcp.json /x/Claude/claude_desktop_config.json /h/.claude.json"),
        (
            "claude",
            "darwin",
            {},
            "/p/.mcp.json|/h/Library/Application Support/Claude/claude_desktop_config.json|/h/.claude.json",
        ),
        ("claude", "win32", {"APPDATA": "/r"}, "/p/.mcp.json /r/Claude/claude_desktop_config.json /h/.claude.json"),
        ("cursor", "win32", {}, "/p/.cursor/mcp.json /h/.cursor/mcp.json"),
        (
            "vscode",
            "darwin",
            {},
            "/p/.vscode/mcp.json|/h/Library/Application Support/Code/User/mcp.json"
            "|/h/Library/Application Support/Code/User/settings.json",
        ),
        (
            "vscode",
            "win32",
            {},
            "/p/.vscode/mcp.json /h/AppData/Roaming/Code/User/mcp.json /h/AppData/Roaming/Code/User/settings.json",
        ),
    ],
)  # fmt: skip
def test_places(client: str, system: str, environ: dict[str, str], paths: str) -> None:
    expected = paths.split("|" if "|" in paths else " ")
    assert [str(path) for path in places(client, system, Path("/h"), environ, Path("/p"))] == expected


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")
    return path


def test_vs_code(tmp_path: Path) -> None:
    server = {
        "type": "stdio",
        "cwd": "sub",
        "command": "${workspaceFolder}/x",
        "args": ["${env:A}", "${B}", "${input:k}"],
        "dev": {},
        "sandboxEnabled": True,
        "strange": 1,
    }
    inputs = [{"id": "k", "type": "promptString", "password": True, "extra": 1}]
    path = write(tmp_path / ".vscode" / "mcp.json", {"servers": {"x": server}, "inputs": inputs, "more": {}})
    found = take(path)
    assert found.configuration == {
        "mcpServers": {
            "x": {
                "command": f"{tmp_path}/x",
                "args": ["${A}", "${B}", "${input:k}"],
                "cwd": f"{tmp_path}/sub",
                "type": "stdio",
            }
        },
        "inputs": [{"id": "k", "type": "promptString", "password": True}],
    }
    assert [line.removeprefix(f"{path}:") for line in found.left_out] == [
        "12: 'dev' of 'x' is left out.",
        "13: 'sandboxEnabled' of 'x' is left out: isthmus starts the command without a sandbox.",
        "14: 'strange' of 'x' is left out.",
        "22: 'extra' of an input is left out.",
    ]
    from_mapping(found.configuration, environ={"A": "a", "B": "b", "INPUT_K": "k"})


def test_the_first_file_with_servers(tmp_path: Path) -> None:
    empty = write(tmp_path / "empty.json", {"globalShortcut": "x"})
    settings = write(tmp_path / "settings.json", {"editor.x": 1, "mcp": {"servers": {"a": {"url": "http://x"}}}})
    found = find("vscode", [tmp_path / "none.json", empty, settings])
    assert (found.path, found.configuration) == (settings, {"mcpServers": {"a": {"url": "http://x"}}})
    with pytest.raises(ConfigError, match=r"^No file of vscode has servers; looked for .*empty\.json\. Name another"):
        find("vscode", [empty])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([], "1: There are no servers: a file of servers is an object."),
        ({"x": 1}, "1: There is no server under 'mcpServers' or 'servers'. Name another file."),
        ({"mcpServers": {}}, "1: There is no server under 'mcpServers' or 'servers'. Name another file."),
        ({"mcpServers": {"a": {"args": 1}}}, "4: mcpServers.a.args is a number; it must be a list of strings."),
        ({"mcpServers": {"a": 1}}, "3: mcpServers.a is a number; it must be an object."),
    ],
)  # fmt: skip
def test_files_without_servers(tmp_path: Path, value: Any, why: str) -> None:
    path = write(tmp_path / "f.json", value)
    with pytest.raises(ConfigError) as caught:
        take(path)
    assert str(caught.value) == f"{path}:{why}"
