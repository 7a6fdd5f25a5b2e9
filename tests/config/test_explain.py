"""Which server a name goes to, and the sentences that say why."""

from pathlib import Path

import pytest

from isthmus.config.explain import explain
from isthmus.config.load import load

MANY = """{"mcpServers": {
"git": {"command": "g", "isthmus": {
  "tools": {
    "allow": ["log", "git_*", "push"],
    "deny": ["git_secret"],
    "items": {"log": {"rename": "history",
      "arguments": {"repo": {"fixed": "."}}}}}}},
"web": {"url": "https://w.test/mcp", "isthmus": {
  "prefix": "w"}},
"off": {"command": "o",
  "disabled": true}
}}"""
PREFIX = "The prefix 'git' of 'git' begins it (made of its name, mcp.json:2)."
NO_OTHER = "No other prefix begins it, so that no other server can have it."


def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str = MANY) -> tuple[bool, list[str]]:
    monkeypatch.chdir(tmp_path)
    Path("mcp.json").write_text(text, encoding="utf-8")
    return explain(load("mcp.json", environ={}), name)


@pytest.mark.parametrize(
    ("name", "has_way", "lines"),
    [
        (
            "w_fetch",
            True,
            [
                "As a tool or a prompt:",
                "  It goes to 'web' (mcp.json:8) as 'fetch'.",
                "  The prefix 'w' of 'web' begins it (mcp.json:9).",
                f"  {NO_OTHER}",
            ],
        ),
        (
            "git_history",
            True,
            [
                "As a tool:",
                "  It goes to 'git' (mcp.json:2) as 'log'.",
                f"  {PREFIX}",
                "  'allow' has 'log' (mcp.json:4).",
                "  'rename' makes 'log' 'history' (mcp.json:6); "
                "without it, it would be what the server itself calls 'history'.",
                "  Its argument 'repo' is fixed (mcp.json:7).",
                f"  {NO_OTHER}",
                "As a prompt:",
                "  It goes to 'git' (mcp.json:2) as 'history'.",
                f"  {PREFIX}",
                f"  {NO_OTHER}",
            ],
        ),
        (
            "git_log",
            True,
            [
                "As a tool:",
                "  It goes to no server.",
                f"  {PREFIX}",
                "  'log' is called 'git_history' here (mcp.json:6).",
            ],
        ),
        (
            "git_git_secret",
            True,
            [
                "As a tool:",
                "  It goes to no server.",
                f"  {PREFIX}",
                "  'deny' has 'git_secret' (mcp.json:5); without it, 'git_secret' of 'git' would have it.",
            ],
        ),
        (
            "git_other",
            True,
            [
                "As a tool:",
                "  It goes to no server.",
                f"  {PREFIX}",
                "  'allow' (mcp.json:4) does not name 'other'; if it did, 'git' would have it.",
            ],
        ),
        (
            "log",
            False,
            [
                "As a tool:",
                "  It goes to no server: no prefix begins it. The prefixes are 'git', 'w'.",
                "  If that is what a server itself calls it, clients call it 'git_history' (git) or 'w_log' (web).",
            ],
        ),
        (
            "off_x",
            False,
            [
                "As a tool:",
                "  It goes to no server: no prefix begins it. The prefixes are 'git', 'w'.",
                "  'off' would have it, and is disabled (mcp.json:11).",
                "  If that is what a server itself calls it, clients call it 'w_off_x' (web).",
            ],
        ),
        (
            "git_git_" + "x" * 47 + "_01234567",
            True,
            [
                "As a tool or a prompt:",
                "  It goes to 'git' (mcp.json:2).",
                f"  {PREFIX}",
                "  It ends as a shortened name does; of what, only the server's list says.",
            ],
        ),
        (
            "data://w/a/b",
            True,
            [
                "As a resource or template:",
                "  It goes to 'web' (mcp.json:8) as 'data://a/b'.",
                "  The prefix 'w' of 'web' begins it (mcp.json:9).",
                f"  {NO_OTHER}",
            ],
        ),
        (
            "data://x/a",
            True,
            [
                "As a resource or template:",
                "  No prefix begins it. The prefixes are 'git', 'w'.",
                "  If just one server itself calls it so, it goes there; asked are git, web.",
                "  Clients are shown it as 'data://git/x/a' (git) or 'data://w/x/a' (web).",
            ],
        ),
        (
            "https://x.test/",
            True,
            [
                "As a resource or template:",
                "  A URI of http:, https: or without '//' has no prefix: it goes to the server that lists it.",
                "  Asked are, in this order, so that the first wins: git, web.",
                "  Which that is only their lists know.",
            ],
        ),
    ],
)  # fmt: skip
def test_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, has_way: bool, lines: list[str]) -> None:
    found, told = said(tmp_path, monkeypatch, name)
    assert (found, told[: len(lines)]) == (has_way, lines)


@pytest.mark.parametrize(
    ("name", "who"),
    [("ns:tool", "a tool or a prompt or a resource or template"), ("data://x", "a resource or template")],
)
def test_a_name_with_a_colon_may_be_of_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, who: str
) -> None:
    text = '{"mcpServers": {"a": {"command": "x"}}}'
    found, told = said(tmp_path, monkeypatch, name, text)
    assert (found, told[:2]) == (True, [f"As {who}:", f"  It goes to 'a' (mcp.json:1) as '{name}'."])


def test_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"mcpServers": {"a": {"command": "x"}}}'
    assert said(tmp_path, monkeypatch, "b_c", text) == (
        True,
        [
            "As a tool or a prompt:",
            "  It goes to 'a' (mcp.json:1) as 'b_c'.",
            "  'a' is the only server, and has no prefix.",
        ],
    )
    assert said(tmp_path, monkeypatch, "https://x", text)[0]


def test_a_uri_that_all_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = '{"command": "x", "isthmus": {"resources": {"deny": ["https:*"]}}}'
    text = f'{{"mcpServers": {{"a": {closed}, "b": {closed}}}}}'
    why = "  It goes to no server: each one's 'allow' or 'deny' leaves it out."
    assert said(tmp_path, monkeypatch, "https://x", text) == (False, ["As a resource or template:", why])


def test_a_uri_that_is_denied_in_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"mcpServers": {"a": {"command": "x", "isthmus": {"prefix": "p", "resources": {\n"deny": ["db://7"]}}}}}'
    said_ = said(tmp_path, monkeypatch, "db://p/%37", text)[1]
    assert said_[-1] == "  'deny' has 'db://7' (mcp.json:2); without it, 'db://%37' of 'a' would have it."
