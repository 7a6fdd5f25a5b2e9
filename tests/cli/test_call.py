"""`isthmus call`: arguments, questions at a terminal, results, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli.arguments import fit_arguments, read_words
from isthmus.errors import ConfigError
from tests.cli.commands import EVERYTHING, ISTHMUS, PATIENCE, ROOT, at_terminal, isthmus, legacy

SCHEMA: dict[str, Any] = {
    "properties": {
        "n": {"type": "integer"},
        "x": {"type": ["number", "null"]},
        "b": {"type": "boolean"},
        "s": {"type": "string"},
        "l": {"type": "array", "items": {"type": "integer"}},
        "o": {"type": "object"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "free": {},
    }
}


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["s=7", "n=7", "x=7.5", "b=yes", "free=7"], {"s": "7", "n": 7, "x": 7.5, "b": True, "free": "7"}),
        (["x=null", "either=7", "maybe=7", "s="], {"x": None, "either": "7", "maybe": 7, "s": ""}),
        (["l=1", "l=2"], {"l": [1, 2]}),
        (["l=[1,2]"], {"l": [1, 2]}),
        (['o={"a":"b"}', 'o2:={"a":1}'], {"o": {"a": "b"}, "o2": {"a": 1}}),
        (["n:=\"7\"", "b:=1"], {"n": "7", "b": 1}),
        (["s=a=b:=c", "s2:=\"=\""], {"s": "a=b:=c", "s2": "="}),
    ],
)  # fmt: skip
def test_arguments_fit_the_schema(words: list[str], arguments: dict[str, Any]) -> None:
    assert fit_arguments(read_words(words), SCHEMA) == arguments


def test_arguments_from_files(tmp_path: Path) -> None:
    text, data = tmp_path / "text", tmp_path / "data"
    text.write_text("12\n", encoding="utf-8")
    data.write_text('{"a": [1]}', encoding="utf-8")
    given = fit_arguments(read_words([f"s=@{text}", f"n=@{text}", f"o:=@{data}"]), SCHEMA)
    assert given == {"s": "12\n", "n": 12, "o": {"a": [1]}}


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("word", "is no argument"),
        ("=x", "is no argument"),
        ("n:=x", "is not JSON"),
        ("n=x", "takes integer"),
        ("b=perhaps", "takes boolean"),
        ("o=1", "takes object"),
        ("s=@/no/such/file", "can't be read"),
    ],
)
def test_arguments_that_can_t_be(word: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        fit_arguments(read_words([word]), SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "out", "err"),
    [
        (["add", "a=1", "b=2"], "", 0, '"sum": 3.0', ""),
        (["add", "-"], '{"a": 1, "b": 2}', 0, '"sum": 3.0', ""),
        (["add", "-"], "[]", 2, "", "must be a JSON object"),
        (["echo", "text=1", "--json"], "", 0, '"text":"1"', ""),
        (["ech"], "", 2, "", "Did you mean echo"),
        (["test_error_handling"], "", 1, "intentionally returns an error", ""),
        (["log_at", "message=hear"], "", 0, "logged at info", "info: hear"),
        (["ask"], "", 0, "decline", "declined, as there is no terminal"),
        (["ask_model", "prompt=x"], "", 1, "", "The call was not finished"),
        (["show_roots", "--root", "tests"], "", 0, "/tests tests", ""),
        (["show_media"], "", 0, "[image, image/png, 69 bytes; --save DIR keeps it]", ""),
        (["show_media"], "", 0, "\ntest://static-text", ""),
    ],
)
def test_calls_without_a_terminal(arguments: list[str], stdin: str, code: int, out: str, err: str) -> None:
    done = isthmus("call", *arguments, *EVERYTHING, stdin=stdin)
    assert done.returncode == code, done
    assert out in done.stdout
    assert err in done.stderr
    assert "Traceback" not in done.stderr


def test_files_are_saved_and_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "show_media.png").write_text("mine", encoding="utf-8")
    done = isthmus("call", "show_media", "--save", str(tmp_path), *EVERYTHING)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "show_media.png").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "show_media-2.png").read_bytes().startswith(b"\x89PNG")
    assert len(list(tmp_path.iterdir())) == 3


def test_questions_of_a_modern_server_at_a_terminal() -> None:
    with at_terminal("call", "test_input_required_result_multi_round", *EVERYTHING) as command:
        command.expect("What is your name?")
        command.type("Ann\n")
        command.expect("favorite color?")
        command.type("red\n")
        assert command.end() == (0, "Ann likes red\n")


def test_a_form_of_a_legacy_server_at_a_terminal(tmp_path: Path) -> None:
    target, log = legacy(tmp_path)
    with at_terminal("call", "ask", *target) as command:
        command.expect("25%")
        command.expect("warning: soon")
        command.expect("asks: Who?")
        command.expect("name (string, required): ")
        command.type("\n")
        command.expect("name (string, required): ")
        command.type("Ann\n")
        command.expect("age (integer) [7]: ")
        command.type("0\n")
        command.expect("at least 1")
        command.type("\n")
        command.expect("colour")
        command.type("2\n")
        command.expect("sure (boolean): ")
        command.type("5\n")
        command.expect("'5' is none.\r\n  sure (boolean): ")
        command.type("\n")
        code, out = command.end()
    assert code == 0
    assert json.loads(out) == {"action": "accept", "content": {"name": "Ann", "age": 7, "colour": "green"}}
    said = [json.loads(line) for line in log.read_text().splitlines()]
    (opened,) = (each["params"] for each in said if each.get("method") == "initialize")
    assert set(opened["capabilities"]) == {"elicitation", "sampling", "roots"}


@pytest.mark.parametrize(
    ("tool", "asked", "typed", "out"),
    [
        ("ask", "Ctrl-D", "\x04", "decline: no answer\n"),
        ("ask_url", "https://example.com/confirm", "y\n", "accept\n"),
        ("ask_url", "https://example.com/confirm", "\n", "decline\n"),
        ("test_input_required_result_sampling", "capital of France", "Paris\n", "Paris\n"),
    ],
)
def test_what_is_typed_is_the_answer(tool: str, asked: str, typed: str, out: str) -> None:
    with at_terminal("call", tool, *EVERYTHING) as command:
        command.expect(asked)
        command.expect(": " if tool != "ask_url" else "[y/N] ")
        command.type(typed)
        assert command.end() == (0, out)


def test_long_text_is_cut_on_a_terminal_only() -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ISTHMUS, "call", "big", "size=50000", *EVERYTHING],
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    os.close(theirs)
    shown = 0
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:
            break
        shown += data.count(b"x")
    os.close(ours)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert shown == 20_000
    assert "30,000 more characters; --full" in said
    assert isthmus("call", "big", "size=50000", *EVERYTHING).stdout == "x" * 50000 + "\n"


def _until(log: Path, text: str) -> str:
    deadline = time.monotonic() + PATIENCE
    while text not in (said := log.read_text() if log.exists() else ""):
        assert time.monotonic() < deadline, said
        time.sleep(0.01)  # another process's file announces nothing
    return said


def test_ctrl_c_cancels_the_call_and_leaves_nothing(tmp_path: Path) -> None:
    target, log = legacy(tmp_path)
    process = subprocess.Popen(
        [ISTHMUS, "call", "hang", "n=1", *target],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    _until(log, '"tools/call"')
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    heard = [json.loads(line) for line in log.read_text().splitlines()]
    call = next(each for each in heard if each.get("method") == "tools/call")
    cancelled = next(each for each in heard if each.get("method") == "notifications/cancelled")
    assert cancelled["params"]["requestId"] == call["id"]
    assert heard[-1] == {}  # its stdin was closed: it has left


def test_unknown_options_of_call() -> None:
    for arguments, says in (
        (["call"], "no target"),
        (["call", "server.rb", "x"], "no URL"),
        (["call", "--", sys.executable], "no tool to call"),
        (["call", "x", "--nonsense", "--", sys.executable], "--nonsense"),
        (["call", "x", "--root", "/no/such", "--", sys.executable], "does not exist"),
    ):
        done = isthmus(*arguments)
        assert (done.returncode, says in done.stderr) == (2, True), done
