"""A recording holds what passed, masks what is secret, and answers for the server that it was made of."""

import json
import os
import resource
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from isthmus.errors import ConfigError
from isthmus.limits import RECORD_QUEUE
from isthmus.masking import is_secret, mask, mask_text
from isthmus.record import Recorder, mask_headers
from isthmus.recording import Recording
from tests.cli.commands import EVERYTHING, ISTHMUS, ROOT, isthmus
from tests.conformance.processes import free_port
from tests.interop.features import features
from tests.interop.peers import CLIENTS, SERVERS, Cell, Transport
from tests.interop.runs import Programs, listening

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def request(id: Any, method: str, **params: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": META}}) + "\n"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# -- the same client program, before the server and before the recording ----------------------------------------------


def target(front: Transport, stack: ExitStack, *command: str) -> dict[str, Any]:
    """What a client connects to: a command of isthmus, with a front of this kind."""
    verb, *rest = command
    if front == "stdio":
        return {"command": [ISTHMUS, verb, *rest]}
    port = free_port()
    return {"url": stack.enter_context(listening([ISTHMUS, verb, "--http", str(port), *rest], port, {}))}


def surely_heard(record: Any) -> Any:
    """A record with so much progress as its step waits for: more may be read together with the answer."""
    return record | ({"progress": record["progress"][:2]} if "progress" in record else {})


@pytest.mark.parametrize(
    ("name", "front", "back"),
    [
        ("sdk2-auto", "stdio", "stdio"),
        ("sdk2-auto", "http", "http"),
        ("sdk2-legacy", "stdio", "http"),
        ("sdk1", "http", "stdio"),
        ("typescript1", "stdio", "stdio"),
        ("typescript2-auto", "http", "stdio"),
    ],
)
def test_a_recording_stands_in_for_the_server(name: str, front: Transport, back: Transport, tmp_path: Path) -> None:
    client = next(each for each in CLIENTS if each.name == name)
    server = next(each for each in SERVERS if each.name == "everything")
    steps = [step for each in features(Cell(client, front, back, server)) for step, _ in each.steps]
    file = tmp_path / "recording.jsonl"
    programs = Programs()
    try:
        with ExitStack() as stack:
            if back == "stdio":
                behind = ["--", *server.stdio]
            else:
                assert server.http is not None
                port = free_port()
                behind = [stack.enter_context(listening(server.http(port), port, {}))]
            was = programs.converse(client, target(front, stack, "run", "--record", str(file), *behind), steps)
        with ExitStack() as stack:
            again = programs.converse(client, target(front, stack, "replay", str(file)), steps)
    finally:
        programs.end()
    assert len(was) > 20
    assert not any("timeout" in record for record in was)
    if name == "typescript1":  # it drops the progress that it reads together with the answer
        was, again = ([surely_heard(record) for record in records] for records in (was, again))
    assert [(step, record) for step, record in zip(steps, again, strict=True)] == list(zip(steps, was, strict=True))
    legs = {line["leg"] for line in lines(file) if "leg" in line}
    assert legs == {"front", "back"}


# -- what is in a line ------------------------------------------------------------------------------------------------


def test_lines_hold_the_raw_messages(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    odd = request(1, "tools/call", name="echo", arguments={"text": "x"}).replace('"x"', '"\\u0078", "n": 1e400')
    done = isthmus("run", "--record", str(file), *EVERYTHING, stdin=odd)
    assert done.returncode == 0, done.stderr
    text = file.read_text(encoding="utf-8")
    assert (
        text.count('"arguments":{"text": "\\u0078", "n": 1e400}')
        + text.count('"arguments": {"text": "\\u0078", "n": 1e400}')
        == 2
    )
    kept = lines(file)
    assert [(line["leg"], line["dir"]) for line in kept if line.get("call") == 1] == [("front", "in"), ("front", "out")]
    assert kept[0]["recording"] == 1
    times = [line["t"] for line in kept]
    assert times == sorted(times)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_an_existing_file_is_closed_to_others(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text("old\n" * 1000, encoding="utf-8")
    file.chmod(0o644)
    isthmus("run", "--record", str(file), *EVERYTHING, stdin=request(1, "tools/list"))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert lines(file)[0]["t"] == 0


def test_credentials_are_masked(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    server, proxy = free_port(), free_port()
    everything = [sys.executable, "examples/everything.py", "--http", str(server)]
    secrets = ["--header", "Authorization: Bearer hush-1", "--header", "X-Odd: hush-2"]
    with listening(everything, server, {}) as url:
        command = [ISTHMUS, "run", "--http", str(proxy), "--record", str(file), *secrets, url]
        with listening(command, proxy, {}) as through:
            body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
                "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
                "password": "hush-3"}}  # fmt: skip
            headers = {
                "Content-Type": "application/json",
                "Accept": "application/json, text/event-stream",
                "Authorization": "Bearer hush-4",
            }
            asked = urllib.request.Request(through, json.dumps(body).encode(), headers)
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=20) as answer:
                assert b"protocolVersion" in answer.read()
    text = file.read_text(encoding="utf-8")
    assert "hush" not in text
    assert '"password":"***"' in text.replace(" ", "")
    back = [line for line in lines(file) if line.get("leg") == "back" and line.get("http", {}).get("status") == 200]
    assert back[0]["http"]["headers"]["mcp-session-id"].startswith("sha256:")
    said = [
        line["message"]
        for line in lines(file)
        if (line.get("leg"), line.get("dir")) == ("back", "in") and "message" in line
    ]
    assert [each["result"]["protocolVersion"] for each in said] == ["2025-11-25"]  # an event of the answer's stream


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("password", True), ("GITHUB_TOKEN", True), ("client-secret", True), ("apiKey", True), ("Authorization", True),
        ("Set-Cookie", True), ("Proxy-Authorization", True), ("access_token", True), ("secrets", False),
        ("progressToken", False), ("nextPageToken", False), ("maxTokens", False), ("text", False), ("key", False),
        ("SECRET_KEY", True), ("signing-key", True), ("public_key", False), ("x-signature", False), ("keyboard", False),
    ],
)  # fmt: skip
def test_names_of_secrets(name: str, secret: bool) -> None:
    assert is_secret(name) is secret


