"""Builds the wheel, installs it alone in an empty environment, and uses it: the command, and a proxied call.

The back is a script without dependencies, so that nothing but the wheel and what it requires is there.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BACK = """
import json, sys
for line in sys.stdin:
    message = json.loads(line)
    if "id" in message:
        result = {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {}, "tools": []}
        print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"""
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


def main() -> int:
    """0 if the wheel works on its own."""
    with tempfile.TemporaryDirectory() as folder:
        wheel = _build(Path(folder))
        python = _install(Path(folder) / "empty", wheel)
        command = python.with_name("isthmus")
        said = _run([str(command), "--version"])
        print(said.strip())
        back = Path(folder) / "back.py"
        back.write_text(BACK, encoding="utf-8")
        request = {"jsonrpc": "2.0", "id": "x", "method": "tools/list", "params": {"_meta": META}}
        answer = json.loads(_run([str(command), "run", str(back)], json.dumps(request) + "\n"))
        if answer.get("id") != "x" or answer["result"]["tools"] != []:
            print(f"The installed wheel answered {answer}.")
            return 1
        _run([str(python), "-c", "from isthmus import FastMCP; FastMCP.as_proxy('http://127.0.0.1:9/mcp')"])
        print(_run([str(python), "-m", "pip", "list", "--disable-pip-version-check"]))
    return 0


def _build(folder: Path) -> Path:
    _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)])
    return next(folder.glob("isthmus-*.whl"))


def _install(where: Path, wheel: Path) -> Path:
    venv.create(where, with_pip=True)
    python = where / ("Scripts" if os.name == "nt" else "bin") / "python"
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel)])
    return python


def _run(command: list[str], stdin: str = "") -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{command[:3]} exited with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
