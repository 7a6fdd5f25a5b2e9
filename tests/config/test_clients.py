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
    found = take(path, tmp_path)
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
    hollow = write(tmp_path / "hollow.json", {"servers": {}, "mcpServers": None})
    settings = write(tmp_path / "settings.json", {"editor.x": 1, "mcp": {"servers": {"a": {"url": "http://x"}}}})
    found = find("vscode", [tmp_path / "none.json", empty, hollow, settings], tmp_path)
    assert (found.path, found.configuration) == (settings, {"mcpServers": {"a": {"url": "http://x"}}})
    with pytest.raises(ConfigError, match=r"^No file of vscode has servers; looked for .*hollow\.json\. Name another"):
        find("vscode", [empty, hollow], tmp_path)


@pytest.mark.parametrize("everywhere", [{}, {"a": {"command": "a"}, "b": {"command": "x"}}])
def test_claude_code_keeps_servers_for_each_project(everywhere: dict[str, Any], tmp_path: Path) -> None:
    projects = {
        "/other": {"mcpServers": {"c": {"command": "c"}}},
        str(tmp_path): {"mcpServers": {"b": {"command": "b"}}},
    }
    path = write(tmp_path / ".claude.json", {"mcpServers": everywhere, "projects": projects, "userID": "x"})
    servers = {**everywhere, "b": {"command": "b"}}
    assert find("claude", [path], tmp_path).configuration == {"mcpServers": servers}
    assert take(path, tmp_path).configuration == {"mcpServers": servers}
    write(path, {"mcpServers": everywhere, "projects": {"/other": projects["/other"], str(tmp_path): {}, "x": 1}})
    if everywhere:
        assert find("claude", [path], tmp_path).configuration == {"mcpServers": everywhere}
    else:
        with pytest.raises(ConfigError, match="No file of claude has servers"):
            find("claude", [path], tmp_path)


def test_a_user_s_file_of_cursor_means_the_project_that_is_open(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "project"
    static = {"CLIENT_ID": "${env:ID}", "CLIENT_SECRET": "x", "scopes": ["mcp"]}
    servers = {
        "a": {"command": "${workspaceFolder}/x", "cwd": "sub"},
        "b": {"url": "https://b.test", "auth": static},
        "c": {"url": "https://c.test", "auth": "${env:TOKEN}"},
    }
    path = write(home / ".cursor" / "mcp.json", {"mcpServers": servers})
    found = find("cursor", places("cursor", "linux", home, {}, here), here)
    assert found.configuration["mcpServers"] == {
        "a": {"command": f"{here}/x", "cwd": f"{here}/sub"},
        "b": {"url": "https://b.test"},
        "c": {"url": "https://c.test", "auth": "${TOKEN}"},
    }
    assert found.left_out == (f"{path}:9: 'auth' of 'b' is left out: write the token into 'headers'.",)


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
        take(path, tmp_path)
    assert str(caught.value) == f"{path}:{why}"