@pytest.mark.parametrize(
    ("message", "masked"),
    [
        (b'{"a":{"token" : "x\\"y","n":1e400}}', b'{"a":{"token" : "***","n":1e400}}'),
        (b'{"pin":1,"secret":-1.5e3,"b":"secret"}', b'{"pin":1,"secret":"***","b":"secret"}'),
        (b'["token","x",{"token":["x"]}]', b'["token","x",{"token":["x"]}]'),
        (b'{"to\\u006ben":"x","password":{"type":"string"}}', b'{"to\\u006ben":"***","password":{"type":"string"}}'),
        (b'{"text":"\\"password\\":\\"x\\""}', b'{"text":"\\"password\\":\\"x\\""}'),
        (b'{"progressToken":"x"}', b'{"progressToken":"x"}'),
        (b'{"text":"{\\n \\"apiKey\\": \\"x\\"}"}', b'{"text":"{\\n \\"apiKey\\": \\"***\\"}"}'),
        (b'["[{\\"token\\":\\"\\ud800\\"}]","{}"]', b'["[{\\"token\\":\\"***\\"}]","{}"]'),
        (b'{"text":"{\\"a\\":\\"\\\\u00fc token\\"}"}', b'{"text":"{\\"a\\":\\"\\\\u00fc token\\"}"}'),
    ],
)
def test_values_of_secrets_are_masked_and_nothing_else(message: bytes, masked: bytes) -> None:
    assert mask(message) == masked


