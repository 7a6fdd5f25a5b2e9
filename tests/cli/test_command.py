"""What `isthmus` says and how it exits when something is wrong, and that it works when nothing is."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conformance.processes import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
ISTHMUS = str(Path(sys.executable).with_name("isthmus"))
BACK = """
import json, sys
print("noise that is no MCP")
for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        result = {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}},
                  "serverInfo": {"name": "tiny", "version": "3"}}
    elif message["method"] == "server/discover":
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}
    else:
        result = {"resultType": "complete", "tools": [{"name": "a"}, {"name": "b"}], "argv": sys.argv[1:]}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
LIST = {"jsonrpc": "2.0", "id": "x", "method": "tools/list", "params": {"_meta": META}}


@pytest.fixture
def back(tmp_path: Path) -> Path:
    path = tmp_path / "back.py"
    path.write_text(BACK, encoding="utf-8")
    return path


def isthmus(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ISTHMUS, *arguments], input=stdin, capture_output=True, text=True, timeout=30, cwd=ROOT, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "required"),
        (["run"], 2, "There is no target"),
        (["fly"], 2, "invalid choice"),
        (["run", "--nonsense", "x.py"], 2, "--nonsense"),
        (["run", "nowhere.py"], 2, "does not exist"),
        (["run", "server.rb"], 2, "no URL and no .py or .js file"),
        (["run", "http:///mcp"], 2, "has no host"),
        (["run", "http://[hush/mcp"], 2, "The target is not a URL. Write it as http://HOST:PORT/PATH."),
        (["run", "http+unix:///tmp/x.sock/mcp"], 2, "Write it as unix:PATH"),
        (["run", "--", "no-such-command-anywhere"], 2, "was not found"),
        (["run", "--"], 2, "there must be a command"),
        (["run", "http://127.0.0.1:9/mcp", "--", "cat"], 2, "two targets"),
        (["run", "http://127.0.0.1:9/mcp", "--env", "A=b"], 2, "for a command"),
        (["run", "http://127.0.0.1:9/mcp", "--header", "nonsense"], 2, "is not of the form"),
        (["run", "http://127.0.0.1:9/mcp", "--header", "A: b\nC: d"], 2, "line break"),
        (["run", "--header", "A: b", "--", "cat"], 2, "for a URL"),
        (["run", "http://198.51.100.1/mcp", "--header", "Authorization: Bearer x"], 2, "over plain http"),
        (["check", "http://h.example/mcp", "--header", "X-Api-Key: x"], 2, "--insecure"),
        (["run", "--cwd", "/no/such/folder", "--", "cat"], 2, "--cwd does not exist"),
        (["run", "--timeout", "-1", "--", "cat"], 2, "no number of seconds"),
        (["run", "--http", "eighty", "--", "cat"], 2, "[HOST:]PORT"),
        (["run", "--http", "0.0.0.0:0", "--", "cat"], 2, "--allow-host"),
        (["run", "--path", "/x", "--", "cat"], 2, "need --http"),
        (["run", "--http", "0", "--path", "x", "--", "cat"], 2, "begin with a slash"),
        (["check", "http://127.0.0.1:9/mcp"], 1, "Could not connect"),
        (["check", "--", sys.executable, "-c", "raise SystemExit(3)"], 1, "exit status 3"),
        (["check", "--log-level", "error", "--", "cat"], 1, "so it is no MCP server"),
        (["check", "--log-level", "error", "--", "yes"], 1, "lines and none of them is MCP"),
        (["check", "--log-level", "error", "--", "echo", "hi"], 1, "it printed what is no MCP"),
        (["list", "--", "cat"], 1, "so it is no MCP server"),
        (["call", "x", "--", "cat"], 1, "so it is no MCP server"),
    ],
)
def test_what_can_t_work_is_one_line(arguments: list[str], code: int, says: str) -> None:
    done = isthmus(*arguments)
    assert done.returncode == code, done
    lines = done.stderr.strip().splitlines()
    assert says in lines[-1], done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("isthmus: ")


def test_a_port_in_use_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = isthmus("run", "--http", str(taken.getsockname()[1]), "--", "cat")
    assert done.returncode == 2
    assert "in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_run_on_stdio_says_nothing_but_mcp(back: Path) -> None:
    done = isthmus("run", "--name", "mine", str(back), stdin=json.dumps(LIST) + "\n")
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["x"]
    info = answers[0]["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]
    assert info["name"] == "mine"


def test_arguments_of_a_command_pass_as_they_are(back: Path) -> None:
    hostile = ["$(touch x)", "`id`", "a;b", "*", "", "--http", "--"]
    done = isthmus("run", "--", sys.executable, str(back), *hostile, stdin=json.dumps(LIST) + "\n")
    assert json.loads(done.stdout)["result"]["argv"] == hostile


def test_check_says_what_is_there(back: Path) -> None:
    done = isthmus("check", str(back))
    assert done.returncode == 0, done.stderr
    for word in (
        "modern   yes: 2026-07-28",
        "legacy   yes: 2025-11-25; tiny 3",
        "2 tools",
        "capabilities: tools",
        "ms",
    ):
        assert word in done.stdout


def test_run_over_http_and_ctrl_c(back: Path) -> None:
    port = free_port()
    process = subprocess.Popen(
        [ISTHMUS, "run", "--http", str(port), "--path", "/there", str(back)],
        stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": "2026-07-28",
            "Mcp-Method": "tools/list",
        }
        url = f"http://127.0.0.1:{port}/there"
        with urllib.request.urlopen(
            urllib.request.Request(url, json.dumps(LIST).encode(), headers), timeout=10
        ) as answer:
            assert len(json.load(answer)["result"]["tools"]) == 2
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=10)[1].decode()
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in said
    assert f"http://127.0.0.1:{port}/there" in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_run_over_http_warns_once_and_stops_in_good_order(number: signal.Signals) -> None:
    port = free_port()
    process = subprocess.Popen(
        [ISTHMUS, "run", "--http", str(port), "http://127.0.0.1:9/mcp"],
        stderr=subprocess.PIPE, start_new_session=True, cwd=ROOT,
    )  # fmt: skip
    try:
        wait_for_port(port, process)
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/list"}
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/mcp", json.dumps(LIST).encode(), headers)
        for _ in range(3):
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
                assert "Could not connect" in json.load(answer)["error"]["message"]
        os.kill(process.pid, number)
        said = process.communicate(timeout=10)[1].decode()
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, said
    assert said.count("WARNING") == said.count("Could not connect") == 1, said


def test_help_and_version() -> None:
    assert "TARGET is a URL" in isthmus("--help").stdout
    assert "--allow-origin" in isthmus("run", "--help").stdout
    said = subprocess.run([sys.executable, "-m", "isthmus", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.startswith("isthmus 0.")
