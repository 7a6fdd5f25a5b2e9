"""Runs the command, with pipes or at a terminal, and servers for it."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ISTHMUS = str(Path(sys.executable).with_name("isthmus"))
EVERYTHING = ["--", sys.executable, "examples/everything.py"]
PATIENCE = 30.0

LEGACY = r"""
import json, sys

def say(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)

def heard():
    message = json.loads(sys.stdin.readline() or "{}")
    with open(sys.argv[1], "a") as log:
        log.write(json.dumps(message) + "\n")
    if not message:
        raise SystemExit
    return message

TOOLS = [{"name": "ask", "inputSchema": {"type": "object", "properties": {}}},
         {"name": "hang", "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}]
while True:
    message = heard()
    id, method = message.get("id"), message.get("method")
    if method == "initialize":
        say({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                  "serverInfo": {"name": "old", "version": "1"}}})
    elif method == "tools/list":
        page = message["params"].get("cursor")
        say({"id": id, "result": {"tools": TOOLS[1:]} if page else {"tools": TOOLS[:1], "nextCursor": "1"}})
    elif method == "tools/call" and message["params"]["name"] == "ask":
        token = message["params"]["_meta"]["progressToken"]
        say({"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "total": 4}})
        say({"method": "notifications/message", "params": {"level": "warning", "data": "soon"}})
        say({"id": "q", "method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {
            "type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "age": {"type": "integer", "minimum": 1, "default": 7},
                "colour": {"type": "string", "enum": ["red", "green"]}, "sure": {"type": "boolean"}}}}})
        answer = heard()
        text = json.dumps(answer.get("result", answer.get("error")))
        say({"id": id, "result": {"content": [{"type": "text", "text": text}]}})
    elif method == "tools/call":
        print("hanging", file=sys.stderr, flush=True)
    elif id is not None and method:
        say({"id": id, "error": {"code": -32601, "message": "Method not found"}})
"""


def isthmus(*arguments: str, stdin: str = "", cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with pipes."""
    return subprocess.run(
        [ISTHMUS, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE, cwd=cwd, check=False
    )


def legacy(folder: Path) -> tuple[list[str], Path]:
    """A target that speaks 2025-11-25 only, and the file where it writes down what it hears."""
    script, log = folder / "legacy.py", folder / "heard.jsonl"
    script.write_text(LEGACY, encoding="utf-8")
    return ["--", sys.executable, str(script), str(log)], log


class AtTerminal:
    """The command with a terminal for stdin and stderr; stdout is a pipe."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self.process = process
        self.seen = ""
        self._terminal = terminal
        self._read_to = 0

    def expect(self, text: str) -> None:
        """Wait until it shows this, after what was expected before."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen[self._read_to :]:
            assert self._look(deadline), f"{text!r} did not come; there is {self.seen!r}"
        self._read_to = self.seen.index(text, self._read_to) + len(text)

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def end(self) -> tuple[int, str]:
        """Its exit status and what it wrote to stdout."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + PATIENCE
        while self._look(deadline):
            pass
        out, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode()

    def _look(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._terminal, 65536)
        except OSError:
            data = b""
        self.seen += data.decode("utf-8", "replace")
        return bool(data)


@contextmanager
def at_terminal(*arguments: str) -> Iterator[AtTerminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [ISTHMUS, *arguments], stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    os.close(theirs)
    try:
        yield AtTerminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
        if process.stdout is not None:
            process.stdout.close()