@pytest.mark.parametrize(
    "piece", ['\\"', '"\\"', '"\\\n', "\\", '"{\\"', ":bearer ", "=a: ", "x://", '":', "://a:b", "-a ", "--a", " "]
)
def test_what_masking_costs_grows_with_the_length_only(piece: str) -> None:
    for end in ("", "\n", "\\", "\\\n"):
        began = time.process_time()
        mask_text('token"' + piece * (64 * 1024 // len(piece)) + end)
        assert time.process_time() - began < 1  # a search that starts again at each sign takes over ten


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ('{"token": "hush', '{"token": "***"'),
        ('{"a": 1, "token": "hush\\', '{"a": 1, "token": "***"'),
        ('{"a":"hush","tok\\', '{"a":"hush","tok\\'),
        ('the "token', 'the "token'),
        ('{"token": "x\\\nhush"}', '{"token": "***"}'),
        ('{"a\\_token": "hush"}', '{"a\\_token": "***"}'),
        ('token "{\\_"', 'token "{\\_"'),
        ('"{\\"token\\":\\"hush\\"}":"', '"{\\"token\\":\\"***\\"}":"'),
        ('token "[\1\\ud800', 'token "[\1\\ud800'),
    ],
)
def test_json_that_is_cut_or_wrong(said: str, masked: str) -> None:
    assert mask_text(said) == masked


def test_headers_that_mirror_arguments_are_masked() -> None:
    kept = mask_headers([("Mcp-Param-Region", "x"), ("Mcp-Name", "echo"), ("X-Mine", "y")], frozenset({"x-mine"}))
    assert kept == {"mcp-param-region": "***", "mcp-name": "echo", "x-mine": "***"}


def test_headers_that_let_somebody_in_are_masked() -> None:
    asks = 'Bearer resource_metadata="https://h/x", error="invalid_token"'
    said = [
        ("X-Key", "hush"),
        ("X-Odd", "Bearer hush"),
        ("Link", "<https://h?sig=hush&a=b>"),
        ("Www-Authenticate", asks),
    ]
    kept = mask_headers(said, frozenset())
    masked = {"x-key": "***", "x-odd": "Bearer ***", "link": "<https://h?sig=***&a=b>", "www-authenticate": asks}
    assert kept == masked


# -- when it can't be written -----------------------------------------------------------------------------------------


