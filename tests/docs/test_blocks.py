"""Every example of README.md and docs/: Python runs, commands are arguments that `isthmus` takes, JSON is JSON.

What can't be run or read so has its reason, or the name of the test that looks after it, in a table here.
"""

import ast
import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Any, Final, TypeGuard

import pytest

from isthmus import FastMCP
from isthmus.cli import main
from tests.conformance.processes import ROOT
from tests.docs.pages import PAGES, Block, blocks, name_of, prose

BLOCKS: Final = [block for page in PAGES for block in blocks(page)]
SHELL: Final = ("sh", "bash", "shell", "console")

ELSEWHERE: Final = {
    "README.md": "tests/docs/test_readme.py::test_4_from_python and ::test_5_mounted_in_a_fastapi_application and "
    "::test_the_library",
    "docs/howto/protect-an-endpoint.md": "tests/api/test_protect.py::test_the_page_s_examples",
    "docs/howto/write-a-transport.md": "tests/contract/test_howto.py::test_the_example",
}
"""Pages whose Python is run by a test of their own."""

PICTURES: Final = {
    "README.md": "clients, isthmus and servers as a picture",
    "docs/design.md": "the rooms: tests/docs/test_pages.py::test_the_rooms_are_those_of_the_import_contract",
    "docs/reference/exchange.md": "mermaid: tests/docs/test_pages.py::test_the_machines_are_drawn_from_their_tables",
}
"""Pages with blocks in no language that can be run or read."""

PROGRAMS: Final = {
    "make": "tests/cli/test_make.py runs it",
    "claude": "a program of others",
    "jq": "a program of others",
    "uvicorn": "a program of others",
    "pip": "an installation",
}
"""What else is called on a line of a shell block, and why it isn't tried."""

SERVER: Final = """
from mcp.server.mcpserver import MCPServer

server = MCPServer("tiny")


@server.tool()
def add(a: int, b: int) -> int:
    return a + b


server.run()
"""


def test_all_languages_are_looked_after() -> None:
    known = {"python", "json", *SHELL}
    strange = [block.place for block in BLOCKS if block.language not in known and block.page not in PICTURES]
    assert not strange, f"Say in which language these are, or put their pages into PICTURES: {strange}"


def is_call(node: ast.stmt) -> TypeGuard[Any]:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


PYTHON: Final = sorted({block.page for block in BLOCKS if block.language == "python"} - set(ELSEWHERE))


@pytest.mark.parametrize("page", PYTHON)
def test_python_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of a page in one go. Its `print(…)  # …` print what is said there; `run` is noted, instead of serving."""
    (tmp_path / "server.py").write_text(SERVER, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    ran: list[dict[str, Any]] = []
    monkeypatch.setattr(FastMCP, "run", lambda self, *transport, **how: ran.append(how))
    names: dict[str, Any] = {}
    code = [block for block in BLOCKS if block.page == page and block.language == "python"]
    for block in code:
        exec(compile(block.text, block.place, "exec"), names)
    text = "".join(block.text for block in code)
    calls = [ast.unparse(node.value.func) for node in ast.parse(text).body if is_call(node)]
    assert len(ran) == len([call for call in calls if call.endswith(".run") and call != "asyncio.run"])
    printed = iter(capsys.readouterr().out.splitlines())
    for said in re.findall(r"^ *print\(.*\)  # (.*)$", text, re.MULTILINE):
        assert any(line == said or (said.endswith("…") and line.startswith(said[:-1])) for line in printed), said


@pytest.mark.parametrize("why", [*ELSEWHERE.values(), *PICTURES.values()])
def test_who_looks_after_a_page_exists(why: str) -> None:
    for path, names in re.findall(r"(tests/\S+\.py)((?:(?: and )?::\w+)+)", why):
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        there = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert set(re.findall(r"::(\w+)", names)) <= there


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "json"], ids=lambda block: block.place)
def test_json_is_json(block: Block) -> None:
    json.loads(block.text)


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language in SHELL], ids=lambda block: block.place)
def test_commands_are_taken(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in piped(line):
            take(command)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_within_sentences_are_taken(page: Path) -> None:
    for code in re.findall(r"`(isthmus [^`]*)`", prose(page)):
        if code.split()[1] in COMMANDS:
            for command in piped(code.replace("…", "--")):
                take(command)


COMMANDS: Final = ("run", "check", "list", "call", "replay", "config", "explain")


def piped(line: str) -> list[list[str]]:
    """The commands of a line, each as its words; a comment is none."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return [words for words in found if words]


def take(words: list[str]) -> None:
    """Have the command's own parser read its arguments; other programs must be known here."""
    program, *arguments = words
    if program != "isthmus":
        assert program in PROGRAMS, f"{program!r} is not in PROGRAMS: say there why it isn't tried."
    elif arguments != ["--version"] and arguments != ["--help"]:
        command = None
        if "--" in arguments:
            at = arguments.index("--")
            arguments, command = arguments[:at], arguments[at + 1 :]
        main._parse(arguments, command)
