"""`isthmus list`: everything a server offers, in both eras, as a table and as the server sent it."""

import json
from pathlib import Path

import pytest

from isthmus.cli.list import row, table
from tests.cli.commands import EVERYTHING, isthmus, legacy


def test_a_table_of_everything() -> None:
    done = isthmus("list", *EVERYTHING)
    assert done.returncode == 0, done.stderr
    for line in ("Tools (44)", "Resources (3)", "Resource templates (1)", "Prompts (5)"):
        assert line in done.stdout
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith("  ")}
    assert "a* b*" in lines["add"]
    assert "Add two" in lines["add"]
    assert "seconds steps" in lines["slow"]
    assert "test://static-text" in lines["static-text"]
    assert "arg1* arg2*" in lines["test_prompt_with_arguments"]
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_json_is_what_the_server_sent(tmp_path: Path) -> None:
    target = tmp_path / "odd.py"
    target.write_text(ODD, encoding="utf-8")
    done = isthmus("list", "--json", str(target))
    assert done.returncode == 0, done.stderr
    assert '"limit": 1e400, "text": "\\u00e9"' in done.stdout
    kinds = json.loads(done.stdout)
    assert {kind: len(items) for kind, items in kinds.items()} == {
        "tools": 1, "resources": 0, "resourceTemplates": 0, "prompts": 0
    }  # fmt: skip


def test_pages_of_a_legacy_server(tmp_path: Path) -> None:
    target, _ = legacy(tmp_path)
    done = isthmus("list", *target)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["Tools", "ask", "hang"]


def test_what_can_t_be_reached_is_one_line() -> None:
    done = isthmus("list", "http://127.0.0.1:9/mcp")
    assert done.returncode == 1
    assert "Could not connect" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("kind", "item", "cells"),
    [
        (
            "tools",
            {"name": "a", "inputSchema": {"properties": {"x": {}, "y": {}}, "required": ["y"]}},
            ("a", "x y*", ""),
        ),
        ("tools", {"name": "a\x1b[2J", "description": "\n First.\nSecond."}, ("a\\x1b[2J", "", "First.")),
        ("tools", {"name": 7, "inputSchema": [], "annotations": {"title": "T"}}, ("7", "", "T")),
        ("prompts", {"name": "p", "arguments": [{"name": "x", "required": True}, 3]}, ("p", "x* None", "")),
        ("templates", {"name": "t", "uriTemplate": "a://{b}", "title": "T"}, ("t", "a://{b}", "T")),
    ],
)
def test_cells_of_what_servers_send(kind: str, item: dict[str, object], cells: tuple[str, str, str]) -> None:
    assert row(kind, item) == cells


def test_a_table_fits_its_room() -> None:
    rows = [("n" * 30, "arg " * 40, "said " * 40), ("short", "", "x")]
    for room in (40, 80, 200):
        lines = table(rows, room)
        assert max(map(len, lines)) <= room
        assert lines[0].index("arg") == len("  ") + min(30, int(room * 0.6)) + 2


ODD = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "server/discover":
        result = '{"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}'
    else:
        result = '{"resultType": "complete", "tools": [{"name": "odd", "limit": 1e400, "text": "\\\\u00e9"}]}'
    print('{"jsonrpc": "2.0", "id": %s, "result": %s}' % (json.dumps(message["id"]), result), flush=True)
"""


def test_of_a_file_the_servers_that_are_not_there_are_said(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    target, _ = legacy(tmp_path)
    there = {"command": target[1], "args": target[2:]}
    file.write_text(json.dumps({"mcpServers": {"here": there, "gone": {"command": "no-such-command"}}}))
    listed = isthmus("list", str(file))
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["Tools", "here_ask", "here_hang"]
    assert "isthmus: gone is not there: " in listed.stderr
    called = isthmus("call", str(file), "gone_tool")
    assert called.returncode == 1
    assert "gone is not there: " in called.stderr
    assert "There is no tool" not in called.stderr