def test_a_full_disk_is_one_warning_and_the_proxy_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    asked = "".join(request(id, "tools/call", name="echo", arguments={"text": "x" * 500}) for id in range(1, 20))
    done = subprocess.run(
        [ISTHMUS, "run", "--record", str(file), *EVERYTHING],
        input=asked, capture_output=True, text=True, timeout=30, cwd=ROOT, preexec_fn=small, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 19
    assert done.stderr.count("ends here, the proxy goes on") == 1


def test_a_place_that_can_t_be_written_is_one_line() -> None:
    done = isthmus("run", "--record", "/no/such/folder/file", *EVERYTHING)
    assert done.returncode == 2
    assert "Can't record" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_waits_for_a_slow_disk_is_bounded(tmp_path: Path) -> None:
    fifo = tmp_path / "slow"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    recorder = Recorder(str(fifo), "back")
    message = b'"' + b"x" * (1 << 20) + b'"'
    for _ in range(2 * RECORD_QUEUE // len(message)):
        recorder.note("front", "in", message)
    os.set_blocking(reader, True)
    read = b""
    recorder.note("front", "in", b"1")  # it is not put: there is no room yet
    while read.count(b"\n") < RECORD_QUEUE // len(message) - 1:
        read += os.read(reader, 1 << 20)
    recorder.note("front", "in", b"2")
    while b'"message":2}' not in read:
        read += os.read(reader, 1 << 20)
    recorder.close()
    os.close(reader)
    dropped = [json.loads(line)["dropped"] for line in read.splitlines() if b'"dropped"' in line]
    assert sum(dropped) >= RECORD_QUEUE // len(message)
    assert len(read) < RECORD_QUEUE * 1.2


# -- what is not in it ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("recorded") / "r.jsonl"
    asked = request(1, "tools/call", name="echo", arguments={"text": "one"})
    asked += request(2, "tools/call", name="stats", arguments={})
    done = isthmus("run", "--record", str(file), *EVERYTHING, stdin=asked)
    assert len(done.stdout.splitlines()) == 2
    return file


def replayed(file: Path, *requests: str) -> list[dict[str, Any]]:
    done = isthmus("replay", str(file), stdin="".join(requests))
    assert done.returncode == 0, done.stderr
    return sorted((json.loads(line) for line in done.stdout.splitlines()), key=lambda answer: str(answer["id"]))


def test_ids_and_meta_are_of_now(recorded: Path) -> None:
    (answer,) = replayed(recorded, request("mine", "tools/call", arguments={"text": "one"}, name="echo"))
    assert answer["id"] == "mine"
    assert answer["result"]["content"] == [{"type": "text", "text": "one"}]


def test_what_was_not_recorded_is_said_with_the_nearest(recorded: Path) -> None:
    answers = replayed(
        recorded,
        request("a", "tools/call", name="echo", arguments={"text": "two"}),
        request("b", "prompts/get", name="x"),
        json.dumps({"jsonrpc": "2.0", "id": "c", "method": "initialize", "params": {}}) + "\n",
    )
    errors = {each["id"]: each["error"] for each in answers}
    assert '"text": "one"' in errors["a"]["message"]
    assert errors["b"]["code"] == -32601
    assert "no prompts/get" in errors["b"]["message"]
    assert "only modern clients" in errors["c"]["message"]


def test_the_same_request_again_gets_the_next_answer_then_the_last(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for call, answer in enumerate(("one", "two"), 1):
            asked = json.loads(request(call, "tools/call", name="t"))
            out.write(json.dumps({"t": 0, "leg": "front", "dir": "in", "call": call, "message": asked}) + "\n")
            said = {"jsonrpc": "2.0", "id": call, "result": {"text": answer}}
            out.write(json.dumps({"t": 0, "leg": "front", "dir": "out", "call": call, "message": said}) + "\n")
    answers = replayed(file, *(request(id, "tools/call", name="t") for id in (1, 2, 3)))
    assert [answer["result"]["text"] for answer in answers] == ["one", "two", "two"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no message of a client"),
        ("nonsense\n", "Line 1 .* is not JSON"),
        ('{"leg":"front","message":3}\n', "Line 1"),
    ],
)
def test_what_is_no_recording(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=says):
        Recording(str(file))


def test_a_last_line_that_was_cut_off_does_no_harm(recorded: Path, tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_bytes(recorded.read_bytes() + b'{"t":9,"leg":"fro')
    assert replayed(file, request(1, "tools/call", name="echo", arguments={"text": "one"}))[0]["result"]


def test_replay_takes_a_file() -> None:
    for arguments in (["replay"], ["replay", "/no/such"], ["replay", "--path", "/x", "/no/such"]):
        assert isthmus(*arguments).returncode == 2


def test_a_question_is_asked_again_and_its_answer_awaited(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    said: list[tuple[str, int | None, dict[str, Any]]] = [
        ("in", 1, {"id": 1, "method": "initialize", "params": {}}),
        ("out", 1, {"id": 1, "result": {"protocolVersion": "2025-11-25", "capabilities": {}}}),
        ("in", 2, {"id": 2, "method": "tools/call", "params": {"name": "t", "_meta": {"progressToken": "then"}}}),
        ("out", 2, {"method": "notifications/progress", "params": {"progressToken": "then", "progress": 1}}),
        ("out", 2, {"id": 7, "method": "roots/list"}),
        ("in", None, {"id": 7, "result": {"roots": []}}),
        ("out", 2, {"id": 2, "result": {"done": True}}),
    ]
    with file.open("w", encoding="utf-8") as out:
        for direction, call, message in said:
            line = {"t": 0, "leg": "front", "dir": direction, "session": 1, "message": {"jsonrpc": "2.0", **message}}
            out.write(json.dumps(line | ({"call": call} if call else {})) + "\n")
    with subprocess.Popen([ISTHMUS, "replay", str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None

        def say(**message: Any) -> None:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            process.stdin.flush()

        say(id="a", method="initialize", params={})
        say(id="b", method="tools/call", params={"name": "t", "_meta": {"progressToken": "now"}})
        opened, progress, question = (json.loads(process.stdout.readline()) for _ in range(3))
        say(id="c", method="ping")
        assert json.loads(process.stdout.readline())["id"] == "c"  # the call is not answered: its question is open
        say(id=question["id"], result={"roots": []})
        answer = json.loads(process.stdout.readline())
        process.stdin.close()
        process.wait(10)
    assert opened["id"] == "a"
    assert progress["params"]["progressToken"] == "now"
    assert question["method"] == "roots/list"
    assert (answer["id"], answer["result"]) == ("b", {"done": True})
