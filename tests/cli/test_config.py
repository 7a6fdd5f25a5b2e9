"""`isthmus config` and `isthmus explain`, as they are typed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isthmus.cli import config
from isthmus.cli.servers import read_plan
from isthmus.config.schema import schema
from isthmus.config.show import shown
from isthmus.config.variables import Input
from isthmus.engine.member import Spec
from isthmus.errors import ConfigError
from isthmus.masking import MASK
from isthmus.transports.launch import Launch
from tests.cli.test_command import BACK, ISTHMUS

SECRETS = [f"sekret{number}" for number in range(12)]
HEADER = ("--header", "Authorization: Bearer sekret10", "https://x.test/?access_token=sekret11&b=c")
MASKED = ("--header", f"Authorization: {MASK}", f"https://x.test/?access_token={MASK}&b=c")


def isthmus(here: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(here), **environ}
    return subprocess.run(
        [ISTHMUS, *arguments], capture_output=True, text=True, timeout=30, cwd=here, env=env, check=False
    )


def write(path: Path, value: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1), encoding="utf-8")
    return path


def test_schema(tmp_path: Path) -> None:
    done = isthmus(tmp_path, "config", "schema")
    assert (done.returncode, json.loads(done.stdout)) == (0, schema())


def test_show_masks_secrets(tmp_path: Path) -> None:
    servers = {
        "a": {
            "command": "run",
            "args": [
                "--api-key",
                "sekret1",
                "--token=sekret2",
                "${SECRET}",
                "-e",
                "A_TOKEN=sekret0",
                *HEADER,
                "--token",
                "-v",
            ],
            "env": {"ANY": "sekret4"},
            "isthmus": {"tools": {"items": {"t": {"arguments": {"password": {"fixed": "sekret5"}}}}}},
        },
        "b": {
            "url": "https://x.test/mcp?token=sekret7&a=b",
            "headers": {"X-Api-Key": "sekret8", "X-Plain": "plain", "X-Part": "of ${SECRET}"},
        },
        "c": {"url": "https://y.test", "auth": "sekret9"},
        "d": {"command": "${input:i}", "timeout": 5000},
        "e": {"url": "https://user:sekret6@x.test/mcp", "disabled": True},
    }
    text = {"mcpServers": servers, "inputs": [{"id": "i"}], "isthmus": {"limits": {"call": 3, "drain": 1}}}
    write(tmp_path / "mcp.json", text)
    done = isthmus(tmp_path, "config", "show", "mcp.json", SECRET="sekret3")
    assert [secret for secret in SECRETS if secret in done.stdout + done.stderr] == []
    limits = {"limits": {"call": 3}}
    arguments = {"password": {"fixed": MASK}}
    assert json.loads(done.stdout) == {
        "isthmus": {"name": "isthmus", "longest": 64, "limits": {"drain": 1}},
        "mcpServers": {
            "a": {
                "command": "run",
                "args": ["--api-key", MASK, f"--token={MASK}", MASK, "-e", f"A_TOKEN={MASK}", *MASKED, "--token", MASK],
                "env": {"ANY": MASK},
                "isthmus": {**limits, "prefix": "a", "tools": {"items": {"t": {"arguments": arguments}}}},
            },
            "b": {
                "url": f"https://x.test/mcp?token={MASK}&a=b",
                "headers": {"X-Api-Key": MASK, "X-Plain": "plain", "X-Part": MASK},
                "isthmus": {**limits, "prefix": "b"},
            },
            "c": {"url": "https://y.test", "auth": MASK, "isthmus": {**limits, "prefix": "c"}},
            "d": {"command": MASK, "timeout": 5000, "isthmus": {**limits, "prefix": "d"}},
            "e": {"url": f"https://{MASK}@x.test/mcp", "disabled": True, "isthmus": limits},
        },
    }


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["config"], "the following arguments are required: schema|show|import. See isthmus --help."),
        (["config", "show"], "isthmus config show needs a file."),
        (["config", "import"], "isthmus config import needs claude, cursor or vscode."),
        (["config", "import", "emacs"], "There is no client 'emacs' to import from; there are claude, cursor, vscode."),
        (["config", "show", "--", "x"], "config takes a file or the name of a client, not a command."),
        (["config", "show", "none.json"], "none.json: The file can't be read: No such file or directory."),
        (["config", "show", "bad.json"], "bad.json:2: 'comand' is no key of a server. Did you mean 'command'?"),
        (["explain", "bad.json", "x"], "bad.json:2: 'comand' is no key of a server. Did you mean 'command'?"),
        (["explain", "bad.json"], "the following arguments are required: NAME-OR-URI. See isthmus --help."),
    ],
)
def test_what_can_t_work(tmp_path: Path, arguments: list[str], why: str) -> None:
    write(tmp_path / "bad.json", '{"mcpServers": {"a": {\n"comand": "x"}}}')
    done = isthmus(tmp_path, *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"isthmus: {why}\n")


def test_import_and_explain(tmp_path: Path) -> None:
    servers = {"a": {"command": "${env:X}", "alwaysAllow": []}, "b": {"type": "http", "url": "http://x.test"}}
    path = write(tmp_path / ".cursor" / "mcp.json", {"mcpServers": servers})
    done = isthmus(tmp_path, "config", "import", "cursor")
    assert done.stderr == f"isthmus: 2 servers of {path}\nisthmus: {path}:5: 'alwaysAllow' of 'a' is left out.\n"
    assert isthmus(tmp_path, "config", "import", "cursor", "--file", ".cursor/mcp.json").stdout == done.stdout
    write(tmp_path / "ours.json", done.stdout)
    told = isthmus(tmp_path, "explain", "ours.json", "b_look", X="x")
    assert (told.returncode, told.stdout.splitlines()[:3]) == (
        0,
        ["b_look", "As a tool or a prompt:", "  It goes to 'b' (ours.json:6) as 'look'."],
    )
    assert isthmus(tmp_path, "explain", "ours.json", "look", X="x").returncode == 1


def test_a_file_s_variables_reach_the_servers_of_other_commands(tmp_path: Path) -> None:
    """`list`, `call` and `check` start isthmus with the file: with all of the environment, as `run` has it."""
    write(tmp_path / "back.py", BACK)
    write(tmp_path / "mcp.json", {"mcpServers": {"a": {"command": sys.executable, "args": ["${SCRIPT}"]}}})
    done = isthmus(tmp_path, "list", "--json", "mcp.json", SCRIPT="back.py")
    assert [tool["name"] for tool in json.loads(done.stdout)["tools"]] == ["a", "b"], done.stderr


def test_the_relay_does_not_load_what_reads_configurations() -> None:
    script = "import sys, isthmus.run, isthmus.cli.main; print([m for m in sys.modules if 'isthmus.config' in m])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "[]\n"


class Typing:
    """stdin of a terminal where a line is typed."""

    def __init__(self, line: str) -> None:
        self._line = line

    def isatty(self) -> bool:
        return True

    def readline(self) -> str:
        return self._line


@pytest.mark.parametrize(
    ("typed", "value"), [("2\n", "b"), ("other\n", "other"), ("\n", None), ("", None), ("9\n", "9")]
)
def test_inputs_are_asked_for_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, value: str | None
) -> None:
    monkeypatch.setattr(sys, "stdin", Typing(typed))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    ask = config.asker()
    assert ask is not None
    wanted = Input(id="level", description="How\x1b much", default="a", options=(("A", "a"), ("B!", "b")))
    assert ask(wanted) == value
    assert capsys.readouterr() == ("", "  1. A\n  2. B!\nHow\\x1b much [a]: ")


@pytest.mark.parametrize(("typed", "value"), [("3\n", "3"), ("1\n", "1"), ("2\n", "5"), ("five\n", "5")])
def test_an_option_that_is_typed_wins_over_a_number_of_the_list(
    monkeypatch: pytest.MonkeyPatch, typed: str, value: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Typing(typed))
    assert config._ask(Input(id="k", options=(("3", "3"), ("five", "5"), ("1", "1")))) == value


def test_hidden_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getpass", lambda prompt, stream: {"key: ": "typed"}[prompt])
    assert config._ask(Input(id="key", is_hidden=True, default="not shown")) == "typed"

    def leave(prompt: str, stream: object) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", leave)
    assert config._ask(Input(id="key", is_hidden=True)) is None


def test_nobody_is_asked_while_clients_are_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def ask(wanted: Input) -> str:
        asked.append(wanted.id)
        return f"/{wanted.id}"

    def put(*ids: str, **more: str) -> None:
        inputs = [{"id": each, **more} for each in ids]
        servers = {each: {"command": f"${{input:{each}}}"} for each in ids}
        write(tmp_path / "mcp.json", {"mcpServers": servers, "inputs": inputs})

    def commands(specs: tuple[Spec, ...]) -> list[str]:
        return [each.target.argv[0] for each in specs if isinstance(each.target, Launch)]

    monkeypatch.setattr(config, "asker", lambda: ask)
    put("a", "b")
    plan, _ = read_plan(str(tmp_path / "mcp.json"), name=None, watches=False)
    assert plan.again is not None and commands(plan.again()) == ["/a", "/b"] and asked == ["a", "b"]
    put("a", "c")
    with pytest.raises(ConfigError, match=r"'c' has no value, and nobody can be asked now\. .* variable INPUT_C"):
        plan.again()
    put("a", "c", default="x")
    assert commands(plan.again()) == ["/a", "x"] and asked == ["a", "b"]


@pytest.mark.parametrize("new", [{"name": "two"}, {"name": "one", "limits": {"sessions": 5, "body": 9999, "drain": 1}}])
def test_what_is_said_of_the_whole_replaces_no_server(new: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    servers = {"a": {"command": "/a"}, "b": {"command": "/b"}}
    write(file, {"mcpServers": servers, "isthmus": {"name": "one"}})
    plan, settings = read_plan(str(file), name=None, watches=False)
    write(file, {"mcpServers": servers, "isthmus": new})
    assert plan.again is not None and plan.again() == plan.specs
    assert settings.name == plan.specs[0].settings.name == "one"


def test_what_inputs_stand_for_is_looked_at_without_their_values(tmp_path: Path) -> None:
    file = tmp_path / "mcp.json"
    inputs: list[dict[str, Any]] = [
        {"id": "port"},
        {"id": "url", "default": "http://127.0.0.1:8/x"},
        {"id": "host", "options": ["there"]},
    ]
    inputs = [{"type": "pickString" if "options" in each else "promptString", **each} for each in inputs]
    urls = ["http://127.0.0.1:${input:port}/mcp", "${input:url}", "http://${input:host}/mcp"]
    servers = {f"s{number}": {"url": url, "isthmus": {"insecure": True}} for number, url in enumerate(urls)}
    write(file, {"mcpServers": servers, "inputs": inputs})
    found = shown(config.read(str(file)))
    assert [each["url"] for each in found["mcpServers"].values()] == ["***"] * 3


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    assert config.asker() is None


def test_the_help_says_that_a_file_of_servers_is_a_target(tmp_path: Path) -> None:
    assert "isthmus run mcp.json " in isthmus(tmp_path, "--help").stdout
    assert "a file of servers" in isthmus(tmp_path, "run").stderr
