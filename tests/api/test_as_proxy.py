"""`FastMCP.as_proxy`: on stdio, over HTTP, mounted; and that importing it costs little."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from isthmus import FastMCP
from isthmus.errors import ConfigError
from isthmus.limits import Limits
from tests.cli.test_command import BACK, LIST, ROOT
from tests.conformance.processes import listening

HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/list",
}
MOUNTED = """
import sys
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from isthmus import FastMCP

proxy = FastMCP.as_proxy(sys.argv[1]).http_app()
app = Starlette(routes=[Mount("/", app=proxy)], lifespan=proxy.lifespan)
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""
ALONE = """
import sys
import uvicorn
from isthmus import FastMCP

uvicorn.run(FastMCP.as_proxy(sys.argv[1]).http_app(), port=int(sys.argv[2]), log_level="warning")
"""
RUN = """
import sys
from isthmus import FastMCP

FastMCP.as_proxy(sys.argv[1]).run(transport="http", host="127.0.0.1", port=int(sys.argv[2]))
"""


@pytest.fixture
def back(tmp_path: Path) -> str:
    path = tmp_path / "back.py"
    path.write_text(BACK, encoding="utf-8")
    return str(path)


def test_run_on_stdio(back: str) -> None:
    script = f"from isthmus import FastMCP; FastMCP.as_proxy({back!r}, name='mine').run(); print('done')"
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(LIST) + "\n", capture_output=True, text=True, timeout=30,
        check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["result"]["tools"] == [{"name": "a"}, {"name": "b"}]
    assert "done" in done.stderr


def test_run_on_stdio_exits_with_1_when_the_target_never_answers() -> None:
    script = "from isthmus import FastMCP; FastMCP.as_proxy('http://127.0.0.1:9/mcp').run()"
    done = subprocess.run(
        [sys.executable, "-c", script], input=json.dumps(LIST) + "\n", capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Could not connect" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize("program", [RUN, MOUNTED, ALONE], ids=["run", "mounted", "alone"])
def test_over_http(program: str, back: str) -> None:
    with listening(lambda port: [sys.executable, "-c", program, back, str(port)]) as url:
        request = urllib.request.Request(url, json.dumps(LIST).encode(), HEADERS)
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert json.load(answer)["id"] == "x"
    left = subprocess.run(["pgrep", "-f", back], capture_output=True, text=True, check=False)
    assert left.stdout == ""


@pytest.mark.parametrize("backend", ["nowhere.py", "ftp://x", [], ["no-such-command-anywhere"]])
def test_a_backend_that_can_t_be_is_said_at_once(backend: str | list[str]) -> None:
    with pytest.raises(ConfigError):
        FastMCP.as_proxy(backend)


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    script = "import sys, isthmus.cli.main, isthmus.run; print(sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    for heavy in ("'uvicorn'", "'mcp'", "'pydantic'", "'starlette'", "'fastmcp'"):
        assert heavy not in modules


@pytest.mark.parametrize("backend", [None, 3, [1, 2], b"x"])
def test_what_can_t_be_a_backend_is_a_sentence(backend: object) -> None:
    with pytest.raises(ConfigError, match=r"Give a URL|list of strings"):
        FastMCP.as_proxy(backend)


@pytest.mark.parametrize(
    "bound", [{"call": 0}, {"call": -1.0}, {"body": float("inf")}, {"line": "16"}, {"drain": True}]
)
def test_limits_that_nothing_could_work_with_are_refused(bound: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="a limit is a number above 0"):
        Limits(**bound)  # type: ignore[arg-type]
